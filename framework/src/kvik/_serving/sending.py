"""The limit on sending: a client that stops reading what it asked for does not keep its connection."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows

    def _in_kernel(transport: asyncio.Transport) -> int:  # noqa: ARG001 - the other one's
        return 0
else:

    def _in_kernel(transport: asyncio.Transport) -> int:
        """Return the bytes that the kernel has taken and the client has not."""
        with contextlib.suppress(OSError, ValueError):  # it has been closed
            answer = ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
            return int.from_bytes(answer, "little")
        return 0


_LOOKS = 4
"""Times within the limit that the unsent bytes are counted."""


class SendingClock:
    """Call `on_stalled` when a client has read nothing of what there is to send for so many seconds.

    It runs from `start` until everything is sent or the connection is lost; a client that reads slowly is waited
    for as long as it reads.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float, on_stalled: Callable[[], None]) -> None:
        self._transport = transport
        self._pause = seconds / _LOOKS
        self._on_stalled = on_stalled
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look, if it does not look already."""
        if self._timer is None:
            self._unread = self._count()
            self._stale = 0
            self._wait()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)

    def _look(self) -> None:
        self._timer = None
        unread = self._count()
        self._stale = self._stale + 1 if unread >= self._unread else 0
        self._unread = unread
        if not self._transport.get_write_buffer_size():
            return
        if self._stale < _LOOKS:
            self._wait()
        else:
            self._on_stalled()

    def _count(self) -> int:
        return self._transport.get_write_buffer_size() + _in_kernel(self._transport)


def reset(transport: asyncio.Transport) -> None:
    """End a connection at once, and have the kernel let go of what it has not sent."""
    with contextlib.suppress(OSError, AttributeError):  # closed already; no socket
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
