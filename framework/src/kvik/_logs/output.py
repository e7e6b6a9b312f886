"""Writing to stdout and stderr, of which a reader may be slow or stall: nothing here waits for it.

Lines that a pipe has no room for are kept, and beyond a limit dropped and counted. What is written at once is
whole lines of no more than PIPE_BUF bytes, so that those of several processes do not mix (POSIX).
"""

import atexit
import contextlib
import io
import logging
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TextIO

from .log_json import to_json
from .log_line import line_of
from .log_values import ascii_only

WHOLE = 4096
"""Bytes that are written to a pipe whole or not at all: PIPE_BUF on Linux."""

_MAX_KEPT = 1024 * 1024
_POLL = 0.02

_outputs: dict[tuple[int, int], "Output"] = {}


class Output:
    """A pipe, socket or terminal that lines are written to; stdout and stderr may be the same one."""

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self._write = write
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a process that was forked: what is kept is its parent's to write."""
        self._lock = threading.RLock()  # a signal's handler may log amid a write
        self._kept = b""
        self._dropped = 0

    @property
    def is_behind(self) -> bool:
        """Tell whether there are lines for which there was no room."""
        return bool(self._kept)

    def write(self, lines: bytes) -> None:
        """Write lines, or keep them until there is room; they are lost where nobody reads any more."""
        with self._lock:
            if self._kept:
                self.catch_up()
            if not self._kept:
                self._kept = self._sent(lines)
            elif len(self._kept) + len(lines) <= _MAX_KEPT:
                self._kept += lines
            else:
                self._dropped += lines.count(b"\n")

    def catch_up(self) -> None:
        """Write what is kept, as far as there is room, and then how much was dropped."""
        with self._lock:
            self._kept = self._sent(self._kept)
            if self._dropped and not self._kept:
                line = line_of(logging.WARNING, "log.lines_dropped", (), {"lines": self._dropped})
                self._dropped = 0
                self._kept = self._sent(to_json(None, "", line).encode() + b"\n")

    def _sent(self, lines: bytes) -> bytes:
        """Write as many lines as there is room for, and return the rest."""
        try:
            while lines:
                lines = lines[self._write(lines if len(lines) <= WHOLE else _first_of(lines)) :]
        except BlockingIOError:
            return lines
        except OSError:  # nobody reads any more
            return b""
        return lines


def _first_of(lines: bytes) -> bytes:
    """Return as many lines as can be written whole; the first one alone where that is longer."""
    end = lines.rfind(b"\n", 0, WHOLE) + 1
    return lines[: end or lines.find(b"\n") + 1 or len(lines)]


def write_text(stream: TextIO | None, text: str) -> None:
    """Write lines to a stream; they are lost where it is closed, gone or full."""
    try:
        output = _output_of(stream)
        if output is None:
            try:
                stream.write(text)  # type: ignore[union-attr] # AttributeError is caught
            except UnicodeEncodeError:
                stream.write(ascii_only(text))  # type: ignore[union-attr] # it has been asked before
            stream.flush()  # type: ignore[union-attr] # as above
        else:
            stream.flush()  # type: ignore[union-attr] # what the program has printed comes first
            output.write(_encoded(stream, text))  # type: ignore[arg-type] # as above
    except (OSError, ValueError, AttributeError):  # gone or full; closed; a program without streams
        pass


def _encoded(stream: TextIO, text: str) -> bytes:
    try:
        return text.encode(stream.encoding)
    except UnicodeEncodeError:
        return ascii_only(text).encode(stream.encoding)


@lru_cache(maxsize=4)
def _output_of(stream: TextIO | None) -> Output | None:
    """Return the way to write to a stream without waiting; None where it never waits, as a file does."""
    try:
        descriptor = stream.fileno()  # type: ignore[union-attr] # AttributeError is caught
        status = os.fstat(descriptor)
        write = _writer(descriptor, status.st_mode)
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
        return None
    if write is None:
        return None
    return _outputs.setdefault((status.st_dev, status.st_ino), Output(write))


def _writer(descriptor: int, mode: int) -> Callable[[bytes], int] | None:
    if stat.S_ISSOCK(mode):
        connection = socket.socket(fileno=os.dup(descriptor))
        return lambda data: connection.send(data, socket.MSG_DONTWAIT)
    if not (stat.S_ISFIFO(mode) or os.isatty(descriptor)):
        return None
    try:
        # Of our own: O_NONBLOCK on the descriptor that we were given would hold for all programs that have it.
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # not Linux, or another user's
        return lambda data: _write_if_writable(descriptor, data)
    return partial(os.write, own)


def _write_if_writable(descriptor: int, data: bytes) -> int:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data[:WHOLE])


def catch_up() -> bool:
    """Write what is kept, as far as there is room; return whether that was all."""
    for output in _outputs.values():
        if output.is_behind:
            output.catch_up()
    return not any(output.is_behind for output in _outputs.values())


def finish(seconds: float = 1.0) -> None:
    """Write what is kept before the process ends, if its reader takes it in time."""
    end = time.monotonic() + seconds
    while not catch_up() and time.monotonic() < end:
        time.sleep(_POLL)


def _begin_anew() -> None:
    for output in _outputs.values():
        output.reset()


atexit.register(finish)
with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_begin_anew)
