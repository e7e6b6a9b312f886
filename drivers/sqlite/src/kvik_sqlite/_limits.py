"""What a key and a value may be, checked before anything is asked of the file."""

from dataclasses import dataclass

from ._errors import SQLiteError


@dataclass(frozen=True, slots=True)
class Limits:
    """Tell the largest key and value, in bytes of UTF-8."""

    max_key_bytes: int
    max_value_bytes: int


LIMITS = Limits(
    max_key_bytes=2048,  # a DynamoDB partition key's limit, so that swapping the driver changes nothing
    max_value_bytes=16 * 1024 * 1024,  # ours: a value is copied whole through memory and through the WAL
)


def encode_key(key: object) -> bytes:
    """Return the key's UTF-8; raise `invalid_key` for one that is not a str of 1 to max_key_bytes bytes."""
    if not isinstance(key, str):
        raise SQLiteError(f"a key is a str, not {type(key).__name__}", code="invalid_key")
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        # No cause: its text and its object hold the key.
        raise SQLiteError("a key must be valid Unicode: this has a lone surrogate", code="invalid_key") from None
    if not 0 < len(encoded) <= LIMITS.max_key_bytes:
        raise SQLiteError(
            f"a key is 1 to {LIMITS.max_key_bytes} bytes of UTF-8, not {len(encoded)}", code="invalid_key"
        )
    return encoded


def check_value(value: object) -> str:
    """Return the value; raise `invalid_value` or `value_too_large` for one that cannot be stored."""
    if not isinstance(value, str):
        raise SQLiteError(f"a value is a str, not {type(value).__name__}", code="invalid_value")
    size = _utf8_size(value)
    if size > LIMITS.max_value_bytes:
        raise SQLiteError(
            f"a value has at most {LIMITS.max_value_bytes} bytes of UTF-8, not {size}",
            code="value_too_large",
            size=size,
            limit=LIMITS.max_value_bytes,
        )
    return value


def _utf8_size(value: str) -> int:
    if value.isascii():  # known without looking at each character
        return len(value)
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise SQLiteError(
            "a value must be valid Unicode: this has a lone surrogate", code="invalid_value"
        ) from None
