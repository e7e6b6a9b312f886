"""Whether a value that was read back is the one that was written, field by field.

`==` alone does not tell: a class may leave fields out of it, or not define it.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


def is_same(written: Any, read: Any) -> bool:
    """Return whether both hold the same data; numbers and text are compared by `==`, and NaN equals NaN."""
    names = _field_names(type(read))
    if names is not None:
        return type(written) is type(read) and all(
            is_same(getattr(written, name, None), getattr(read, name, None)) for name in names
        )
    if isinstance(read, Mapping):
        return isinstance(written, Mapping) and written.keys() == read.keys() and _all_same(written, read)
    if isinstance(read, list | tuple):
        return isinstance(written, type(read)) and len(written) == len(read) and _pairs_same(written, read)
    return bool(written == read or (written != written and read != read))  # noqa: PLR0124 - only NaN differs from itself


def _field_names(kind: type) -> Iterable[str] | None:
    """Return the names of the fields that make up a value of the type, None for a type without named fields."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if hasattr(kind, "__attrs_attrs__"):
        return [attribute.name for attribute in kind.__attrs_attrs__]
    fields = getattr(kind, "model_fields", None)  # pydantic's
    return None if fields is None else [*fields, "model_extra"]


def _all_same(written: Mapping[Any, Any], read: Mapping[Any, Any]) -> bool:
    return all(is_same(value, read[key]) for key, value in written.items())


def _pairs_same(written: Iterable[Any], read: Iterable[Any]) -> bool:
    return all(map(is_same, written, read))
