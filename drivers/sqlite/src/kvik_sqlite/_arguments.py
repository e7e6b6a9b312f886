"""What a caller may give besides keys and values, checked before anything is asked of the file."""

import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

from ._errors import SQLiteError, SQLiteTypeError

K = TypeVar("K")


def check_expiry(expires_at: float) -> float:
    """Return the expiry; raise `invalid_value` for what SQLite would keep as no expiry at all, as NaN."""
    if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
        raise _wrong_type("expires_at", "a number of seconds since the epoch", expires_at)
    try:
        seconds = float(expires_at)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise SQLiteError("an expiry is a finite number of seconds since the epoch", code="invalid_value")
    return seconds


def check_optional_expiry(expires_at: float | None) -> float | None:
    """Return the same, or None for a key that does not expire."""
    return None if expires_at is None else check_expiry(expires_at)


def check_version(version: str) -> str:
    """Return the version; raise `invalid_value` for None, say, which would mean that the key must be absent."""
    if not isinstance(version, str):
        raise _wrong_type("version", "a str that this store has returned", version)
    return version


def check_limit(limit: int) -> int:
    """Return the limit; raise `invalid_value` unless it is an int of 1 or more."""
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise _wrong_type("limit", "an int", limit)
    if limit < 1:
        raise SQLiteError(f"a scan's limit is 1 or more, not {limit}", code="invalid_value")
    return limit


def check_keys(keys: Iterable[K]) -> Iterable[K]:
    """Return the keys; raise `invalid_key` for a str, of which each character would be a key."""
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise SQLiteTypeError(
            f"keys are given as a list of str, not as one {type(keys).__name__}", code="invalid_key"
        )
    return keys


def check_items(items: Mapping[str, str]) -> Mapping[str, str]:
    """Return the items; raise `invalid_value` for what is not a mapping."""
    if not isinstance(items, Mapping):
        raise _wrong_type("items", "a mapping of keys to values", items)
    return items


def _wrong_type(name: str, wanted: str, given: object) -> SQLiteTypeError:
    return SQLiteTypeError(f"{name} is {wanted}, not {type(given).__name__}", code="invalid_value")
