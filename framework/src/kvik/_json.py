"""JSON, in and out: one encoder for answers, logs and stored values."""

import codecs
import functools
from typing import Any, TypeVar, overload

import msgspec

from ._binding.kinds import kind_of
from ._json_advice import advice_on

T = TypeVar("T")


def _dump(value: Any, **options: bool) -> Any:
    """Return a pydantic model, which msgspec does not know, as a dict; nothing here imports pydantic."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json", **options)
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON: {advice_on(value)}")


_dump_to_store = functools.partial(_dump, by_alias=True, round_trip=True, warnings=False)
"""Dumps a model as it is read again, by alias and without computed fields; a loss is found by reading it back."""

_storage_encoder = msgspec.json.Encoder(enc_hook=_dump_to_store)
_encoder = msgspec.json.Encoder(enc_hook=_dump)
encode = _encoder.encode
"""Encode a value as compact JSON bytes; TypeError, ValueError or OverflowError if it cannot be."""


def to_json(value: Any) -> str:
    """Return a value as JSON text, ready for a store.

    Takes what a handler may return: dict, list, str, numbers, None, dataclass, msgspec.Struct, pydantic model
    (by alias, so that `from_json` finds its fields), datetime, UUID, Decimal, Enum, bytes (as base64). NaN and
    infinities become null. Raises TypeError for anything else.
    """
    return _storage_encoder.encode(value).decode()


@overload
def from_json(text: str | bytes) -> Any: ...
@overload
def from_json(text: str | bytes, kind: type[T]) -> T: ...
def from_json(text: str | bytes, kind: Any = Any) -> Any:
    """Decode JSON text, into `kind` (a dataclass, msgspec.Struct, TypedDict, pydantic model, …) if one is given.

    Raises ValueError where the text is not JSON or does not fit, naming the place; TypeError for a kind that
    nothing can be converted to. A byte order mark before the text is ignored.
    """
    decoded = _ANYTHING if kind is Any else kind_of(kind)
    try:
        return decoded.from_json(text)
    except ValueError:  # which a byte order mark is, too
        bare = text.removeprefix("\ufeff") if isinstance(text, str) else text.removeprefix(codecs.BOM_UTF8)
        if len(bare) == len(text):
            raise
    return decoded.from_json(bare)


_ANYTHING = kind_of(Any)
