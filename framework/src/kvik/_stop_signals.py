"""The stop of a server that is not ours: it tells its apps only when the last request has ended."""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

_Handler: TypeAlias = Callable[[int, FrameType | None], Any]


class StopSignals:
    """Set an event when a signal stops the server; the server's own handler gets the signal all the same."""

    def __init__(self) -> None:
        self._watched: list[tuple[signal.Signals, _Handler, _Handler]] = []

    def watch(self, stopping: asyncio.Event) -> None:
        """Begin, where the server handles signals in Python, which it can do in the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            servers = signal.getsignal(sig)
            if callable(servers):
                ours = _in_front_of(servers, lambda: loop.call_soon_threadsafe(stopping.set))
                signal.signal(sig, ours)
                self._watched.append((sig, ours, servers))

    def unwatch(self) -> None:
        """Put the server's handlers back, where ours still stand in front of them."""
        for sig, ours, servers in self._watched:
            if signal.getsignal(sig) is ours:
                signal.signal(sig, servers)
        self._watched.clear()


def _in_front_of(handler: _Handler, tell: Callable[[], object]) -> _Handler:
    def tell_first(number: int, frame: FrameType | None) -> None:
        tell()
        handler(number, frame)

    return tell_first
