"""The ways to register what an app serves; the app itself and its groups have them."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from .._mounted import MountedApps
from .._signatures import check_takes_context, name_of, refuse_more
from .._threads import is_coroutine_function
from ..context import Context
from .endpoints import ANY_METHOD, METHODS, MOUNTED_PATH, Endpoint
from .routing import Router

Handler = TypeVar("Handler", bound=Callable[[Context], Any])
P = ParamSpec("P")
R = TypeVar("R")

WEBSOCKET = "WEBSOCKET"  # stands for a method in the router of WebSockets


class RouteTables(NamedTuple):
    """Where an app and all of its groups register: their routes, and the applications mounted in them."""

    http: Router
    websockets: Router
    mounted: MountedApps
    check_not_started: Callable[[str], None]
    """Raises RuntimeError, with a word for what comes too late, once the app has started."""


def _path_alone(method: Callable[Concatenate["Routes", P], R]) -> Callable[Concatenate["Routes", P], R]:
    """Refuse in words what other frameworks take besides the path."""

    @functools.wraps(method)
    def checked(routes: "Routes", path: Any = None, *handlers: Any, **options: Any) -> R:
        if handlers or options:
            refuse_more(method.__name__, handlers, options)
        return method(routes, path)  # type: ignore[call-arg] # a path is all that P stands for

    return checked  # type: ignore[return-value] # likewise


class Routes:
    """Register handlers below a prefix, behind middleware."""

    def __init__(self, tables: RouteTables, prefix: str = "", middleware: Sequence[Middleware] = ()) -> None:
        self._tables = tables
        self._prefix = prefix
        self._middleware = tuple(middleware)

    @_path_alone
    def get(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for GET, and HEAD, of a path such as "/users/{id}"; ValueError if it is taken.

        A parameter fills a segment: `{id}` is text, `{id:int}`, `{id:float}` and `{id:uuid}` are converted,
        `{rest:path}` takes the rest of the path. A static segment goes before a parameter, whatever the order.
        """
        return self._decorator(path, ("GET",))

    @_path_alone
    def post(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for POST of a path; ValueError if it is taken."""
        return self._decorator(path, ("POST",))

    @_path_alone
    def put(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for PUT of a path; ValueError if it is taken."""
        return self._decorator(path, ("PUT",))

    @_path_alone
    def patch(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for PATCH of a path; ValueError if it is taken."""
        return self._decorator(path, ("PATCH",))

    @_path_alone
    def delete(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler for DELETE of a path; ValueError if it is taken."""
        return self._decorator(path, ("DELETE",))

    def route(self, path: str, methods: Iterable[str]) -> Callable[[Handler], Handler]:
        """Register a handler for several methods of a path; ValueError if one is taken or unknown."""
        names = tuple(method.upper() for method in ([methods] if isinstance(methods, str) else methods))
        unknown = [name for name in names if name not in METHODS]
        if unknown or not names:
            raise ValueError(f"methods are some of {', '.join(METHODS)}, not {', '.join(unknown) or 'none'}")
        return self._decorator(path, names)

    @_path_alone
    def websocket(self, path: str) -> Callable[[Handler], Handler]:
        """Register an `async def` handler for WebSockets on a path; its connection is `ctx.websocket`.

        The middleware of groups does not stand around it. Raises TypeError for a plain `def`.
        """
        return self._decorator(path, (WEBSOCKET,))

    def mount(self, path: str, app: ASGIApp) -> None:
        """Hand every request below a path that no route takes, whatever its method, to another ASGI application.

        Its lifespan runs within this app's: it starts after the start hooks and stops before the stop hooks.
        """
        self._mount(path, app, (self._tables.http, self._tables.websockets))

    def add_static_files(self, path: str, folder: str | os.PathLike[str]) -> None:
        """Serve the files of a folder below a path that no route takes; ValueError if there is no such folder.

        A folder is answered with its `index.html`, a path without a file with `404.html`, if they are there.
        ETag, Last-Modified and Range are looked at. What begins with a dot, and all that is below it, is never
        served; nor is what symbolic links lead to outside of the folder.
        """
        if not os.path.isdir(folder):  # noqa: PTH112 - PathLike as it comes
            raise ValueError(f"there is no folder {os.fspath(folder)!r} to serve below {path!r}")
        from .static_files import StaticFiles  # noqa: PLC0415 - most apps serve none

        self._mount(path, StaticFiles(folder), (self._tables.http,), read_only=True)

    def group(self, prefix: str, middleware: Sequence[Middleware] = ()) -> "Routes":
        """Give a group: its routes have this prefix, and this middleware around them, the first outermost.

        Its own path is "": `group("/links").post("")`. `middleware` are Starlette's `Middleware(cls, **options)`,
        of any ASGI middleware class.
        """
        self._tables.check_not_started("a group")
        for own in middleware:
            if not isinstance(own, Middleware):
                raise TypeError(f"a group's middleware is Middleware(cls, **options), not {name_of(own)}")
        full = self._full(prefix) if prefix or self._prefix else ""
        return Routes(self._tables, full, (*self._middleware, *middleware))

    def _full(self, path: str) -> str:
        if not isinstance(path, str):
            raise TypeError(f"a path is text, not {type(path).__name__}")
        if path == "" and self._prefix:
            return self._prefix.rstrip("/") or "/"
        if not path.startswith("/"):
            raise ValueError(f"a path starts with a slash: {path!r}")
        return self._prefix.rstrip("/") + path

    def _mount(self, path: str, app: ASGIApp, routers: Iterable[Router], *, read_only: bool = False) -> None:
        self._tables.check_not_started("a mounted application")
        if not callable(app):
            raise TypeError(f"an ASGI application is called with a scope; {type(app).__name__} cannot be called")
        full = self._full(path).rstrip("/")
        depth = len([segment for segment in full.split("/") if segment])
        mounted = self._tables.mounted.add(app)
        endpoint = Endpoint(mounted, self._middleware, depth=depth, read_only=read_only)
        for router in routers:
            router.add(ANY_METHOD, full or "/", endpoint)
            router.add(ANY_METHOD, f"{full}/{{{MOUNTED_PATH}:path}}", endpoint)

    def _decorator(self, path: str, methods: tuple[str, ...]) -> Callable[[Handler], Handler]:
        if not isinstance(path, str):
            raise TypeError('a route needs its path: @app.get("/path"), with the parentheses')
        is_websocket = methods == (WEBSOCKET,)
        router = self._tables.websockets if is_websocket else self._tables.http

        def register(handler: Handler) -> Handler:
            self._tables.check_not_started("a route")
            full = self._full(path)
            check_takes_context(handler, parameters=re.findall(r"\{(\w+)", full))
            if is_websocket and not is_coroutine_function(handler):
                raise TypeError("the handler of a WebSocket is async def")
            endpoint = Endpoint(handler, self._middleware)
            for method in methods:
                router.add(method, full, endpoint)
            if endpoint.decides_cors and not is_websocket:  # it is to see the questions that browsers ask before
                router.add("OPTIONS", full, Endpoint(None, self._middleware, default=True))
            return handler

        return register
