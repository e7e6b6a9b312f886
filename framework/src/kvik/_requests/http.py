"""The outer side of a request: its trace id, its access line, and an answer whatever happens inside."""

import time
from contextvars import Token

from starlette.types import ASGIApp, Receive, Scope, Send

from .._container import Container
from .._logs.logging import span_id, trace_id
from .correlation import correlation_id, new_span_id
from .cors import CORS
from .dispatch import Dispatch, keep_outgoing
from .failures import failure_of
from .interruption import Incoming
from .outgoing import Outgoing


class RequestPath:
    """Give each request and each WebSocket its trace id, and each request its answer and its access line.

    `middleware` is the user's around all routes, None where there is none: then a request goes straight to
    its route.
    """

    def __init__(
        self, container: Container, dispatch: Dispatch, websockets: ASGIApp, middleware: ASGIApp | None
    ) -> None:
        self._container = container
        self._dispatch = dispatch
        self._websockets = middleware or websockets
        self._middleware = middleware
        self._cors = CORS(container.settings, container.logger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        request_id = correlation_id(scope["headers"])
        tokens = set_ids(request_id)
        try:
            if scope["type"] == "http":
                outgoing = Outgoing(scope, send, request_id, self._cors)
                await self.serve(outgoing, Incoming(scope, receive, self._container.client_watch))
            else:
                await self._websockets(scope, receive, send)
        finally:
            span_id.reset(tokens[1])
            trace_id.reset(tokens[0])

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
        except Exception as error:
            if outgoing.error is not error:  # a middleware's, for a handler's has been logged
                outgoing.error = error
                self._container.log_failure(error)
            if outgoing.started:
                raise
            reply = failure_of(error).reply(self._container.settings.error_format)
            await outgoing.send_reply(reply, with_body=outgoing.scope["method"] != "HEAD")
        finally:
            outgoing.seconds = time.perf_counter() - started
            self._container.access_log.write(outgoing)
            observers.request_ended(outgoing, begun)


def set_ids(request_id: str) -> tuple[Token[str], Token[str]]:
    """Let everything that the current task logs carry the ids of its request."""
    return trace_id.set(request_id), span_id.set(new_span_id())
