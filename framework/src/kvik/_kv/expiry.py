"""How long a key has to live."""

import math
from datetime import timedelta
from typing import TypeAlias

TTL: TypeAlias = timedelta | float
"""A time to live: a timedelta, or seconds; above 0."""


def seconds_of(ttl: TTL) -> float:
    """Give a time to live in seconds; TypeError for another type, ValueError unless finite and above 0."""
    if isinstance(ttl, timedelta):
        ttl = ttl.total_seconds()
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"ttl must be a timedelta or a number of seconds, not {type(ttl).__name__}")
    if not 0 < ttl < math.inf:
        raise ValueError(f"ttl must be finite and above 0 seconds, not {ttl!r}")
    return float(ttl)
