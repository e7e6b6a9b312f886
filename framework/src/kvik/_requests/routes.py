"""The ways to register what an app serves; the app itself and its groups have them."""

import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from .._threads import is_coroutine_function
from ..context import Context
from .routing import Endpoint, Router

Handler = TypeVar("Handler", bound=Callable[[Context], Any])

WEBSOCKET = "WEBSOCKET"  # stands for a method in the router of WebSockets
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Routes:
    """Register handlers below a prefix, behind middleware."""

    def __init__(
        self, http: Router, websockets: Router, prefix: str = "", middleware: Sequence[Middleware] = ()
    ) -> None:
        self._http_routes = http
        self._websocket_routes = websockets
        self._prefix = prefix
        self._middleware = tuple(middleware)

    def get(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for GET, and HEAD, of a path such as "/users/{id}"; ValueError if it is taken.

        A parameter fills a segment: `{id}` is text, `{id:int}`, `{id:float}` and `{id:uuid}` are converted,
        `{rest:path}` takes the rest of the path. A static segment goes before a parameter, whatever the order.
        """
        return self._decorator(path, ("GET",))

    def post(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for POST of a path; ValueError if it is taken."""
        return self._decorator(path, ("POST",))

    def put(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for PUT of a path; ValueError if it is taken."""
        return self._decorator(path, ("PUT",))

    def patch(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for PATCH of a path; ValueError if it is taken."""
        return self._decorator(path, ("PATCH",))

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for DELETE of a path; ValueError if it is taken."""
        return self._decorator(path, ("DELETE",))

    def route(self, path: str, methods: Iterable[str]) -> Callable[[Handler], Handler]:
        """Register a handler for several methods of a path; ValueError if one is taken or unknown."""
        names = tuple(method.upper() for method in methods)
        unknown = [name for name in names if name not in METHODS]
        if unknown or not names:
            raise ValueError(f"methods are some of {', '.join(METHODS)}, not {', '.join(unknown) or 'none'}")
        return self._decorator(path, names)

    def websocket(self, path: str) -> Callable[[Handler], Handler]:
        """Register an `async def` handler for WebSockets on a path; its connection is `ctx.websocket`.

        The middleware of groups does not stand around it. Raises TypeError for a plain `def`.
        """
        return self._decorator(path, (WEBSOCKET,))

    def mount(self, path: str, app: ASGIApp) -> None:
        """Hand every request below a path, whatever its method, to another ASGI application."""
        endpoint = Endpoint(app, self._middleware, mounted_at=self._full(path).rstrip("/"))
        for router in (self._http_routes, self._websocket_routes):
            router.add("*", self._full(path), endpoint)
            router.add("*", self._full(path).rstrip("/") + "/{mounted:path}", endpoint)

    def add_static_files(self, path: str, folder: str | os.PathLike[str]) -> None:
        """Serve the files of a folder below a path, with ETag and Range; ValueError if there is no such folder."""
        if not os.path.isdir(folder):  # noqa: PTH112 - PathLike as it comes
            raise ValueError(f"there is no folder {os.fspath(folder)!r} to serve below {path!r}")
        from starlette.staticfiles import StaticFiles  # noqa: PLC0415 - most apps serve none

        self.mount(path, StaticFiles(directory=folder))

    def group(self, prefix: str, middleware: Sequence[Middleware] = ()) -> "Routes":
        """Give a group: its routes have this prefix, and this middleware around them, the first outermost.

        `middleware` are Starlette's `Middleware(cls, **options)`, of any ASGI middleware class.
        """
        return Routes(
            self._http_routes, self._websocket_routes, self._full(prefix), (*self._middleware, *middleware)
        )

    def _full(self, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError(f"a path starts with a slash: {path!r}")
        return self._prefix.rstrip("/") + path

    def _decorator(self, path: str, methods: tuple[str, ...]) -> Callable[[Handler], Handler]:
        if not isinstance(path, str):
            raise TypeError('a route needs its path: @app.get("/path"), with the parentheses')
        router = self._websocket_routes if methods == (WEBSOCKET,) else self._http_routes

        def register(handler: Handler) -> Handler:
            check_takes_context(handler)
            if methods == (WEBSOCKET,) and not is_coroutine_function(handler):
                raise TypeError("the handler of a WebSocket is async def")
            endpoint = Endpoint(handler, self._middleware)
            for method in methods:
                router.add(method, self._full(path), endpoint)
            return handler

        return register


def check_takes_context(function: Callable[..., Any]) -> None:
    """Raise TypeError if the function cannot be called with one Context."""
    if not callable(function):
        raise TypeError(f"a handler is a function of one Context, not {type(function).__name__}")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        name = getattr(function, "__qualname__", function)
        raise TypeError(f"{name} must take one argument, the Context") from None
