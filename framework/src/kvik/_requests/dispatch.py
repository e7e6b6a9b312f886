"""From a request to what answers it: its route, the middleware of its groups, its handler or application."""

from collections.abc import Awaitable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._anyio import anyio_is_there
from .._container import Container
from ..errors import HTTPError
from .cors import CORS
from .endpoints import Endpoint
from .handling import Handling
from .interruption import ASGIIncoming, Incoming
from .mounting import child_scope, raw_path_of
from .outgoing import Outgoing
from .replies import Reply
from .routing import NO_MATCH, Match, Router, allow

_UNKNOWN_PATH = Match(None, refusal=HTTPError(404, "route not registered"))

_NOT_ALLOWED = 405
_STATE = "kvik.outgoing"  # where a request's Outgoing is found through a user's middleware


def keep_outgoing(scope: Scope, outgoing: Outgoing) -> None:
    """Let everything behind find the request's Outgoing."""
    scope[_STATE] = outgoing


def has_outgoing(scope: Scope) -> bool:
    """Return whether a request has come through an app already, in which another one is mounted."""
    return _STATE in scope


class Dispatch:
    """Find a request's route and have it answered."""

    def __init__(self, container: Container, own: Router, built_in: Router) -> None:
        self._container = container
        self._own = own
        self._built_in = built_in
        self._handling = Handling(container)
        self._no_cors = CORS(container.settings, decided=True)
        self._instances: dict[Middleware, ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request behind a user's middleware; an ASGI application for the scope "http"."""
        outgoing: Outgoing = scope[_STATE]
        await self.answer(outgoing, ASGIIncoming(scope, receive, self._container.client_watch), send)

    def find(self, method: str, raw_path: bytes) -> Match:
        """Find the route, or the refusal 404, 405 or 400."""
        try:
            match = self._own.find(method, raw_path)
            if match.route is not None:
                return match
            built_in = self._built_in.find(method, raw_path)
        except HTTPError as error:
            return Match(None, refusal=error)
        if match is NO_MATCH and built_in is NO_MATCH and method != "OPTIONS":
            return _UNKNOWN_PATH
        methods = match.methods | built_in.methods
        if built_in.route is not None:
            return Match(built_in.route, built_in.values, methods)
        return Match(None, (), methods, _refusal(method, methods))

    def answer(self, outgoing: Outgoing, incoming: Incoming, send: Send | None = None) -> Awaitable[None]:
        """Answer one request, with its error if need be, through the `send` of a middleware if one is given."""
        if outgoing.match is NO_MATCH:
            outgoing.match = self.find(incoming.method, raw_path_of(incoming.scope))
        route = outgoing.match.route
        if route is None:
            refusal = outgoing.match.refusal
            if refusal is not None:
                return self._handling.refuse(refusal, outgoing, incoming, send)
            return self._answer_options(outgoing, send)
        if route.endpoint.is_plain:
            return self._handling.answer(route.endpoint, outgoing, incoming, send)
        return self._enter_groups(route.endpoint, outgoing, incoming, send)

    async def _answer_options(self, outgoing: Outgoing, send: Send | None) -> None:
        """Tell which methods a path has."""
        headers = [(b"allow", outgoing.match.allow.encode())]
        await outgoing.send_reply(Reply(200, b"", headers), send, with_body=False)

    async def _enter_groups(
        self, endpoint: Endpoint, outgoing: Outgoing, incoming: Incoming, send: Send | None
    ) -> None:
        """Go through the middleware of the groups, to a handler or a mounted application."""
        scope = incoming.scope
        keep_outgoing(scope, outgoing)
        if endpoint.decides_cors:
            outgoing.cors = self._no_cors
        try:
            await self._enter(endpoint, scope, incoming.receive, send or outgoing.send, position=0)
        except HTTPException as error:  # how Starlette's applications refuse, mounted ones such as static files
            await self._handling.refuse(error, outgoing, incoming, send)

    async def _enter(
        self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send, *, position: int
    ) -> None:
        """Go on through the middleware from a position on."""
        if position < len(endpoint.middleware):
            await self._instance(endpoint.middleware[position])(scope, receive, send)
        elif endpoint.is_mounted:
            await anyio_is_there()  # most mounted applications are Starlette's
            child = child_scope(scope, scope[_STATE].match)
            if scope["method"] == "OPTIONS":
                await self._ask_for_options(endpoint.target.app, child, receive, send)
            else:
                await endpoint.target.app(child, receive, send)
        elif endpoint.target is None:
            await self._answer_options(scope[_STATE], send)
        else:
            incoming = ASGIIncoming(scope, receive, self._container.client_watch)
            await self._handling.answer(endpoint, scope[_STATE], incoming, send)

    async def _ask_for_options(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a mounted application answer OPTIONS; where it does not know the method, answer for it."""
        outgoing: Outgoing = scope[_STATE]
        allow: str | None = None

        async def unless_refused(message: Message) -> None:
            nonlocal allow
            if message["type"] == "http.response.start" and message["status"] == _NOT_ALLOWED:
                allow = Headers(raw=message["headers"]).get("allow", "")
            if allow is None:
                await send(message)

        try:
            await app(scope, receive, unless_refused)
        except HTTPException as error:
            if error.status_code != _NOT_ALLOWED:
                raise
            allow = Headers(error.headers).get("allow", "")
        if allow is not None:
            methods = frozenset(name.strip().upper() for name in allow.split(",") if name.strip())
            outgoing.match = Match(outgoing.match.route, outgoing.match.values, methods or outgoing.match.methods)
            await self._answer_options(outgoing, send)

    def _instance(self, middleware: Middleware) -> ASGIApp:
        """Give the one instance of a group's middleware: it may count or limit what all routes of the group do."""
        if middleware not in self._instances:

            async def behind(scope: Scope, receive: Receive, send: Send) -> None:
                outgoing: Outgoing = scope[_STATE]
                route = outgoing.match.route
                assert route is not None  # noqa: S101 - only a route's middleware is entered
                position = route.endpoint.middleware.index(middleware) + 1
                await self._enter(route.endpoint, scope, receive, send, position=position)

            self._instances[middleware] = middleware.cls(behind, *middleware.args, **middleware.kwargs)
        return self._instances[middleware]


def _refusal(method: str, methods: frozenset[str]) -> HTTPError | None:
    if method == "OPTIONS":
        return None
    return HTTPError(405, "method not allowed", headers={"Allow": allow(methods)})
