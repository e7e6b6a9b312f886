"""From a matched route to its answer: call the handler, and make something to send of what it gives or raises."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response as StarletteResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .._container import Container
from .._kv.deadline import deadline
from .._threads import asynchronous, is_coroutine_function
from ..context import Context
from ..errors import HTTPError
from .failures import partial_error
from .interruption import Incoming, until_client_leaves
from .outgoing import Outgoing
from .replies import reply_to_result
from .routing import Endpoint, Match, Route, Router

_STATE = "kvik.outgoing"  # where a request's Outgoing is found through a user's middleware


def outgoing_of(scope: Scope) -> Outgoing:
    """Give the request's Outgoing, whatever middleware stands between."""
    outgoing: Outgoing = scope[_STATE]
    return outgoing


def keep_outgoing(scope: Scope, outgoing: Outgoing) -> None:
    """Let everything behind find the request's Outgoing."""
    scope[_STATE] = outgoing


class Dispatch:
    """Find a request's route and answer it; an ASGI application for the scope "http"."""

    def __init__(self, container: Container, routers: tuple[Router, ...]) -> None:
        self._container = container
        self._routers = routers
        self._instances: dict[Middleware, ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with its error if need be."""
        try:
            match = self._find(scope)
        except HTTPError as error:
            await self._send_failure(error, scope, send)
            return
        if match is None:  # OPTIONS, for which nobody made a route
            await outgoing_of(scope).send_empty(send)
            return
        outgoing_of(scope).match = match
        try:
            await self._enter(scope, receive, send, position=0)
        except HTTPException as error:  # how Starlette's applications refuse, mounted ones such as static files
            await self._send_failure(error, scope, send)

    def _find(self, scope: Scope) -> Match | None:
        """Find the route; HTTPError 404 or 405 where there is none, None where OPTIONS asks what there is."""
        method, raw_path = scope["method"], raw_path_of(scope)
        outgoing = outgoing_of(scope)
        methods: frozenset[str] = frozenset()
        for router in self._routers:
            match = router.find(method, raw_path)
            methods |= match.methods
            outgoing.allow = _allow(methods)
            if match.route is not None:
                return match
        if method == "OPTIONS":
            return None
        if not methods:
            raise HTTPError(404, "route not registered")
        raise HTTPError(405, "method not allowed", headers={"Allow": outgoing.allow})

    async def _enter(self, scope: Scope, receive: Receive, send: Send, *, position: int) -> None:
        """Go on to the route's endpoint, through the middleware of its groups from a position on."""
        endpoint = _route_of(scope).endpoint
        if position < len(endpoint.middleware):
            await self._instance(endpoint.middleware[position])(scope, receive, send)
        elif endpoint.mounted_at is None:
            await self._handle(endpoint, scope, receive, send)
        else:
            await endpoint.target(child_scope(scope, endpoint.mounted_at), receive, send)

    def _instance(self, middleware: Middleware) -> ASGIApp:
        """Give the one instance of a group's middleware: it may count or limit what all routes of the group do."""
        if middleware not in self._instances:

            async def behind(scope: Scope, receive: Receive, send: Send) -> None:
                position = _route_of(scope).endpoint.middleware.index(middleware) + 1
                await self._enter(scope, receive, send, position=position)

            self._instances[middleware] = middleware.cls(behind, *middleware.args, **middleware.kwargs)
        return self._instances[middleware]

    async def _handle(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        outgoing = outgoing_of(scope)
        incoming = Incoming(scope, receive)
        context = Context(
            self._container,
            scope,
            incoming,
            parameters=outgoing.match.parameters,
            correlation_id=outgoing.correlation_id,
        )
        try:
            result = await self._call(endpoint.target, context, incoming)
            reply = await reply_to_result(
                result, scope["method"], message_of=partial_error, stopping=self._container.stopping
            )
            try:
                if isinstance(reply, StarletteResponse):
                    await reply(scope, incoming, send)
                else:
                    await outgoing.send_reply(reply, send, with_body=scope["method"] != "HEAD")
            finally:
                context.start_background()
        except ClientDisconnect:
            self._container.logger.debug("request.client_gone")
        except asyncio.CancelledError:
            if not self._container.cutting_off or outgoing.started:
                raise  # somebody else's cancellation, or too late for an answer
            await self._send_failure(HTTPError(503, "server is shutting down"), scope, send)
        except Exception as error:
            if outgoing.started:
                outgoing.error = error
                self._container.log_failure(error)
                raise  # only closing the connection tells the client
            await self._send_failure(error, scope, send)
        finally:
            await context.close()

    async def _call(self, handler: Callable[..., Any], context: Context, incoming: Incoming) -> Any:
        """Call the handler, within REQUEST_TIMEOUT, for as long as its client is there."""
        seconds = self._container.settings.request_timeout
        if seconds is None:
            return await self._call_unlimited(handler, context, incoming)
        limit = asyncio.timeout(seconds)
        try:
            with deadline(seconds):
                async with limit:
                    return await self._call_unlimited(handler, context, incoming)
        except TimeoutError:
            if limit.expired():
                raise HTTPError(408, "request timed out") from None
            raise

    async def _call_unlimited(self, handler: Callable[..., Any], context: Context, incoming: Incoming) -> Any:
        if is_coroutine_function(handler):
            return await until_client_leaves(handler, context, incoming)
        try:
            return await asynchronous(handler, self._container.handler_threads)(context)
        finally:
            context.end_waiting()

    async def _send_failure(self, error: Exception, scope: Scope, send: Send) -> None:
        outgoing_of(scope).error = error
        reply = self._container.log_failure(error).reply(self._container.settings.error_format)
        await outgoing_of(scope).send_reply(reply, send, with_body=scope["method"] != "HEAD")


def raw_path_of(scope: Scope) -> bytes:
    """Give the path as it was sent, without what the app is mounted under."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    root_path = scope.get("root_path", "").encode()
    return raw_path.removeprefix(root_path) if root_path and raw_path.startswith(root_path + b"/") else raw_path


def child_scope(scope: Scope, path: str) -> Scope:
    """Make the scope of an application mounted at a path: ASGI keeps the path whole, and says what to skip."""
    return {**scope, "root_path": scope.get("root_path", "") + path, "app_root_path": scope.get("root_path", "")}


@lru_cache(maxsize=128)
def _allow(methods: frozenset[str]) -> str:
    head = {"HEAD"} if "GET" in methods else set[str]()
    return ", ".join(sorted({*methods, *head, "OPTIONS"} - {"*"}))


def _route_of(scope: Scope) -> Route:
    route = outgoing_of(scope).match.route
    assert route is not None  # noqa: S101 - a match is kept only when it has a route
    return route
