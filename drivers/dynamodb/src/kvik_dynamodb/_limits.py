"""What fits into an item, checked before anything is sent."""

import math
from dataclasses import dataclass
from typing import Final

from ._errors import DynamoDBError

MAX_KEY_BYTES = 2048  # docs: "Constraints in DynamoDB", partition key length
_MAX_ITEM_BYTES = 400 * 1024  # docs: "Constraints in DynamoDB", item size, attribute names included
_BOOKKEEPING_BYTES = 128  # what token and expiry themselves may take, with room to spare


_OLDEST: Final = 5 * 365 * 86400.0
"""Seconds; docs: "Using time to live": an item whose time is longer ago than five years is not deleted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """State what fits, in bytes of UTF-8, and by how many seconds an expiry may be rounded up."""

    max_key_bytes: int
    max_value_bytes: int
    ttl_granularity: float = 0.001


def limits_of(*attribute_names: str) -> Limits:
    """Give the limits of items that have these attributes.

    They are the same for every item: a value that is accepted today must not be too large under a longer key.
    """
    names = sum(len(name.encode()) for name in attribute_names)
    return Limits(MAX_KEY_BYTES, _MAX_ITEM_BYTES - MAX_KEY_BYTES - _BOOKKEEPING_BYTES - names)


def check_key(key: object) -> None:
    """Raise DynamoDBError with code ``invalid_key`` unless the key has 1 to 2048 bytes of UTF-8."""
    size = _utf8_size(key, "key", "invalid_key")
    if not 0 < size <= MAX_KEY_BYTES:
        raise refused(f"a key has 1 to {MAX_KEY_BYTES} bytes, not {size}", "invalid_key", size, MAX_KEY_BYTES)


def check_prefix(prefix: object) -> None:
    """Raise DynamoDBError with code ``invalid_key`` unless the prefix is text that UTF-8 can hold."""
    _utf8_size(prefix, "prefix", "invalid_key")


def check_value(value: object, limit: int) -> None:
    """Raise DynamoDBError with code ``invalid_value`` or ``value_too_large``."""
    size = _utf8_size(value, "value", "invalid_value")
    if size > limit:
        raise refused(f"a value has at most {limit} bytes, not {size}", "value_too_large", size, limit)


def check_version(version: object) -> None:
    """Raise DynamoDBError with code ``invalid_value`` unless this can be a version."""
    if not isinstance(version, str):
        raise refused(f"a version is a str, not {type(version).__name__}", "invalid_value")


def check_page_size(limit: object) -> None:
    """Raise DynamoDBError with code ``invalid_value`` unless a page can have so many keys."""
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise refused(f"the limit of a page is an int, not {type(limit).__name__}", "invalid_value")
    if limit < 1:
        raise refused("the limit of a page is at least 1", "invalid_value")


def check_moment(moment: object, now: float) -> None:
    """Raise DynamoDBError with code ``invalid_value`` unless this is a time, and one that DynamoDB's TTL heeds."""
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise refused(f"expires_at is a number of seconds, not {type(moment).__name__}", "invalid_value")
    if isinstance(moment, float) and math.isnan(moment):
        raise refused("expires_at is a number of seconds since the epoch, not NaN", "invalid_value")
    if moment < now - _OLDEST:
        raise refused(
            "expires_at is in seconds since the epoch, and this time is more than five years ago, which"
            " DynamoDB would never delete: pass time.time() plus a number of seconds",
            "invalid_value",
        )


def check_not_text(keys: object) -> None:
    """Raise TypeError for a str in the place of several keys: each of its characters would be one."""
    if isinstance(keys, str | bytes):
        raise TypeError(f"several keys are wanted, not one {type(keys).__name__}: put it into a list")


def refused(message: str, code: str, size: int | None = None, limit: int | None = None) -> DynamoDBError:
    """Make the error for a request that is not sent, since it cannot be fulfilled."""
    return DynamoDBError(message, code=code, cause="request", size=size, limit=limit)


def _utf8_size(text: object, noun: str, code: str) -> int:
    if not isinstance(text, str):
        raise refused(f"a {noun} is a str, not {type(text).__name__}", code)
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        # From None: the codec's message quotes the text.
        raise refused(f"a {noun} is text that UTF-8 can hold, without lone surrogates", code) from None
