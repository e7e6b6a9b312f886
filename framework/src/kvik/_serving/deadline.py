"""A deadline that is moved often and passes seldom."""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Call `on_passed` when the deadline has passed.

    Moving it costs next to nothing: the one timer is not armed anew each time but looks, when it goes off, whether
    the deadline is still to come.
    """

    __slots__ = ("_at", "_closed", "_looks_at", "_loop", "_on_passed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_passed: Callable[[], None]) -> None:
        self._loop = loop
        self._on_passed = on_passed
        self._at = math.inf
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf

    @property
    def is_set(self) -> bool:
        """Tell whether there is a deadline at all."""
        return self._at != math.inf

    def set(self, seconds: float) -> None:
        """Let it pass in so many seconds."""
        if self._closed:
            return
        self._at = self._loop.time() + seconds
        if self._looks_at > self._at:
            if self._timer is not None:
                self._timer.cancel()
            self._look_in(seconds)

    def clear(self) -> None:
        """Let it not pass."""
        self._at = math.inf

    def close(self) -> None:
        """Let it never pass again, and let go of the timer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_in(self, seconds: float) -> None:
        self._looks_at = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer, self._looks_at = None, math.inf
        left = self._at - self._loop.time()
        if left <= 0:
            self._at = math.inf
            self._on_passed()
        elif self.is_set:
            self._look_in(left)
