"""A connection under `app.run()`: uvicorn's protocol, with limits on what a client sends and how slowly.

uvicorn with httptools bounds neither a head's size nor any wait but the one between two requests. Here each
wait has an end, and a client that is refused can read why: after the answer its input is thrown away for a
while, because closing at once would reset the connection under the answer.
"""

import asyncio
from typing import Any, ClassVar, Literal

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .._container import Container
from .._requests.correlation import new_ids
from .._requests.headers import FirstValues, RawHeaders, first_values
from ..config import Settings
from ..errors import HTTPError
from .body_pace import Arrival, LingeringTransport
from .deadline import Deadline
from .http_1_0 import UnchunkedTransport
from .refusal import (
    check_headers,
    check_protocol,
    head_of,
    head_size,
    header_too_large,
    is_host,
    meaning,
    refusal,
    take_host_of_target,
)
from .sending import SendingClock, reset
from .upgrade import begins_websocket, head_without_upgrade, refuse_connect

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024 * 1024
_FAREWELL_SECONDS = 1.0
"""How long a client may take to confirm the end of a TLS connection; asyncio would wait for half a minute."""


def connection_class(container: Container) -> "type[Connection]":
    """Make the class that uvicorn is to make its connections from, for one app."""

    class AppConnection(Connection):
        _container = container
        _settings = container.settings

    return AppConnection


class Connection(HttpToolsProtocol):
    """Serve one client, within the limits."""

    _container: ClassVar[Container]
    _settings: ClassVar[Settings]

    _at: Literal["rest", "head", "body"] = "rest"
    """What the client is sending."""
    _run = 0
    """Bytes that came since the parser ended a message or gave a piece of a body: the size of a head so far."""
    _run_is_long = False
    _uncounted = 0
    """Bytes that `_run` may lack: what came with the end of a message, or with a piece of a body, is not in it."""
    _received = b""
    """What is being parsed."""
    _allowance: int | None = None
    """How much more input is worth throwing away; None where input is wanted."""
    _deaf = False
    """No request is taken any more."""
    _handshake_waits = False
    """A WebSocket is to be opened when the requests before it are answered."""
    first_values: FirstValues
    """The headers of the latest request."""
    _last_words = b""
    """The early error's answer, as long as answers to earlier requests have to go first."""

    # What comes in

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._deadline = Deadline(self.loop, self._on_deadline)
        self._deadline.set(self._settings.header_timeout)
        self._sending = SendingClock(transport, self._settings.send_timeout, self._on_stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._deadline.close()
        self._sending.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it is refused already."""
        size, limit = len(data), self._settings.max_header_size
        if size > limit:  # cut, because of a head that begins behind something else no more is left uncounted
            for start in range(0, size, limit):
                self.data_received(data[start : start + limit])
            return
        if self._allowance is not None:
            self._allowance -= size
            if self._allowance < 0:
                self._close()
                return
        if self._deaf:
            return
        self._run += size
        self._run_is_long = self._run + self._uncounted > limit
        self._received = data
        try:
            try:
                self.feed(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._go_on_after_upgrade(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(meaning(error))
        else:
            if self._at != "rest" or self._run > limit:
                self._after_data()
        finally:
            self._received = b""

    def _go_on_after_upgrade(self, rest: memoryview) -> None:
        """Open a WebSocket; where another protocol is asked for, parse the request as if it were not."""
        while not self._should_upgrade():
            head = head_without_upgrade(self.parser, self.url, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.feed(head)
            try:
                self.feed(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return
        self._deaf = True
        self._deadline.clear()
        if self._busy:  # its answer goes first
            self._handshake_waits = True
        else:
            self.handle_websocket_upgrade()

    def feed(self, data: bytes | memoryview) -> None:
        """Let the parser have what came; raises what it raises."""
        self.parser.feed_data(data)

    def _after_data(self) -> None:
        """Look after a message that is not complete yet."""
        if self._run > self._settings.max_header_size:
            self._refuse(header_too_large(self._settings.max_header_size))
            return
        if not self._run:
            self._uncounted = self._settings.max_header_size
        if self._at == "body":
            if not isinstance(self.cycle.message_event, Arrival):
                self._deadline.clear()  # the head's
                self._watch_body()
        elif self._at == "head" and not self._deadline.is_set and not self._busy:
            self._deadline.set(self._settings.header_timeout)

    def _should_upgrade(self) -> bool:
        """Tell whether the request opens a WebSocket, and there is a library for these."""
        return begins_websocket(self.parser, self.first_values) and super()._should_upgrade()

    def handle_websocket_upgrade(self) -> None:
        """Let a WebSocket have the connection, if its library takes the handshake; else that is refused."""
        super().handle_websocket_upgrade()
        websocket = self.transport.get_protocol()
        if not getattr(websocket, "handshake_initiated", True):  # a body, too many headers, one that is too long
            self.connections.discard(websocket)
            self.connections.add(self)
            self.transport.set_protocol(self)
            self._refuse(HTTPError(400, "malformed request: not a WebSocket's handshake"))

    # What the parser finds

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.note_begin_of_message()

    def note_begin_of_message(self) -> None:
        """Expect the rest of a head."""
        self._at = "head"
        self._deadline.clear()

    def on_headers_complete(self) -> None:
        """Check the head, and start the app; raises HTTPError to stop the parser."""
        headers = self.headers
        values = dict(headers)
        is_clear = (  # no header stands twice, and the body is framed by its length
            len(values) == len(headers) and b"transfer-encoding" not in values and is_host(values.get(b"host"))
        )
        self.first_values = values if is_clear else first_values(headers)
        if self._run_is_long or not is_clear:
            self._check_head()
        is_upgrade = self.parser.should_upgrade()
        if is_upgrade and not self._should_upgrade():
            refuse_connect(self.parser)
            return  # it is parsed once more
        self.begin_answer()
        self._at = "body"
        if not is_upgrade:
            self.headers = []  # a trailer, which comes after the body, must not pass for a header

    def begin_answer(self) -> None:
        """Start the app for the request whose head is complete, or queue it."""
        version = self.parser.get_http_version()
        if not self.url.startswith(b"/"):
            take_host_of_target(self.url, self.headers)
        if version == "1.1":
            super().on_headers_complete()
            return
        check_protocol(version, self.url, self._received)
        self.expect_100_continue = False  # RFC 9110, 10.1.1
        super().on_headers_complete()
        self.cycle.transport = UnchunkedTransport(self)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._run = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self._at == "head":  # of a request that is parsed once more
            return
        if self._run_is_long and head_size(b"", b"", self.headers) > self._settings.max_header_size:
            raise header_too_large(self._settings.max_header_size)  # of trailers
        super().on_message_complete()
        self.note_end_of_message()

    def note_end_of_message(self) -> None:
        """Expect another request."""
        self._at = "rest"
        self._run = 0
        self._deadline.clear()
        if self._allowance is not None:  # a body that was answered before it was complete
            self._allowance = None
            self._rest()

    def _check_head(self) -> None:
        limit = self._settings.max_header_size
        if self._run_is_long and head_size(self.parser.get_method(), self.url, self.headers) > limit:
            raise header_too_large(limit)
        self._uncounted = 0
        check_headers(self.headers, self.parser)

    # What goes out

    def on_response_complete(self) -> None:
        """Go on to the next request, or to the answer to one that was refused."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            if self.transport.is_closing():
                self._deadline.set(_FAREWELL_SECONDS)
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        if self._last_words:
            self._say_last_words()
        elif self._handshake_waits:
            self.handle_websocket_upgrade()
        elif not self._deaf:
            self._rest()

    def shutdown(self) -> None:
        """Close, at once or when the request in flight is answered."""
        if self._busy and self._allowance is None:
            super().shutdown()
        else:
            self._close()

    def give_up(self) -> None:
        """Wait no longer for a client, be it for the rest of a body or for its reading the answer."""
        if self.transport.is_closing() or (self._busy and self.cycle.response_started):
            reset(self.transport)
        elif self._busy and self._at == "body":
            self._refuse(HTTPError(503, "server is shutting down"))
            self._close()  # there is no time to linger

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _rest(self) -> None:
        """Wait for what the client sends next, now that it has its answer."""
        if self._at == "body":
            self._allowance = _LINGER_BYTES
            self._deadline.set(_LINGER_SECONDS)
        elif self._at == "head":
            self._deadline.set(self._settings.header_timeout)
        else:
            self._deadline.set(self.timeout_keep_alive)

    def _refuse(self, error: HTTPError) -> None:
        """Answer with an error when all before it is answered, and take no more requests."""
        self._deaf = True
        headers = first_values(self._headers_of_the_refused())
        request_id, _ = new_ids(headers)
        self._log_refusal(error.message, status=error.status_code, trace_id=request_id)
        scope = {**self.scope} if self._at == "body" else None
        cors = self._container.cors_of_refusal(headers, scope)
        own_headers = [*self.server_state.default_headers, *cors]
        error_format = self._settings.error_format
        answer = refusal(error, own_headers, request_id, error_format=error_format)
        is_head = self._at != "rest" and self.parser.get_method() == b"HEAD"
        self._last_words = head_of(answer) if is_head else answer
        if self._at == "body":
            self._abandon_body()
        elif self._busy:
            self.flow.pause_reading()
        else:
            self._say_last_words()

    def _headers_of_the_refused(self) -> RawHeaders:
        if self._at == "head":
            return self.headers
        return list(self.scope["headers"]) if self._at == "body" else []

    def _abandon_body(self) -> None:
        """Tell the app that the rest of the body will not come, and the client why, if it is not too late."""
        if self.pipeline:
            self.pipeline.popleft()  # it has not started
            self.flow.pause_reading()
        elif self.cycle.response_started:
            self._close()
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._say_last_words()

    def _say_last_words(self) -> None:
        self.transport.write(self._last_words)
        self._last_words = b""
        self.linger()

    def linger(self) -> None:
        """Close the connection in such a way that the client can read the answer first.

        Closing a socket whose input has not been read makes the kernel reset the connection, and the client may
        lose the answer. So only the sending side is closed, and for a while input is read and thrown away.
        """
        self._deaf = True
        if self.transport.is_closing():
            return  # the client went first
        self._allowance = _LINGER_BYTES
        if self.transport.can_write_eof():  # not with TLS
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline.set(_LINGER_SECONDS)

    def _log_refusal(self, error: str, **fields: Any) -> None:
        ip = self.client[0] if self.client else ""
        self._container.logger.info("request.rejected", error=error, ip=ip, **fields)

    def pause_writing(self) -> None:
        """Time the client's reading, now that it is behind."""
        super().pause_writing()
        self._sending.start()

    def resume_writing(self) -> None:
        """Take note that the client has read."""
        super().resume_writing()
        self._sending.stop()

    def _on_stalled(self) -> None:
        ip = self.client[0] if self.client else ""
        self._container.logger.info("client.not_reading", seconds=self._settings.send_timeout, ip=ip)
        reset(self.transport)

    # The body of a request that comes in more than one piece

    def _watch_body(self) -> None:
        """Have the app's waiting for the body timed, and an answer before its end linger."""
        cycle = self.cycle
        if cycle.transport is self.transport:
            cycle.transport = LingeringTransport(self)
        arrival = Arrival(self)
        if cycle.message_event.is_set():
            arrival.set()
        cycle.message_event = arrival
        declared = next((value for name, value in cycle.scope["headers"] if name == b"content-length"), b"0")
        if int(declared) > _LINGER_BYTES:  # digits, says the parser, and no more than 20
            cycle.keep_alive = False  # refused early, its rest would be too much to throw away

    @property
    def body_is_open(self) -> bool:
        """Tell whether the client is still sending the body of its latest request."""
        return self._at == "body"

    def expect_body(self, arrival: Arrival, *, wanted: bool) -> None:
        """Start the body's clock when the app waits for it, and stop it when it does not."""
        if self._at == "body" and arrival is self.cycle.message_event and self._busy and not self._deaf:
            if wanted:
                self._deadline.set(self._settings.body_timeout)
            else:
                self._deadline.clear()

    # When time is over

    def _on_deadline(self) -> None:
        if self.transport.is_closing():
            self._end()
        elif self._deaf:
            self._close()
        elif self._busy:
            self._refuse(HTTPError(408, f"request body stalled for {self._settings.body_timeout:g} seconds"))
        else:
            if self._at == "head":
                seconds = self._settings.header_timeout
                self._log_refusal(f"request header was not complete within {seconds:g} seconds")
            self._close()

    def _close(self) -> None:
        """Close as soon as all that was written is sent."""
        self._deaf = True
        self.transport.close()
        self._deadline.set(_FAREWELL_SECONDS)

    def _end(self) -> None:
        """Wait no longer for what a closed connection's client should do, but that it reads its answer."""
        if self.transport.get_write_buffer_size():
            self._sending.start()
            self._deadline.set(_FAREWELL_SECONDS)
        else:
            self.transport.abort()
