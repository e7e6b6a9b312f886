"""What a key and a value may be, checked before anything is asked of the file."""

import asyncio
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._errors import SQLiteError, SQLiteTypeError

Value: TypeAlias = str | bytearray  # the text, or its UTF-8

_PIECE = 128 * 1024  # characters, of which the slowest take less than a millisecond


@dataclass(frozen=True, slots=True)
class Limits:
    """Tell the largest key and value, in bytes of UTF-8, and the seconds by which an expiry may be rounded up."""

    max_key_bytes: int
    max_value_bytes: int
    ttl_granularity: float


LIMITS = Limits(
    max_key_bytes=2048,  # a DynamoDB partition key's limit, so that swapping the driver changes nothing
    max_value_bytes=16 * 1024 * 1024,  # ours: a value is copied whole through memory and through the WAL
    ttl_granularity=0.0,
)


def encode_key(key: object) -> bytes:
    """Return the key's UTF-8; raise `invalid_key` for one that is not a str of 1 to max_key_bytes bytes."""
    encoded = encode_text(key, "key", "invalid_key")
    if not 0 < len(encoded) <= LIMITS.max_key_bytes:
        raise SQLiteError(
            f"a key is 1 to {LIMITS.max_key_bytes} bytes of UTF-8, not {len(encoded)}", code="invalid_key"
        )
    return encoded


async def encode_value(value: object) -> Value:
    """Return the value, ready to be stored; raise `invalid_value` or `value_too_large` if it cannot be.

    A large one that is not ASCII has to be encoded, in pieces: whole it would stop the event loop for long.
    """
    if not isinstance(value, str):
        raise _no_text(value, "value", "invalid_value")
    if value.isascii():  # known without looking at each character
        _check_size(len(value))
        return value
    encoded = bytearray()
    for start in range(0, len(value), _PIECE):
        if start:
            await asyncio.sleep(0)
        encoded += encode_text(value[start : start + _PIECE], "value", "invalid_value")
    _check_size(len(encoded))
    return encoded if len(value) > _PIECE else value


def encode_text(text: object, noun: str, code: Literal["invalid_key", "invalid_value"]) -> bytes:
    """Return the UTF-8; raise an error with this code, which names the noun, for what has none."""
    if not isinstance(text, str):
        raise _no_text(text, noun, code)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # No cause: its text and its object hold what was given.
        raise SQLiteError(f"a {noun} must be valid Unicode: this has a lone surrogate", code=code) from None


def _no_text(given: object, noun: str, code: Literal["invalid_key", "invalid_value"]) -> SQLiteTypeError:
    return SQLiteTypeError(f"a {noun} is a str, not {type(given).__name__}", code=code)


def _check_size(size: int) -> None:
    if size > LIMITS.max_value_bytes:
        raise SQLiteError(
            f"a value has at most {LIMITS.max_value_bytes} bytes of UTF-8, not {size}",
            code="value_too_large",
            size=size,
            limit=LIMITS.max_value_bytes,
        )
