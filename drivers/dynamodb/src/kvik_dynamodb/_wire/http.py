"""HTTP/1.1 on one connection that is kept alive: a request, its reply, the next request."""

import asyncio
import math
import socket
import struct
from contextlib import suppress
from typing import Final, NamedTuple

import httptools

_FIRST_FINAL_STATUS: Final = 200
"""RFC 9110, 15.2: replies below only announce the one that counts."""


_FIRST_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500

_LARGE: Final = 64 * 1024
"""Bytes of a request that may take a while to be sent, so that it is looked after as it goes."""

_LOOKS: Final = 4
"""How often, within the longest silence, a large request is looked after."""


_BYTES_ACKED: Final = 120
"""Where Linux's struct tcp_info has tcpi_bytes_acked; man 7 tcp."""

_TCP_INFO_SIZE: Final = 192


class ConnectionBrokenError(Exception):
    """Say that a connection ended, or made no sense, before the whole reply was there.

    ``silent``: not one byte of it had come.
    """

    def __init__(self, reason: str, *, silent: bool) -> None:
        super().__init__(reason)
        self.silent = silent


class Reply(NamedTuple):
    """Hold what the server answered; names of headers are in lower case, and the body is as it has arrived.

    ``is_second``: the request had gone out before, on a connection that was found dead.
    """

    status: int
    headers: dict[bytes, bytes]
    parts: list[bytes]
    is_second: bool = False

    @property
    def body(self) -> bytes:
        """Join the parts, which takes milliseconds where they are large."""
        return b"".join(self.parts)

    def is_longer_than(self, size: int) -> bool:
        """Tell whether the body has more bytes."""
        return len(self.parts) > 1 and sum(map(len, self.parts)) > size


class HTTPConnection(asyncio.Protocol):
    """Exchange requests for replies, one at a time; ``is_open`` says whether it can take another.

    ``silence``: seconds without a byte, in either direction, after which an exchange ends.
    ``idle_since`` and ``retires_at`` are times of the loop's clock, for the pool.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, silence: float = math.inf) -> None:
        self._loop = loop
        self._silence = silence
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Reply] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._silent = True
        self._gone = loop.create_future()
        self._deadline = 0.0
        self._heard_at = 0.0
        self._look_every = math.inf
        self._acknowledged = 0
        self._alarm: asyncio.TimerHandle | None = None
        self.is_open = True
        self.was_used = False
        self.idle_since = 0.0
        self.retires_at = 0.0

    async def exchange(self, request: bytes, deadline: float) -> Reply:
        """Send a request and return its reply.

        Raises TimeoutError when ``deadline``, a time of the loop's clock, has come, or after too long a silence,
        and ConnectionBrokenError. After these, and after a cancellation, the connection is closed.
        """
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        self._silent = True
        self._deadline = deadline
        self._heard_at = now = self._loop.time()
        look_at = now + self._silence
        self._look_every = math.inf
        if len(request) > _LARGE:
            self._look_every = self._silence / _LOOKS
            look_at = now + self._look_every
        self._set_alarm(min(deadline, look_at))
        self._transport.write(request)
        try:
            return await waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None
            self.was_used = True

    def abort(self) -> None:
        """Close at once, without a goodbye that could take time."""
        self.is_open = False
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket is given back."""
        await asyncio.shield(self._gone)

    # The time that a reply may take. One alarm serves many exchanges: most are over long before it goes off.

    def _set_alarm(self, moment: float) -> None:
        if self._alarm is None or moment < self._alarm.when():
            self._clear_alarm()
            self._alarm = self._loop.call_at(moment, self._on_alarm)

    def _clear_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _on_alarm(self) -> None:
        self._alarm = None
        if self._waiter is None or self._waiter.done():
            return
        now = self._loop.time()
        if self._look_every < math.inf:
            self._note_what_was_sent(now)
        ends_at = min(self._deadline, self._heard_at + self._silence)
        if now < ends_at:
            self._set_alarm(min(ends_at, now + self._look_every))
        else:
            self._waiter.set_exception(TimeoutError())

    def _note_what_was_sent(self, now: float) -> None:
        acknowledged = _acknowledged(self._transport)
        if acknowledged != self._acknowledged:
            self._acknowledged = acknowledged
            self._heard_at = now

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # uvloop's transports are no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        self._silent = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("no HTTP")
            self.abort()
        if self._waiter is not None and not self._waiter.done():  # more is to come
            self._heard_at = self._loop.time()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._clear_alarm()
        if error is None and self._is_refusal_to_the_end():
            self._deliver(self._parser.get_status_code())
        self._fail(type(error).__name__ if error else "closed by the server")
        if not self._gone.done():
            self._gone.set_result(None)

    # What the parser calls

    def on_message_begin(self) -> None:
        self._headers, self._parts = {}, []
        if self._waiter is None or self._waiter.done():  # nothing was asked: whatever this is, it answers nothing
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL_STATUS:
            return
        if not self._parser.should_keep_alive():
            self.abort()
        self._deliver(status)

    def _deliver(self, status: int) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Reply(status, self._headers, self._parts))

    def _is_refusal_to_the_end(self) -> bool:
        """Tell whether the end of the connection is that of a failure's body, which declares no length.

        Of a server's failure the status says enough. Others have to be whole: what is cut is no refusal.
        """
        if self._silent or b"content-length" in self._headers or b"transfer-encoding" in self._headers:
            return False
        status = self._parser.get_status_code()
        is_whole = bool(self._parts) and self._parts[-1].rstrip().endswith(b"}")
        return status >= _FIRST_SERVER_ERROR or (status >= _FIRST_ERROR and is_whole)

    def _fail(self, reason: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionBrokenError(reason, silent=self._silent))


def _acknowledged(transport: asyncio.Transport) -> int:
    """Return how many bytes the peer has acknowledged, or something else that changes as bytes are sent.

    A write succeeds as soon as the system has taken the bytes; on a slow link they leave it seconds later.
    """
    kernel = transport.get_extra_info("socket")
    with suppress(AttributeError, OSError, struct.error):
        information = kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        (acknowledged,) = struct.unpack_from("Q", information, _BYTES_ACKED)
        return int(acknowledged)
    return transport.get_write_buffer_size()  # not on Linux
