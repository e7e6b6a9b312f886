"""Work that goes on after an answer: started behind it, outliving its client, awaited at the stop."""

import asyncio
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

    @property
    def is_busy(self) -> bool:
        """Tell whether anything is running."""
        return bool(self._tasks)

    def start(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run a function, in a thread if it is a plain one; what it raises is logged."""
        task = asyncio.create_task(self._run(function, args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> bool:
        """Wait until all is done, at most so long, then cancel the rest; return whether nothing was cut."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
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
