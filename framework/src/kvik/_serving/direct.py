"""The direct protocol: a plain request is served from the parser's callbacks, without ASGI between.

Plain is a request with a handler of ours and no middleware around it, on a connection that is kept, whose body is
absent or came with its head, small and of a declared length. Every other goes to uvicorn's own protocol and the
ASGI application, in the middle of a connection too. HTTP_ENGINE=asgi switches this off.

`app.run()` speaks it, and so does `uvicorn main:app`.
"""

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import httptools
from starlette.types import Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from .._container import Container
from .._logs.bound_values import bound_values
from .._requests.headers import FirstValues, RawHeaders
from .._requests.http import RequestPath
from .connection import Connection
from .exchange import Exchange
from .heads import Heads

_LONGEST_SPLIT = 4096
"""Bytes of a target that are split here; what is longer, or has a fragment, is httptools's to judge."""


def direct_connection_class(container: Container, path: Callable[[], RequestPath]) -> "type[DirectConnection]":
    """Make the class that uvicorn is to make its connections from, for one app.

    `path` is asked when a client connects: until then middleware may be added.
    """

    class AppConnection(DirectConnection):
        _container = container
        _settings = container.settings
        _find_path = staticmethod(path)
        heads = Heads()

    return AppConnection


class DirectConnection(Connection):
    """Serve one client, its plain requests without ASGI."""

    _find_path: ClassVar["staticmethod[[], RequestPath]"]
    heads: ClassVar[Heads]
    cycle: Any
    pipeline: Any
    """What uvicorn works on, and what waits for it; here there may be exchanges among its cycles."""
    _proxy_rules: ClassVar[ProxyHeadersMiddleware | None] = None

    _arriving: Exchange | None = None
    """A plain request whose body is not here yet."""
    _due: Exchange | None = None
    """A plain request to be started when the parser has seen all that came with it."""
    _in_work: Exchange | None = None
    """The plain request that was started last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        """Look whether anything stands between a request and its route."""
        super().connection_made(transport)
        self._context = contextvars.copy_context()  # of no request
        self.unbound = 0 if bound_values() else len(self._context) + 1  # a request's own has its ids besides
        self.path = self._find_path()
        self._may_be_plain = self.path.is_straight and not self._is_for_uvicorn()
        HttpToolsProtocol.on_message_begin(self)
        self.scope_of_connection: Scope = {**self.scope}

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what is done for a client that has gone."""
        if self._in_work is not None and not self._in_work.response_complete:
            self._in_work.leave()
        self._in_work = None
        if isinstance(self.cycle, Exchange):
            self.cycle = None
        super().connection_lost(exc)

    def _is_for_uvicorn(self) -> bool:
        """Tell whether uvicorn was asked for something with each request that it alone does."""
        return bool(self.root_path or self.limit_concurrency is not None or self.config.reset_contextvars)

    # What the parser finds

    def feed(self, data: bytes | memoryview) -> None:
        """Parse what came, then start what it completed; whatever else it began is uvicorn's."""
        try:
            self.parser.feed_data(data)
        finally:
            if self._arriving is not None:
                self._hand_over(self._arriving)
            if self._due is not None:
                exchange, self._due = self._due, None
                self._start(exchange, at_once=True)

    def on_message_begin(self) -> None:
        """Begin a request; what uvicorn needs for one is made when it gets it."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self.note_begin_of_message()

    def begin_answer(self) -> None:
        """Take the request if it is plain, else let uvicorn have it."""
        self._arriving = self._plain_request() if self._may_be_plain else None
        if self._arriving is None:
            self._begin_answer_by_uvicorn(self.headers)

    def _begin_answer_by_uvicorn(self, headers: RawHeaders) -> None:
        url, expects = self.url, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().begin_answer()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if self._arriving is None:
            super().on_body(body)
        else:
            self._arriving.body += body

    def on_message_complete(self) -> None:
        """Take a whole request."""
        exchange, self._arriving = self._arriving, None
        if exchange is None:
            super().on_message_complete()
        else:
            self.note_end_of_message()
            self._take(exchange)

    def _plain_request(self) -> Exchange | None:
        headers = self.first_values
        if not self.url.startswith(b"/") or self.expect_100_continue or b"transfer-encoding" in headers:
            return None
        if b"content-length" in headers and int(headers[b"content-length"]) > HIGH_WATER_LIMIT:
            return None
        return self._routed_request(self.url) if self._is_kept(headers) else None

    def _is_kept(self, headers: FirstValues) -> bool:
        """Tell whether the connection goes on after the answer, and in HTTP/1.1."""
        parser = self.parser
        if b"connection" not in headers:
            return parser.should_keep_alive()  # no other version is kept without being asked for
        is_usual = parser.get_http_version() == self.scope_of_connection["http_version"]
        return is_usual and parser.should_keep_alive() and not parser.should_upgrade()

    def _routed_request(self, url: bytes) -> Exchange | None:
        parser = self.parser
        method = parser.get_method().decode("ascii")
        raw_path, query = _split(url)
        match = self.path.find(method, raw_path)
        if match.route is not None and not match.route.endpoint.is_plain:
            return None
        exchange = Exchange(self, method, raw_path.decode("ascii"), query)
        exchange.match = match
        return exchange

    # Requests in their turn

    def _take(self, exchange: Exchange) -> None:
        """Have the request started, behind those that came before it."""
        is_free = self.cycle is None or self.cycle.response_complete
        self.cycle = exchange
        if is_free:
            self._due = exchange
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def on_response_complete(self) -> None:
        """Go on to the next request; one of ours is started as a task that waits for its turn."""
        if not (self.pipeline and isinstance(self.pipeline[-1][0], Exchange)) or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        exchange, _ = self.pipeline.pop()
        self._context.copy().run(self._start, exchange, at_once=False)  # here the request before is still current

    def _start(self, exchange: Exchange, *, at_once: bool) -> None:
        """Start a request's task, which runs now until it waits for something, where Python has such tasks."""
        self._in_work = exchange
        if sys.version_info >= (3, 12):  # whatever factory of tasks the loop has: pipelined requests would recurse
            task = asyncio.Task(exchange.run(), loop=self.loop, eager_start=at_once)
            if task.done():
                return
        else:
            task = self.loop.create_task(exchange.run())
        exchange.task = task
        self.tasks.add(task)

    def _hand_over(self, exchange: Exchange) -> None:
        """Let uvicorn have a request after all: its body takes longer than its head."""
        self._arriving = None
        self._begin_answer_by_uvicorn(exchange.raw_headers)
        if exchange.body:
            super().on_body(exchange.body)

    # What the exchange asks for

    def log_access(self, scope: Scope, status: int) -> None:
        """Write uvicorn's own access line, as its cycle does, where uvicorn was told to have one."""
        client, target = get_client_addr(scope), get_path_with_query_string(scope)  # type: ignore[arg-type] # theirs
        version = scope["http_version"]
        self.access_logger.info('%s - "%s %s HTTP/%s" %d', client, scope["method"], target, version, status)

    async def take_forwarded(self, scope: Scope) -> None:
        """Believe what a proxy of FORWARDED_ALLOW_IPS says of the client, by uvicorn's rules."""
        if not self.config.proxy_headers:
            return
        rules = self._proxy_rules
        if rules is None:
            rules = ProxyHeadersMiddleware(_nothing, self.config.forwarded_allow_ips)
            type(self)._proxy_rules = rules  # noqa: SLF001 - one for all connections of the app
        await rules(scope, _nothing, _nothing)  # type: ignore[arg-type] # they do nothing


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Give the path and the query of a request's target that begins with a slash."""
    if b"#" in url or len(url) > _LONGEST_SPLIT:
        parsed = httptools.parse_url(url)
        return parsed.path, parsed.query or b""
    path, _, query = url.partition(b"?")
    return path, query


async def _nothing(*_: Any) -> None:
    pass
