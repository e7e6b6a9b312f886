"""The layout of an item, which is GoFr's, and the limits that follow from it.

An item is ``{<partition key>: {"S": key}, "value": {"S": value}}`` and nothing else, so that a Go and a
Python service can share a table. Payloads are DynamoDB's own JSON shapes.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from ._errors import DynamoDBError

VALUE = "value"

# Later capabilities write expiry and versions under these names. They are reserved, and counted in the
# limits, from the start: a value that is accepted today must not become too large tomorrow.
RESERVED_ATTRIBUTES = (VALUE, "expires_at", "kvik_w", "kvik_x")

MAX_KEY_BYTES = 2048  # docs: "Constraints in DynamoDB", partition key length
_MAX_ITEM_BYTES = 400 * 1024  # docs: "Constraints in DynamoDB", item size, attribute names included
_BOOKKEEPING_BYTES = 128  # what the reserved attributes' own values may take, with room to spare

Payload: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """State what fits, in bytes of UTF-8."""

    max_key_bytes: int
    max_value_bytes: int


class Layout:
    """Build requests on one table, and read its items."""

    def __init__(self, table: str, partition_key_name: str) -> None:
        self.table = table
        self.partition_key_name = partition_key_name
        names = sum(len(name.encode()) for name in (partition_key_name, *RESERVED_ATTRIBUTES))
        self.limits = Limits(MAX_KEY_BYTES, _MAX_ITEM_BYTES - MAX_KEY_BYTES - _BOOKKEEPING_BYTES - names)

    def get(self, key: str, *, consistent: bool) -> Payload:
        return {**self._keyed(key), "ConsistentRead": consistent}

    def put(self, key: str, value: str) -> Payload:
        check_key(key)
        check_value(value, self.limits.max_value_bytes)
        item = {self.partition_key_name: {"S": key}, VALUE: {"S": value}}
        return {"TableName": self.table, "Item": item}

    def delete(self, key: str) -> Payload:
        return self._keyed(key)

    def probe(self, key: str) -> Payload:
        """Ask for the least that still proves table, key schema and permission: half a read unit."""
        return {
            **self._keyed(key),
            "ConsistentRead": False,
            "ProjectionExpression": "#k",  # an alias: the name may be one of DynamoDB's reserved words
            "ExpressionAttributeNames": {"#k": self.partition_key_name},
        }

    def value_of(self, reply: Payload) -> str | None:
        """Give the value in a GetItem reply, None if there is no item.

        Raises DynamoDBError with code ``corrupt`` if somebody stored something else than a string.
        """
        item = reply.get("Item")
        if item is None:
            return None
        value = item.get(VALUE, {}).get("S")
        if not isinstance(value, str):
            raise DynamoDBError(
                f"an item of table {self.table!r} has no string attribute {VALUE!r}:"
                " another program wrote it; set the key again, or keep such items in another table",
                code="corrupt",
                cause="stored item",
            )
        return value

    def _keyed(self, key: str) -> Payload:
        check_key(key)
        return {"TableName": self.table, "Key": {self.partition_key_name: {"S": key}}}


def check_key(key: object) -> None:
    """Raise DynamoDBError with code ``invalid_key`` unless the key has 1 to 2048 bytes of UTF-8."""
    size = _utf8_size(key, "key", "invalid_key")
    if not 0 < size <= MAX_KEY_BYTES:
        raise _refused(f"a key has 1 to {MAX_KEY_BYTES} bytes, not {size}", "invalid_key", size, MAX_KEY_BYTES)


def check_value(value: object, limit: int) -> None:
    """Raise DynamoDBError with code ``invalid_value`` or ``value_too_large``."""
    size = _utf8_size(value, "value", "invalid_value")
    if size > limit:
        raise _refused(f"a value has at most {limit} bytes, not {size}", "value_too_large", size, limit)


def _utf8_size(text: object, noun: str, code: str) -> int:
    if not isinstance(text, str):
        raise _refused(f"a {noun} is a str, not {type(text).__name__}", code)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        # From None: the codec's message quotes the text.
        raise _refused(f"a {noun} is text that UTF-8 can hold, without lone surrogates", code) from None


def _refused(message: str, code: str, size: int | None = None, limit: int | None = None) -> DynamoDBError:
    return DynamoDBError(message, code=code, cause="request", size=size, limit=limit)
