"""JSON, in and out: one encoder for answers, logs and stored values."""

from typing import Any, TypeVar, overload

import msgspec

from ._binding.kinds import kind_of

T = TypeVar("T")


def _encode_hook(value: Any) -> Any:
    """Encode what msgspec does not know: pydantic models, without importing pydantic."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)
encode = _encoder.encode
"""Encode a value as compact JSON bytes; TypeError, ValueError or OverflowError if it cannot be."""


def to_json(value: Any) -> str:
    """Encode a value as JSON text, ready for a store.

    Takes what a handler may return: dict, list, str, numbers, None, dataclass, msgspec.Struct, pydantic model,
    datetime, UUID, Decimal, Enum, bytes (as base64). NaN and infinities become null. Raises TypeError for
    anything else.
    """
    return encode(value).decode()


@overload
def from_json(text: str | bytes) -> Any: ...
@overload
def from_json(text: str | bytes, kind: type[T]) -> T: ...
def from_json(text: str | bytes, kind: Any = Any) -> Any:
    """Decode JSON text, into `kind` (a dataclass, msgspec.Struct, TypedDict, pydantic model, …) if one is given.

    Raises ValueError where the text is not JSON or does not fit, naming the place; TypeError for a kind that
    nothing can be converted to.
    """
    return kind_of(kind).from_json(text)
