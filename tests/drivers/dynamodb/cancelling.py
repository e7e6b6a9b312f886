"""Cancel a call at each of its awaits in turn."""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import count
from types import coroutine
from typing import Any


class Cancellation:
    """Cancel a call at the await of this number, be it its own or that of a task which it has started.

    ``late``: not while it waits, but when what it waits for has come and it has not gone on yet.
    """

    current: ContextVar["Cancellation | None"] = ContextVar("cancellation", default=None)

    def __init__(self, number: int, *, late: bool) -> None:
        self._left = number
        self._late = late
        self._task: asyncio.Task[object] | None = None
        self.is_done = False

    async def run(self, call: Coroutine[Any, Any, object]) -> None:
        """Run the call to its end, whatever that is."""
        token = self.current.set(self)
        self._task = asyncio.create_task(call)
        self.current.reset(token)
        await asyncio.wait([self._task])
        if self.is_done:
            assert self._task.cancelled() or self._late
        else:
            self._task.exception()

    async def watch(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run a task's coroutine, and count what it awaits."""
        return await self._steps(call)

    @coroutine
    def _steps(self, call: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step = partial(call.send, None)
        while True:
            try:
                awaited = step()
            except StopIteration as end:
                return end.value
            self._count(awaited)
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - a cancellation among them
                step = partial(call.throw, error)
            else:
                step = partial(call.send, None)

    def _count(self, awaited: Any) -> None:
        self._left -= 1
        if self._left:
            return
        self.is_done = True
        if self._late and awaited is not None:
            awaited.add_done_callback(lambda _: self._cancel())
        else:
            self._cancel()

    def _cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()


@contextmanager
def watched_tasks() -> Iterator[None]:
    """Let a Cancellation see the tasks that its call starts."""

    def factory(loop: asyncio.AbstractEventLoop, call: Any, **options: Any) -> asyncio.Task[Any]:
        cancellation = Cancellation.current.get()
        return asyncio.Task(cancellation.watch(call) if cancellation else call, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(None)


async def cancel_at_every_await(begin: Callable[[], Coroutine[Any, Any, object]], *, late: bool) -> int:
    """Begin a call again and again, each time to cancel it one await later, until it ends before that.

    Gives the number of times that it was cancelled.
    """
    with watched_tasks():
        for number in count(1):
            cancellation = Cancellation(number, late=late)
            await cancellation.run(begin())
            if not cancellation.is_done:
                break
    return number - 1
