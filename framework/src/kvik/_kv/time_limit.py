"""Limits in time that cost next to nothing, for operations that hardly ever reach them.

`asyncio.timeout` makes and cancels a timer of the loop's for each operation, which takes longer than a read from
memory. Here an operation is looked after from the moment on at which it waits for something: one that never does
cannot be cut off anyway. And one timer, which looks now and then, will do for all of a loop.

    steps = steps_of(operation)
    try:
        awaited = steps.send(None)
    except StopIteration as end:
        answer = end.value  # it waited for nothing
    else:
        answer = await limits.within(moment, steps, awaited)

That is written out where it is used, for a coroutine around it would take as long as what it looks after.
"""

import asyncio
import time
import types
from collections.abc import Awaitable, Coroutine, Generator
from types import TracebackType
from typing import Any, Final, TypeAlias

Steps: TypeAlias = Coroutine[Any, Any, Any] | Generator[Any, Any, Any]
"""What is awaited, as the event loop sees it."""

_LOOK_EVERY: Final = 0.025
"""Seconds between two looks: how much later than its limit an operation may be cancelled."""


def steps_of(operation: Awaitable[Any]) -> Steps:
    """Give the steps of what can be awaited, to be taken from within a task."""
    return operation if isinstance(operation, types.CoroutineType) else operation.__await__()


class OutOfTimeError(Exception):
    """Tell that an operation was cut off at its limit; the cause is what that made of it, an Exception."""


class TimeLimits:
    """Look after the operations that wait, on whichever loop they do; the timer rests when there are none."""

    def __init__(self) -> None:
        self._limits: set[_TimeLimit] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # the one whose timer is set

    @types.coroutine
    def within(self, moment: float, steps: Steps, awaited: Any) -> Generator[Any, Any, Any]:
        """Go on with an operation that waits; cancel it at that moment of time.perf_counter(): OutOfTimeError.

        A cancellation from elsewhere stays one, as with `asyncio.timeout`.
        """
        with _TimeLimit(self, moment):
            return (yield from _resumed(steps, awaited))

    def add(self, limit: "_TimeLimit") -> "set[_TimeLimit]":
        """Look after one more; return those among which it is until it is removed."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # another one has limits of its own, which end with it
            self._loop, self._limits = loop, set()
            loop.call_later(_LOOK_EVERY, self._look, loop, self._limits)
        self._limits.add(limit)
        return self._limits

    def _look(self, loop: asyncio.AbstractEventLoop, limits: "set[_TimeLimit]") -> None:
        if not limits:
            if limits is self._limits:
                self._loop = None
            return
        now = time.perf_counter()
        for limit in [each for each in limits if each.moment <= now]:
            limit.expire()
        loop.call_later(_LOOK_EVERY, self._look, loop, limits)


class _TimeLimit:
    """Cancel the block when it takes too long."""

    __slots__ = ("_all", "_among", "_cancelling", "_expired", "_task", "moment")

    def __init__(self, limits: TimeLimits, moment: float) -> None:
        self._all = limits
        self.moment = moment
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task = task
        self._cancelling = task.cancelling()
        self._among = self._all.add(self)

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._among.discard(self)
        if not self._expired:
            return
        by_us_alone = self._task.uncancel() <= self._cancelling
        if by_us_alone and isinstance(error, asyncio.CancelledError):
            raise OutOfTimeError from _timeout(error)
        if isinstance(error, Exception):
            raise OutOfTimeError from error

    def expire(self) -> None:
        """Cancel the block, once."""
        self._among.discard(self)
        self._expired = True
        self._task.cancel()


def _timeout(cancellation: asyncio.CancelledError) -> TimeoutError:
    """Make of it what anybody else's limit would, which is what logs and traces are to tell."""
    timeout = TimeoutError()
    timeout.__cause__ = cancellation
    return timeout


def _resumed(steps: Steps, awaited: Any) -> Generator[Any, Any, Any]:
    """Go on with what waits already, which `yield from` cannot: an exception has to reach it where it waits."""
    try:
        while True:
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for what waits
                awaited = steps.throw(error)
            else:
                awaited = steps.send(None)
    except StopIteration as end:
        return end.value
