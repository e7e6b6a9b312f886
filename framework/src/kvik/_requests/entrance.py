"""The way into an app: the middleware around all routes, and behind it requests and WebSockets."""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .._container import Container
from .built_in import add_probes, favicon_route
from .cors import CORS, decides_cors
from .dispatch import Dispatch
from .http import RequestPath
from .routing import Router
from .websocket import WebSockets


class Entrance:
    """Make the one path of all requests of an app, when all of its middleware is known: with the first of them.

    The app is `wrapped` where a class of a user's stands before it.
    """

    def __init__(self, container: Container, http: Router, websockets: Router, *, wrapped: bool) -> None:
        self._container = container
        add_probes(http, container)
        self._dispatch = Dispatch(container, http, favicon_route())
        self._websockets = WebSockets(container, websockets)
        self._wrapped = wrapped
        self._middleware: list[Middleware] = []
        self._decides_cors = False
        self._path: RequestPath | None = None
        container.cors_of_refusal = lambda headers, scope: self.path().cors_of_refusal(headers, scope)

    def add(self, middleware: Middleware) -> None:
        """Put a middleware around all others; RuntimeError once the app serves."""
        if self._path is not None:
            raise RuntimeError("middleware is added before the app starts")
        self._middleware.insert(0, middleware)

    def path(self) -> RequestPath:
        """Return the path, which does not change from now on.

        Raises RuntimeError for an app with an invalid configuration, which a server without a lifespan lets in.
        """
        if self._path is None:
            if self._container.bad_settings:
                names = ", ".join(bad.name for bad in self._container.bad_settings)
                raise RuntimeError(f"the app cannot start: its configuration is invalid: {names}")
            inside = self._inside_middleware() if self._middleware else None
            self._path = RequestPath(
                self._container,
                self._dispatch,
                self._websockets,
                middleware=inside,
                cors=CORS(self._container.settings, decided=self._decides_cors),
                wrapped=self._wrapped,
            )
        return self._path

    def _inside_middleware(self) -> ASGIApp:
        async def routes(scope: Scope, receive: Receive, send: Send) -> None:
            await (self._websockets if scope["type"] == "websocket" else self._dispatch)(scope, receive, send)

        app: ASGIApp = routes
        for middleware in reversed(self._middleware):
            app = middleware.cls(app, *middleware.args, **middleware.kwargs)
            self._decides_cors |= decides_cors(middleware.cls) or decides_cors(
                type(app)
            )  # what a function has made
        return app
