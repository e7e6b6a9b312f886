"""The shapes of DynamoDB's answers, so that nothing is read out of what some other server sent."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final

_DICT: Final = frozenset({dict})
_STR: Final = frozenset({str})
_NOTHING: Final[Mapping[str, Any]] = {}


def is_well_formed(operation: str, reply: Mapping[str, Any], partition_key_name: str) -> bool:
    """Tell whether an answer has what the driver reads out of it."""
    if operation == "GetItem":  # most requests
        return "Item" not in reply or reply["Item"] is None or is_item(reply["Item"])
    check = _CHECKS.get(operation)
    return check is None or check(reply, partition_key_name)


def is_item(thing: object) -> bool:
    """Tell whether this has an item's shape: attributes by name, each a dict of its type and value."""
    return type(thing) is dict and _DICT.issuperset(map(type, thing.values()))


def _is_scan(reply: Mapping[str, Any], name: str) -> bool:
    last = reply.get("LastEvaluatedKey")
    return _are_keyed(reply.get("Items"), name) and (last is None or _are_keyed([last], name))


def _is_batch_get(reply: Mapping[str, Any], name: str) -> bool:
    found, left = reply.get("Responses"), reply.get("UnprocessedKeys") or {}
    return (
        _is_dict_of(list, found)
        and all(_are_keyed(items, name) for items in found.values())  # type: ignore[union-attr] # it is a dict
        and _is_dict_of(dict, left)
        and all(_are_keyed(part.get("Keys"), name) for part in left.values())
    )


def _is_batch_write(reply: Mapping[str, Any], name: str) -> bool:
    left = reply.get("UnprocessedItems") or {}
    return _is_dict_of(list, left) and all(_is_write(write, name) for writes in left.values() for write in writes)


def _is_write(write: object, name: str) -> bool:
    if type(write) is not dict:
        return False
    put, delete = write.get("PutRequest"), write.get("DeleteRequest")
    part = put.get("Item") if type(put) is dict else delete.get("Key") if type(delete) is dict else None
    return _are_keyed([part], name)


def _is_description(part: str, status: str) -> "Callable[[Mapping[str, Any], str], bool]":
    def check(reply: Mapping[str, Any], _: str) -> bool:
        described = reply.get(part)
        return type(described) is dict and type(described.get(status)) is str

    return check


def _is_dict_of(kind: type, thing: object) -> bool:
    return type(thing) is dict and all(type(each) is kind for each in thing.values())


def _are_keyed(items: object, name: str) -> bool:
    """Tell whether these are items with a partition key of type String; a turn of the loop may check thousands."""
    if type(items) is not list or not _DICT.issuperset(map(type, items)):
        return False
    attributes = chain.from_iterable(map(dict.values, items))
    return _DICT.issuperset(map(type, attributes)) and _STR.issuperset(
        [type(each.get(name, _NOTHING).get("S")) for each in items]
    )


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], str], bool]]] = {
    "Scan": _is_scan,
    "BatchGetItem": _is_batch_get,
    "BatchWriteItem": _is_batch_write,
    "DescribeTable": _is_description("Table", "TableStatus"),
    "DescribeTimeToLive": _is_description("TimeToLiveDescription", "TimeToLiveStatus"),
}
