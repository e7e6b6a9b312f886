"""Work that goes on after an answer: started behind it, outliving its client, awaited at the stop."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.typing import FilteringBoundLogger

from ._exits import as_error
from ._signatures import name_of
from ._threads import WorkerThreads, asynchronous

_AFTER_CANCEL = 1.0


class BackgroundWork:
    """Hold the background tasks of an app."""

    def __init__(self, logger: FilteringBoundLogger, threads: WorkerThreads) -> None:
        self._logger = logger
        self._threads = threads
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_closed = False
        """The app has stopped, with its stores."""

    @property
    def is_busy(self) -> bool:
        """Tell whether anything is running."""
        return bool(self._tasks)

    def start(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run a function, in a thread if it is a plain one; what it raises is logged."""
        task = asyncio.create_task(self._run(function, args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def start_from_anywhere(
        self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        """Run a function, from the loop's thread or from another; RuntimeError when the app has stopped."""
        if self.is_closed:
            raise RuntimeError("the app has stopped; background work has to be started before")
        if asyncio._get_running_loop() is loop:  # noqa: SLF001 - the public function raises where there is none
            self.start(function, args)
        else:
            loop.call_soon_threadsafe(self.start, function, args, context=contextvars.copy_context())

    async def drain(self, seconds: float) -> bool:
        """Wait until all is done, at most so long, then cancel the rest; return whether nothing was cut."""
        ends_at = time.monotonic() + seconds
        while self._tasks and (left := ends_at - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)  # which may have started more
        late = list(self._tasks)
        for task in late:
            task.cancel()
        if late:
            self._logger.error("background.cut", tasks=len(late))
            await asyncio.wait(late, timeout=_AFTER_CANCEL)
        return not late

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Coroutine[Any, Any, None]:
        async def run() -> None:
            try:
                await asynchronous(function, self._threads)(*args)
            except BaseException as raised:
                error = as_error(raised)
                self._logger.error("background.failed", function=name_of(function), exc_info=error)

        return run()
