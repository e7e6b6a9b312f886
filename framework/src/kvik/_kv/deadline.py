"""The moment by which the current task's operations must be done: one for all that a request does."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

OPERATION_TIMEOUT: Final = 10.0
"""Seconds after which an operation is given up where there is no deadline; drivers have shorter limits."""

_MAX_SECONDS: Final = 1e9  # more than any process lives; clocks overflow far above it
_deadline: ContextVar[float | None] = ContextVar("kvik_deadline", default=None)


def remaining() -> float | None:
    """Give the seconds left, 0 or less when it is over; None where there is no deadline.

    Drivers that have `use_deadline` are given this function.
    """
    moment = _deadline.get()
    return None if moment is None else moment - time.monotonic()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound everything in the block, and the tasks it starts, to so many seconds; a nearer deadline stands.

    ValueError unless `seconds` is a finite number above 0.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ValueError(f"a deadline is a finite number of seconds above 0, not {seconds!r}")
    outer, moment = _deadline.get(), time.monotonic() + min(seconds, _MAX_SECONDS)
    token = _deadline.set(moment if outer is None else min(outer, moment))
    try:
        yield
    finally:
        _deadline.reset(token)
