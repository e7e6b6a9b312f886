"""The outer side of a request: its trace id, its access line, and an answer whatever happens inside."""

import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from .._container import Container
from .._exits import as_error
from .._logs.logging import NO_IDS, request_ids
from .correlation import new_ids
from .cors import CORS
from .dispatch import Dispatch, has_outgoing, keep_outgoing
from .failures import failure_of
from .framing import framed_handshake
from .handshake import Handshakes
from .headers import FirstValues, RawHeaders, first_values
from .interruption import ASGIIncoming, Incoming
from .mounting import raw_path_of
from .outgoing import ASGIOutgoing, Outgoing
from .routing import NO_MATCH


class RequestPath:
    """Give each request and each WebSocket its trace id, and each request its answer and its access line.

    `middleware` is the user's around all routes, None where there is none: then a request goes straight to
    its route, unless the app is `wrapped` by its own class.
    """

    def __init__(
        self,
        container: Container,
        dispatch: Dispatch,
        websockets: ASGIApp,
        *,
        middleware: ASGIApp | None,
        cors: CORS,
        wrapped: bool,
    ) -> None:
        self._container = container
        self._dispatch = dispatch
        self._middleware = middleware
        self.cors = cors
        self._websockets = Handshakes(container, cors, middleware or websockets)
        self.find = dispatch.find
        self.is_straight = middleware is None and not wrapped
        self._owns_tasks = self.is_straight and container.has_own_server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        headers = first_values(scope["headers"])
        ids = new_ids(headers)
        if request_ids.get() is not NO_IDS and not has_outgoing(scope):
            clear_contextvars()  # a server that starts a request from within another one's task hands them down
        token = request_ids.set(ids)
        try:
            if scope["type"] == "http":
                outgoing = ASGIOutgoing(scope, send, headers, self.cors)
                outgoing.correlation_id = ids[0]
                outgoing.owns_task = self._owns_tasks
                await self.serve(outgoing, ASGIIncoming(scope, receive, self._container.client_watch))
            else:
                await self._websockets(scope, receive, framed_handshake(send))
        finally:
            request_ids.reset(token)

    def cors_of_refusal(self, headers: FirstValues, scope: Scope | None) -> RawHeaders:
        """Return the headers of an answer given below all routes; there is a scope if the head was whole."""
        match = NO_MATCH if scope is None else self.find(scope["method"], raw_path_of(scope))
        if match.route is not None and match.route.endpoint.decides_cors:
            return []
        return self.cors.headers(self.cors.origin_of(headers), match.allow)

    async def serve(self, outgoing: Outgoing, incoming: Incoming) -> None:
        """Serve one request whose ids are set."""
        observers = self._container.observers
        begun = observers.request_began(outgoing)
        started = time.perf_counter()
        try:
            if self._middleware is None:
                await self._dispatch.answer(outgoing, incoming)
            else:
                keep_outgoing(outgoing.scope, outgoing)
                await self._middleware(outgoing.scope, incoming.receive, outgoing.send)
        except ClientDisconnect:
            self._container.logger.debug("request.client_gone")
        except BaseException as raised:  # noqa: BLE001 - a middleware's sys.exit() is a 500, too
            error = as_error(raised)
            if outgoing.error is not error:  # a middleware's, for a handler's has been logged
                outgoing.error = error
                self._container.log_failure(error)
            if outgoing.started:
                raise error from error.__cause__
            await self._refuse(outgoing, error)
        finally:
            if outgoing.waiting_head is not None:
                await outgoing.release_head()
            outgoing.seconds = time.perf_counter() - started
            if outgoing.bound_values:
                bind_contextvars(**outgoing.bound_values)
            self._container.access_log.write(outgoing)
            observers.request_ended(outgoing, begun)

    async def _refuse(self, outgoing: Outgoing, error: Exception) -> None:
        """Answer with an error, or with the one that its own status or headers make."""
        try:
            reply = failure_of(error).reply(self._container.settings.error_format)
            await outgoing.send_reply(reply, with_body=outgoing.method != "HEAD")
        except ValueError as unsendable:
            if outgoing.started:
                raise
            outgoing.error = unsendable
            self._container.log_failure(unsendable)
            await self._refuse(outgoing, unsendable)
