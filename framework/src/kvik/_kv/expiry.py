"""Times to live, and the moments at which keys expire."""

import math
from datetime import timedelta
from typing import Final, TypeAlias

TTL: TypeAlias = timedelta | float
"""A time to live: a timedelta, or seconds; above 0."""

_LATEST: Final = 1e11
"""The latest moment at which a key expires, in the year 5138: dates and milliseconds as floats still hold it."""


def seconds_of(ttl: TTL) -> float:
    """Return a time to live in seconds; TypeError for another type, ValueError unless it is finite and above 0."""
    if isinstance(ttl, timedelta):
        ttl = ttl.total_seconds()
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"ttl must be a timedelta or a number of seconds, not {type(ttl).__name__}")
    if not 0 < ttl < math.inf:
        raise ValueError(f"ttl must be finite and above 0 seconds, not {ttl!r}")
    return float(min(ttl, _LATEST))


def moment_after(seconds: float, now: float) -> float:
    """Return the moment so many seconds from now, or the latest that a key can have."""
    return min(now + seconds, _LATEST)


def time_left(expires_at: float, now: float) -> timedelta:
    """Return the time until a moment, from zero to `timedelta.max`, whatever number a store has as the moment."""
    try:
        return timedelta(seconds=max(0.0, expires_at - now))
    except OverflowError:
        return timedelta.max if expires_at > 0 else timedelta()
