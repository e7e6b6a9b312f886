"""The fields of forms and queries: which values a type takes, and how their text is read."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import msgspec.inspect as mi
from starlette.datastructures import UploadFile

from .html import read_input
from .models import is_model, model_fields
from .shapes import OBJECTS, choices, is_nullable, members, parts

Value = str | UploadFile


class Fields:
    """Know the fields of a type: a list takes all values that were sent for it, any other field the last."""

    def __init__(self, info: mi.Type) -> None:
        kinds = list(members(info))
        self.are_named = all(_has_named_fields(kind) for kind in kinds)
        fields = [field for kind in kinds for field in _fields(kind)]
        self._rules = {name: field.rule for field in fields for name in field.names}
        self._required = [field for field in fields if field.is_required and len(kinds) == 1]
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
        for field in self._required:
            if collected.keys().isdisjoint(field.names):
                if field.rule.is_bool:  # a box that is not checked is not sent
                    collected[field.names[0]] = False
                elif field.is_nullable and not sent.keys().isdisjoint(
                    field.names
                ):  # an input that is left empty is
                    collected[field.names[0]] = None
        return collected


class _Rule(msgspec.Struct, frozen=True):
    """How the values of one field are read, if they may be of these `kinds` and no text."""

    many: bool = False
    keeps_empty: bool = True
    kinds: tuple[mi.Type, ...] = ()

    @property
    def is_bool(self) -> bool:
        """Tell whether this is a field for one checkbox."""
        return not self.many and len(self.kinds) == 1 and isinstance(self.kinds[0], mi.BoolType)

    def counts_as_absent(self, value: Value) -> bool:
        if isinstance(value, str):
            return not value and not self.keeps_empty
        return not value.filename and not value.size  # what a browser sends where no file was chosen

    def read(self, value: Value) -> Value | bool:
        return read_input(value, self.kinds) if isinstance(value, str) else value


class _Field(msgspec.Struct, frozen=True):
    """A field, by all names that a client may use, the first of which is the one to fill it by."""

    names: tuple[str, ...]
    rule: _Rule
    is_required: bool
    is_nullable: bool


_ANYTHING = _Rule()


def _rule(info: mi.Type) -> _Rule:
    kinds = list(members(info))
    lists = [kind for kind in kinds if isinstance(kind, mi.CollectionType | mi.TupleType)]
    if lists:
        kinds = [inner for part in parts(lists[0]) for inner in members(part)]
    return _Rule(
        many=bool(lists),
        keeps_empty=any(_keeps_empty(kind) for kind in kinds),
        kinds=() if any(isinstance(kind, mi.StrType | mi.AnyType) for kind in kinds) else tuple(kinds),
    )


def _keeps_empty(info: mi.Type) -> bool:
    if isinstance(info, mi.CustomType):
        return info.cls is object
    return isinstance(info, mi.StrType | mi.AnyType) or "" in choices(info)


def _fields(info: mi.Type) -> Iterator[_Field]:
    if isinstance(info, OBJECTS):
        for field in info.fields:
            yield _Field((field.encode_name,), _rule(field.type), field.required, is_nullable(field.type))
    elif isinstance(info, mi.CustomType) and is_model(info.cls):
        for names, annotation, is_required in model_fields(info.cls):
            kind = _type_of(annotation)
            yield _Field(names, _rule(kind), is_required, is_nullable(kind))


def _type_of(annotation: Any) -> mi.Type:
    try:
        return mi.type_info(annotation)
    except TypeError:  # pydantic knows more types than msgspec
        return mi.AnyType()


def _has_named_fields(info: mi.Type) -> bool:
    if isinstance(info, mi.CustomType):
        return info.cls is object or is_model(info.cls)
    if isinstance(info, mi.StructType):
        return not info.array_like
    return isinstance(info, mi.DataclassType | mi.TypedDictType | mi.DictType | mi.AnyType)
