"""Doing again what somebody else's write has come before."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..kv_errors import Conflict
from .deadline import remaining

T = TypeVar("T")

ATTEMPTS = 16
"""How often a read and its conditional write are tried, unless the caller says otherwise."""

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


async def retry_conflicts(attempt: Callable[[], Awaitable[T]], attempts: int) -> T:
    """Call until there is no Conflict; raise the last one, and one that may have been applied all the same.

    Pauses are random, up to 2 ms and doubling to 0.1 s, and never longer than the deadline leaves.
    """
    pause = _FIRST_PAUSE
    while True:
        attempts -= 1
        try:
            return await attempt()
        except Conflict as conflict:
            if conflict.outcome != "not_applied" or attempts <= 0:
                raise
        await asyncio.sleep(_within_deadline(random.uniform(0, pause)))  # noqa: S311 - jitter is no secret
        pause = min(2 * pause, _LONGEST_PAUSE)


def _within_deadline(pause: float) -> float:
    left = remaining()
    return pause if left is None else max(0.0, min(pause, left))
