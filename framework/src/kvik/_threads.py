"""Worker threads for plain `def` code: bounded, and able to reach the loop's awaitables."""

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ._exits import call_in_thread

T = TypeVar("T")


class WorkerThreads:
    """Run plain functions in at most `limit` threads, started as they are needed.

    A pool of our own rather than the loop's: who shares one pool with what they wait for may wait forever.
    A caller that is cancelled leaves its thread to finish; the thread keeps its place until then.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._executor: ThreadPoolExecutor | None = None
        self._running: set[Future[Any]] = set()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call the function in a thread, with the caller's context variables, and return what it returns.

        Raises an Exception where the function raises something that ends more than a call.
        """
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._limit, thread_name_prefix=self._name)
        context = contextvars.copy_context()
        future = self._executor.submit(context.run, call_in_thread, function, *args)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if future.cancelled() and not _is_being_cancelled():
                raise ConnectionError("closed before the work was begun") from None
            raise

    @property
    def is_busy(self) -> bool:
        """Tell whether a thread is at work."""
        return bool(self._running)

    def close(self) -> None:
        """Start no more work; a thread that is at work is let finish."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def asynchronous(function: Callable[..., Any], threads: WorkerThreads) -> Callable[..., Awaitable[Any]]:
    """Give a coroutine function that does what `function` does, in a thread if it is a plain `def`.

    Where a plain function gives an awaitable, as redis.asyncio's methods do, that is awaited on the loop.
    """
    if is_coroutine_function(function):
        return function

    async def in_thread(*args: Any) -> Any:
        result = await threads.run(function, *args)
        return await result if inspect.isawaitable(result) else result

    return functools.wraps(function)(in_thread) if hasattr(function, "__name__") else in_thread


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Tell whether a call gives a coroutine, also for partials and objects with an async `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - its kind is asked for, not whether it is there
    )


class Waits:
    """Let a worker thread wait for awaitables of the loop, until what it works for is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Run the awaitable on the loop, with the thread's context variables, and return its result.

        Raises CancelledError where the request is over, and RuntimeError on the loop's own thread, which would
        wait for itself.
        """
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001 - the public function raises where there is none
            _discard(awaitable)
            raise RuntimeError("ctx.wait is for def handlers; use await")
        result: Future[T] = Future()
        context = contextvars.copy_context()
        self._loop.call_soon_threadsafe(self._start, awaitable, result, context)
        try:
            return result.result()
        except FutureCancelled:
            raise asyncio.CancelledError from None

    def end(self) -> None:
        """Cancel what is waited for, and refuse more; called on the loop."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()

    def _start(self, awaitable: Awaitable[T], result: Future[T], context: contextvars.Context) -> None:
        if self._is_over:
            _discard(awaitable)
            result.cancel()
            return

        async def run() -> None:
            try:
                result.set_result(await awaitable)
            except asyncio.CancelledError:
                result.cancel()
            except BaseException as error:  # noqa: BLE001 - it is handed to the thread, which raises it
                result.set_exception(error)

        task = self._loop.create_task(run(), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _discard(awaitable: Awaitable[Any]) -> None:
    """Close a coroutine that nobody will run, so that Python does not warn of it besides."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()
