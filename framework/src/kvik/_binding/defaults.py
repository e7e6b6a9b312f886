"""The defaults of dataclasses, written into the objects that msgspec makes.

Where a field was not sent, msgspec leaves its default to the class, and then its own encoder does not see it: a
dataclass that is bound and then answered or stored would lose the field.
"""

import dataclasses
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
import msgspec.inspect as mi

from .shapes import parts


def needs_filling(info: mi.Type, seen: set[int] | None = None) -> bool:
    """Tell whether a type contains a dataclass that holds defaults."""
    seen = set() if seen is None else seen
    if id(info) in seen:
        return False  # a type that contains itself
    seen.add(id(info))
    if isinstance(info, mi.DataclassType) and _held_defaults(info.cls):
        return True
    return any(needs_filling(part, seen) for part in parts(info))


def fill_defaults(bound: Any) -> None:
    """Give every dataclass in a value the defaults that its class holds for it."""
    seen: set[int] = set()  # a __post_init__ may have made a ring of them, such as a child's link to its parent
    pending = [bound]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            pending.extend(value)
        elif _has_fields(value) and id(value) not in seen:
            seen.add(id(value))
            pending.extend(_filled(value))


def _has_fields(value: Any) -> bool:
    return isinstance(value, msgspec.Struct) or hasattr(type(value), "__dataclass_fields__")


def _filled(value: Any) -> Iterable[Any]:
    """Fill one object, and give the values of its fields."""
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    kind: Any = type(value)
    for name, default in _held_defaults(kind):
        vars(value).setdefault(name, default)
    return [getattr(value, field.name, None) for field in dataclasses.fields(value)]


@lru_cache(maxsize=1024)
def _held_defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Give the fields of a dataclass whose defaults are attributes of the class; with slots there are none."""
    if not dataclasses.is_dataclass(kind):
        return ()  # attrs, which holds them elsewhere
    return tuple(
        (field.name, field.default)
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING and getattr(kind, field.name, None) is field.default
    )
