"""HTTP/1.1 on one connection that is kept alive: a request, its reply, the next request."""

import asyncio
from typing import Final, NamedTuple

import httptools

_FIRST_FINAL_STATUS: Final = 200
"""RFC 9110, 15.2: replies below only announce the one that counts."""


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

    ``idle_since`` and ``retires_at`` are times of the loop's clock, for the pool.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Reply] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._silent = True
        self._gone = loop.create_future()
        self._ends_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self.is_open = True
        self.was_used = False
        self.idle_since = 0.0
        self.retires_at = 0.0

    async def exchange(self, request: bytes, ends_at: float) -> Reply:
        """Send a request and give its reply.

        Raises TimeoutError when ``ends_at``, a time of the loop's clock, has come, and ConnectionBrokenError.
        After these, and after a cancellation, the connection is closed.
        """
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        self._silent = True
        self._set_alarm(ends_at)
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

    def _set_alarm(self, ends_at: float) -> None:
        self._ends_at = ends_at
        if self._alarm is None or ends_at < self._alarm.when():
            self._clear_alarm()
            self._alarm = self._loop.call_at(ends_at, self._on_alarm)

    def _clear_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _on_alarm(self) -> None:
        self._alarm = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._ends_at:
            self._set_alarm(self._ends_at)
        else:
            self._waiter.set_exception(TimeoutError())

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

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._clear_alarm()
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
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Reply(status, self._headers, self._parts))

    def _fail(self, reason: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionBrokenError(reason, silent=self._silent))
