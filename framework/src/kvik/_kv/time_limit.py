"""Limits in time that cost next to nothing: one timer looks after all operations of a loop.

`asyncio.timeout` makes and cancels a timer of the loop's for each operation, which takes longer than a read from
memory. Hardly any operation ever reaches its limit, so a look now and then will do.
"""

import asyncio
import time
from types import TracebackType
from typing import Final

_LOOK_EVERY: Final = 0.025
"""Seconds between two looks: how much later than its limit an operation may be cancelled."""


class TimeLimits:
    """Look after the operations that run, on whichever loop they do; the timer rests when there are none."""

    def __init__(self) -> None:
        self._limits: set[TimeLimit] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # the one whose timer is set

    def add(self, limit: "TimeLimit") -> None:
        """Look after one more."""
        self._limits.add(limit)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # also a second one, as tests have: what the first left behind is over
            self._loop = loop
            loop.call_later(_LOOK_EVERY, self._look, loop)

    def remove(self, limit: "TimeLimit") -> None:
        """Look no more after one."""
        self._limits.discard(limit)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        if not self._limits:
            self._loop = None
            return
        now = time.monotonic()
        for limit in [each for each in self._limits if each.moment <= now]:
            limit.expire()
        loop.call_later(_LOOK_EVERY, self._look, loop)


class TimeLimit:
    """Cancel the block, and make that a TimeoutError, when it takes longer than so many seconds.

    A cancellation from elsewhere stays one, as with `asyncio.timeout`.
    """

    __slots__ = ("_cancelling", "_limits", "_task", "expired", "moment")

    def __init__(self, limits: TimeLimits, seconds: float) -> None:
        self._limits = limits
        self.moment = time.monotonic() + seconds
        self.expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task = task
        self._cancelling = task.cancelling()
        self._limits.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._limits.remove(self)
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the block, once."""
        self._limits.remove(self)
        self.expired = True
        self._task.cancel()
