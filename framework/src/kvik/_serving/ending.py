"""How a process of `app.run()` ends: the signals that ask for it, and the end that waits for nothing."""

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from .._logs.output import finish

_SHORTEST = 0.001
"""Seconds; a timer of 0 would never go off."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANGUP_SIGNALS = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()  # Windows has none


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop the program, among them SIGHUP where that means that its terminal is closed."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return (*STOP_SIGNALS, *HANGUP_SIGNALS) if on_terminal else STOP_SIGNALS


class Overdue:
    """The end of a process whose stop takes longer than all of its steps may: it keeps nobody waiting."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._loop: asyncio.AbstractEventLoop | None = None

    def end_in(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """End the process with status 1 after so many seconds from now, whatever was said before."""
        self._loop = loop
        if hasattr(signal, "setitimer"):  # Windows has none
            signal.signal(signal.SIGALRM, self._end)
            signal.setitimer(signal.ITIMER_REAL, max(seconds, _SHORTEST))

    def cancel(self) -> None:
        """Let the process end by itself."""
        if self._loop is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _end(self, _: int, frame: FrameType | None) -> None:
        tasks: list[str] = []
        with contextlib.suppress(RuntimeError):  # they change while they are looked at
            tasks = sorted(
                {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks(self._loop)}
            )
        self._logger.error("shutdown.overdue", tasks=tasks, stack="".join(traceback.format_stack(frame)))
        end_at_once(1)


def end_at_once(status: int) -> NoReturn:
    """End the process without the interpreter's own end, which waits for threads."""
    flush_output()
    finish()
    os._exit(status)


def flush_output() -> None:
    """Write out what is buffered for stdout and stderr, where somebody still reads them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # gone; closed; a signal came amid a write
            stream.flush()
