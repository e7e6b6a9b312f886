"""A thread that sees when one step keeps the event loop from everything else, and logs whose step it is."""

import asyncio
import linecache
import sys
import threading
import time
from types import FrameType
from typing import Any

from structlog.typing import FilteringBoundLogger

from .._signatures import name_of
from .running_handler import own_line, running_handler, running_route

_BETWEEN_WARNINGS = 60.0
_LONGEST_WAIT = 10.0
"""Seconds after which a step that does not end is told of as it stands."""


class LoopWatch:
    """Warn, at most once a minute for each route, of steps that take longer than `seconds`; None: never.

    The loop notes the time four times in that span. When a note is overdue the thread looks where the loop's
    thread stands: until then nothing is done for any request.
    """

    def __init__(self, logger: FilteringBoundLogger, seconds: float | None) -> None:
        self._logger = logger
        self._seconds = seconds
        self._noted = 0.0
        self._gap = 0.0  # the longest time between two notes since the thread began to wait for its end
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._warned: dict[str, float] = {}

    def start(self) -> None:
        """Begin to watch the running loop."""
        if self._seconds is None:
            return
        self._stopped = threading.Event()
        self._noted = time.perf_counter()
        self._note(asyncio.get_running_loop(), self._seconds / 4)
        watch = (threading.get_ident(), self._seconds * 1.25, self._stopped)  # a note may be a quarter old
        threading.Thread(target=self._watch, args=watch, name="kvik-loop-watch", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        now = time.perf_counter()
        self._gap = max(self._gap, now - self._noted)
        self._noted = now
        self._timer = loop.call_later(interval, self._note, loop, interval)

    def _watch(self, thread: int, limit: float, stopped: threading.Event) -> None:
        wake_at = time.perf_counter()
        while not stopped.wait(max(0.0, wake_at - time.perf_counter())):
            now = time.perf_counter()
            is_late_itself = now - wake_at > limit / 4  # the machine was busy with others: that tells nothing
            if now - self._noted > limit and not is_late_itself:
                self._look(thread, limit, stopped)
            wake_at = max(self._noted, now - limit / 2) + limit

    def _look(self, thread: int, limit: float, stopped: threading.Event) -> None:
        began, self._gap = self._noted, 0.0
        step = _describe(sys._current_frames().get(thread))  # noqa: SLF001 - documented
        give_up = began + _LONGEST_WAIT
        while not self._gap and time.perf_counter() < give_up:
            if stopped.wait(limit / 10):
                return
        self._warn(step, self._gap or time.perf_counter() - began)

    def _warn(self, step: dict[str, Any], seconds: float) -> None:
        key, now = step.get("route") or step.get("line", ""), time.monotonic()
        if not key or now - self._warned.get(key, -_BETWEEN_WARNINGS) < _BETWEEN_WARNINGS:
            return
        self._warned[key] = now
        self._logger.warning(
            "loop.blocked",
            **step,
            milliseconds=round(seconds * 1000),
            problem="nothing else was served meanwhile",
            hint="await it, or do it in a def handler or in asyncio.to_thread",
        )


def _describe(frame: FrameType | None) -> dict[str, Any]:
    """Tell whose step a frame is in and where it stands; nothing where it is in no code of a user's."""
    handler, route = running_handler(frame), running_route(frame)
    found = own_line(frame, handler)
    if found is None:
        return {}
    file, number = found
    step = {"route": route, "handler": "" if handler is None else name_of(handler)}
    return {name: value for name, value in step.items() if value} | {
        "line": f"{file}:{number}",
        "code": linecache.getline(file, number).strip(),
    }
