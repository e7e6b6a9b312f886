"""The fields of forms and queries: which values a type takes, and how their text is read."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import msgspec.inspect as mi
from starlette.datastructures import UploadFile

from .models import is_model, model_fields
from .shapes import OBJECTS, choices, members, parts

Value = str | UploadFile

_ON_AND_OFF = {"on": True, "off": False}


class Fields:
    """Know the fields of a type: a list takes all values that were sent for it, any other field the last."""

    def __init__(self, info: mi.Type) -> None:
        kinds = list(members(info))
        self.are_named = all(_has_named_fields(kind) for kind in kinds)
        self._rules = {name: rule for kind in kinds for name, rule in _rules(kind)}
        self._other = next((_rule(kind.value_type) for kind in kinds if isinstance(kind, mi.DictType)), _ANYTHING)

    def collect(self, pairs: Iterable[tuple[str, Value]]) -> dict[str, Any]:
        """Give what was sent by name, ready for conversion; fields that count as absent are left out."""
        sent: dict[str, list[Value]] = {}
        for name, value in pairs:
            sent.setdefault(name, []).append(value)
        collected: dict[str, Any] = {}
        for name, values in sent.items():
            rule = self._rules.get(name, self._other)
            present = [rule.read(value) for value in values if not rule.counts_as_absent(value)]
            if present:
                collected[name] = present if rule.many else present[-1]
        return collected


class _Rule(msgspec.Struct, frozen=True):
    """Say how the values of one field are read."""

    many: bool = False
    keeps_empty: bool = True
    is_bool: bool = False

    def counts_as_absent(self, value: Value) -> bool:
        if isinstance(value, str):
            return not value and not self.keeps_empty
        return not value.filename and not value.size  # what a browser sends where no file was chosen

    def read(self, value: Value) -> Value | bool:
        if self.is_bool and isinstance(value, str):
            return _ON_AND_OFF.get(value.lower(), value)
        return value


_ANYTHING = _Rule()


def _rule(info: mi.Type) -> _Rule:
    kinds = list(members(info))
    lists = [kind for kind in kinds if isinstance(kind, mi.CollectionType | mi.TupleType)]
    if lists:
        kinds = [inner for part in parts(lists[0]) for inner in members(part)]
    return _Rule(
        many=bool(lists),
        keeps_empty=any(_keeps_empty(kind) for kind in kinds),
        is_bool=any(isinstance(kind, mi.BoolType) for kind in kinds)
        and not any(isinstance(kind, mi.StrType) for kind in kinds),
    )


def _keeps_empty(info: mi.Type) -> bool:
    if isinstance(info, mi.CustomType):
        return info.cls is object
    return isinstance(info, mi.StrType | mi.AnyType) or "" in choices(info)


def _rules(info: mi.Type) -> Iterator[tuple[str, _Rule]]:
    if isinstance(info, OBJECTS):
        yield from ((field.encode_name, _rule(field.type)) for field in info.fields)
    elif isinstance(info, mi.CustomType) and is_model(info.cls):
        yield from ((name, _rule_of_annotation(annotation)) for name, annotation in model_fields(info.cls))


def _rule_of_annotation(annotation: Any) -> _Rule:
    try:
        return _rule(mi.type_info(annotation))
    except TypeError:  # pydantic knows more types than msgspec
        return _ANYTHING


def _has_named_fields(info: mi.Type) -> bool:
    if isinstance(info, mi.CustomType):
        return info.cls is object or is_model(info.cls)
    if isinstance(info, mi.StructType):
        return not info.array_like
    return isinstance(info, mi.DataclassType | mi.TypedDictType | mi.DictType | mi.AnyType)
