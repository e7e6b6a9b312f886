"""One request that is served straight on its connection: what comes in for it, and what goes out."""

import asyncio
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.types import Message, Scope, Send
from structlog.contextvars import clear_contextvars
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from .._logs.logging import NO_IDS, request_ids
from .._requests.correlation import new_ids
from .._requests.framing import WITH_BODY
from .._requests.headers import RawHeaders, header_lines
from .._requests.interruption import running_task
from .._requests.outgoing import Outgoing
from .._requests.replies import Reply

if TYPE_CHECKING:
    from .direct import DirectConnection

_CLOSING = (b"connection", b"close")


class Exchange(Outgoing):
    """Be to the connection what uvicorn's cycle is, and to the request's path what brings it in and sends it out.

    A finished answer is written at once. One that comes in pieces, or says itself how it is framed, is sent by
    a cycle of uvicorn's, made when it is needed.
    """

    message_event = None
    """No body is waited for: all of it is here."""
    cancelling_before = 0
    """The task is the request's own."""
    owns_task = True

    task: asyncio.Task[None] | None = None
    """The task that serves it, once it has had to wait."""
    body = b""
    keep_alive = True
    """Until the server shuts down."""
    response_started = response_complete = False
    """What is sent in pieces is sent by a cycle of uvicorn's, which is then the connection's."""
    client_left = False
    _body_due = True
    _is_watched = False
    _end: Callable[[], None] | None = None
    _ended: asyncio.Event | None = None
    """For who waits for the client's leaving."""
    _cycle: RequestResponseCycle | None = None
    _scope: Scope | None = None

    def __init__(self, connection: "DirectConnection", method: str, path: str, query: bytes) -> None:
        self.method = method
        self.path = urllib.parse.unquote(path) if "%" in path else path
        self._client = connection.client
        self.headers = connection.first_values
        self.cors = connection.path.cors
        self.loop = connection.loop
        self._connection = connection
        self.raw_headers: RawHeaders = connection.headers
        self._raw_path = path
        self._query = query

    @property
    def scope(self) -> Scope:
        """Give the scope that uvicorn would have made; most requests need none."""
        if self._scope is None:
            self._scope = {
                **self._connection.scope_of_connection,
                "headers": self.raw_headers,
                "method": self.method,
                "path": self.path,
                "query_string": self._query,
                "raw_path": self._raw_path.encode(),
                "state": self._connection.app_state.copy(),
            }
        return self._scope

    @property
    def ip(self) -> str:
        """Give the client's address, a proxy's word for it included."""
        return self._client[0] if self._client else ""

    async def run(self) -> None:
        """Serve the request, in a task of its own; whatever happens is told to the client as uvicorn does."""
        connection = self._connection
        try:
            if request_ids.get() is NO_IDS:
                self.unbound = connection.unbound
            else:  # of a request in whose task the reading was resumed
                clear_contextvars()
            ids = new_ids(self.headers)
            self.correlation_id = ids[0]
            request_ids.set(ids)  # the task's context is the request's own
            if b"x-forwarded-for" in self.headers or b"x-forwarded-proto" in self.headers:
                await connection.take_forwarded(self.scope)
                self._client = self.scope["client"]
            await connection.path.serve(self, self)
        except BaseException as error:  # noqa: BLE001 - uvicorn's cycle catches as much
            request_ids.set(NO_IDS)  # what uvicorn logs of it stands outside of the request, as in its own tasks
            await self._uvicorns_cycle().run_asgi(_raising(error))
        finally:
            if self.task is not None:  # it had to wait
                connection.tasks.discard(self.task)
                self.task = None

    # What comes in

    async def __call__(self) -> Message:
        """Receive the next message: the body, then the news that the client has gone or has its answer."""
        if self._body_due:
            self._body_due = False
            return {"type": "http.request", "body": self.body, "more_body": False}
        if not (self.client_left or self.response_complete):
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()
        return {"type": "http.disconnect"}

    @property
    def receive(self) -> "Exchange":
        """Give what receives messages."""
        return self

    def watch(self) -> None:
        """Cancel the current task when the client goes away, or now if it has gone."""
        self._is_watched = True
        if self.client_left:
            running_task().cancel()

    def on_leaving(self, end: Callable[[], None]) -> None:
        """Call this when the client goes away, or now if it has gone."""
        self._is_watched = True
        self._end = end
        if self.client_left:
            end()

    def unwatch(self) -> None:
        """Let the client go away."""
        self._is_watched = False

    def leave(self) -> None:
        """Take note that the client has gone."""
        self.client_left = True
        if self._is_watched and self._end is not None:
            self._end()
        elif self._is_watched and self.task is not None:
            self.task.cancel()
        if self._ended is not None:
            self._ended.set()
        if self._cycle is not None:
            self._cycle.disconnected = True

    # What goes out

    def write(self, reply: Reply) -> bool:
        """Write a finished response, unless the client is slow to read; ValueError for what HTTP cannot carry."""
        connection = self._connection
        if self._cycle is not None or connection.flow.write_paused:
            return False
        text = self._text(reply)
        self.status = reply.status
        if not self.client_left:
            if connection.access_log:
                connection.log_access(self.scope, reply.status)
            connection.transport.write(text)
            self._complete()
        return True

    async def send_reply(self, reply: Reply, send: Send | None = None, *, with_body: bool) -> None:
        """Send a finished answer, when the client has read enough of those before it."""
        if not self.write(reply):
            await super().send_reply(reply, send, with_body=with_body)

    async def pass_on(self, message: Message) -> None:
        """Send a message by uvicorn's cycle."""
        await self._uvicorns_cycle().send(message)  # type: ignore[arg-type] # uvicorn's types are narrower

    def _text(self, reply: Reply) -> bytes:
        """Write a whole answer."""
        server_headers = self._connection.server_state.default_headers
        body = b"" if self.method == "HEAD" else reply.body
        if reply.headers or not reply.body or reply.status not in WITH_BODY:
            headers = self.completed(reply.status, reply.head())
            if _CLOSING in headers:
                self.keep_alive = False
            elif not self.keep_alive:
                headers.append(_CLOSING)
            lines = header_lines(server_headers + headers)
            return b"".join(
                (STATUS_LINE[reply.status], lines, b"\r\n", body if reply.status in WITH_BODY else b"")
            )
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        origin = self.cors.origin_of(self.headers)
        template = self._connection.heads.template(
            reply, server_headers, cors=self.cors, origin=origin, methods=self.match.methods
        )
        return template % (len(reply.body), self.correlation_id.encode(), closing, body)

    def _complete(self) -> None:
        self.response_complete = True
        if self._ended is not None:
            self._ended.set()
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.on_response_complete()

    def _uvicorns_cycle(self) -> RequestResponseCycle:
        if self._cycle is None:
            connection = self._connection
            self._cycle = RequestResponseCycle(
                scope=self.scope,  # type: ignore[arg-type] # a TypedDict of the same keys
                transport=connection.transport,
                flow=connection.flow,
                logger=connection.logger,
                access_logger=connection.access_logger,
                access_log=connection.access_log,
                default_headers=connection.server_state.default_headers,
                message_event=asyncio.Event(),
                expect_100_continue=False,
                keep_alive=self.keep_alive,
                on_response=self._complete_by_cycle,
            )
            self._cycle.disconnected = self.client_left
            self._cycle.response_started = self._cycle.response_complete = self.response_complete
            if connection.cycle is self:
                connection.cycle = self._cycle
        return self._cycle

    def _complete_by_cycle(self) -> None:
        self.keep_alive = True  # the cycle has closed the connection itself where it was to be closed
        self._complete()


def _raising(error: BaseException) -> Any:
    async def app(*_: Any) -> None:
        raise error

    return app
