"""What a type is made of, as msgspec sees it."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec.inspect as mi
from starlette.datastructures import UploadFile

from .models import is_model

NOTHING_CAN_BE_BOUND = "nothing can be bound to"
OBJECTS = mi.StructType | mi.DataclassType | mi.TypedDictType
"""The types with named fields."""


def members(info: mi.Type) -> Iterator[mi.Type]:
    """Give what a value may be apart from None: the members of a union, or the type itself."""
    if isinstance(info, mi.Metadata):
        yield from members(info.type)
    elif isinstance(info, mi.UnionType):
        for member in info.types:
            yield from members(member)
    elif not isinstance(info, mi.NoneType):
        yield info


def is_nullable(info: mi.Type) -> bool:
    """Tell whether a value may be None."""
    if isinstance(info, mi.Metadata):
        return is_nullable(info.type)
    if isinstance(info, mi.UnionType):
        return any(map(is_nullable, info.types))
    return isinstance(info, mi.NoneType)


def parts(info: mi.Type) -> Iterator[mi.Type]:
    """Give the types that a type is made of."""
    match info:
        case mi.Metadata():
            yield info.type
        case mi.UnionType():
            yield from info.types
        case mi.CollectionType():
            yield info.item_type
        case mi.TupleType():
            yield from info.item_types
        case mi.DictType():
            yield from (info.key_type, info.value_type)
        case mi.StructType() | mi.DataclassType() | mi.TypedDictType() | mi.NamedTupleType():
            yield from (field.type for field in info.fields)


def refuse_unknown(info: mi.Type, seen: set[int] | None = None) -> None:
    """Raise TypeError where the type contains one that nothing can be bound to."""
    seen = set() if seen is None else seen
    if id(info) in seen:
        return  # a type that contains itself
    seen.add(id(info))
    if isinstance(info, mi.CustomType) and not (info.cls in (UploadFile, object) or is_model(info.cls)):
        raise TypeError(
            f"{NOTHING_CAN_BE_BOUND} {info.cls.__qualname__}: it is no dataclass, msgspec.Struct, TypedDict, "
            "pydantic model or other type that msgspec converts"
        )
    if isinstance(info, mi.DataclassType) and hasattr(info.cls, "__pydantic_validator__"):
        raise TypeError(
            f"{NOTHING_CAN_BE_BOUND} {info.cls.__qualname__}: pydantic's dataclasses would lose their "
            "validation; use pydantic.BaseModel or dataclasses.dataclass"
        )
    for part in parts(info):
        refuse_unknown(part, seen)


def choices(info: mi.Type) -> list[Any]:
    """Give the values of a Literal or an Enum, [] for any other type."""
    match info:
        case mi.LiteralType():
            return list(info.values)
        case mi.EnumType():
            return [member.value for member in info.cls]
        case _:
            return []


def choices_at(info: mi.Type, place: str) -> list[Any]:
    """Give the values allowed at a place such as "$.people[0].role"."""
    reached = list(members(info))
    for name in re.findall(r"\.([^.\[]+)|\[[^\]]*\]", place):
        steps = (step for node in reached for step in (_fields_named(node, name) if name else parts(node)))
        reached = [member for step in steps for member in members(step)]
    return [choice for node in reached for choice in choices(node)]


def _fields_named(info: mi.Type, name: str) -> Iterator[mi.Type]:
    if isinstance(info, OBJECTS | mi.NamedTupleType):
        yield from (field.type for field in info.fields if field.encode_name == name)
    if isinstance(info, mi.StructType) and info.tag_field == name:
        yield mi.LiteralType((info.tag,))
