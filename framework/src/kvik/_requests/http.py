"""The outer side of a request: its trace id, its access line, and an answer whatever happens inside."""

import os
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from .._container import Container
from .._logs.log_line import rfc3339
from .._logs.logging import span_id, trace_id
from .correlation import correlation_id
from .cors import CORS
from .dispatch import keep_outgoing
from .failures import failure_of
from .outgoing import Outgoing

_SERVER_ERROR = 500


class RequestPath:
    """Give each request and each WebSocket its trace id, and each request its answer and its access line."""

    def __init__(self, container: Container, inner: ASGIApp) -> None:
        self._container = container
        self._inner = inner
        self._cors = CORS(container.settings, container.logger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        request_id = correlation_id(scope["headers"])
        reset, reset_span = trace_id.set(request_id), span_id.set(os.urandom(8).hex())
        try:
            if scope["type"] == "http":
                await self._answer(scope, receive, Outgoing(send, request_id, self._cors, scope["headers"]))
            else:
                await self._inner(scope, receive, send)
        finally:
            span_id.reset(reset_span)
            trace_id.reset(reset)

    async def _answer(self, scope: Scope, receive: Receive, outgoing: Outgoing) -> None:
        keep_outgoing(scope, outgoing)
        observers = self._container.observers
        begun = observers.request_began(scope, outgoing)
        started = time.perf_counter()
        try:
            await self._inner(scope, receive, outgoing.send)
        except Exception as error:
            if outgoing.error is not error:  # a middleware's, for a handler's has been logged
                outgoing.error = error
                self._container.log_failure(error)
            if outgoing.started:
                raise
            reply = failure_of(error).reply(self._container.settings.error_format)
            await outgoing.send_reply(reply, outgoing.send, with_body=scope["method"] != "HEAD")
        finally:
            outgoing.seconds = time.perf_counter() - started
            self._log_access(scope, outgoing)
            observers.request_ended(scope, outgoing, begun)

    def _log_access(self, scope: Scope, outgoing: Outgoing) -> None:
        path = scope["path"]
        if self._container.settings.log_disable_probes and path.startswith("/.well-known/"):
            return
        client = scope.get("client")
        log = self._container.logger.error if outgoing.status >= _SERVER_ERROR else self._container.logger.info
        log(
            "request",
            start_time=rfc3339(time.time() - outgoing.seconds),
            response_time=int(outgoing.seconds * 1_000_000),
            method=scope["method"],
            user_agent=next((v.decode("latin-1") for n, v in scope["headers"] if n == b"user-agent"), ""),
            ip=client[0] if client else "",
            uri=path,
            response=outgoing.status,
        )
