"""The one argument of every handler: the request, and what the app gives to work on it."""

import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser

from ._binding.binding import bind_body, bind_query
from ._binding.body import Body
from ._requests.source import Found, NoRequest, Source
from ._stores import DEFAULT
from ._threads import Waits
from .config import Config
from .errors import HTTPError
from .kv import KV
from .metrics import Metrics

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span
    from opentelemetry.util.types import Attributes
    from starlette.websockets import WebSocket
    from structlog.typing import FilteringBoundLogger

    from ._container import Container

T = TypeVar("T")

_making_waits = threading.Lock()


class Context:
    """Give a handler its request, the stores, the logger and the configuration.

    Start and stop hooks get one too, without a request: its parameters, headers and body are empty.
    """

    __slots__ = (
        "_background",
        "_body",
        "_container",
        "_found",
        "_headers",
        "_query",
        "_source",
        "_waits",
        "_websocket",
    )

    def __init__(
        self, container: "Container", source: Source, found: Found, websocket: "WebSocket | None" = None
    ) -> None:
        self._container = container
        self._source = source
        self._found = found
        self._websocket = websocket
        self._waits: Waits | None = None  # made for a handler that waits, or may
        self._background: tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...] | None = ()
        self._headers: Headers | None = None
        self._query: list[tuple[str, str]] | None = None
        self._body: Body | None = None

    @classmethod
    def _without_request(cls, container: "Container") -> Self:
        """Make the Context of a hook."""
        nothing = NoRequest()
        context = cls(container, nothing, nothing)
        context._start_background()
        return context

    # The request

    @property
    def method(self) -> str:
        """Give the request's method, such as "GET"."""
        return self._source.method

    @property
    def path(self) -> str:
        """Give the request's path, percent-decoded, without the query."""
        return self._source.path

    @property
    def correlation_id(self) -> str:
        """Give the request's trace id, which its log lines and its answer carry; "" in a hook."""
        return self._found.correlation_id

    @property
    def host_name(self) -> str:
        """Give the Host header: where the client wanted to go."""
        return self.header("host")

    @property
    def client_ip(self) -> str:
        """Give the client's address, "" where the server does not know it."""
        return self._source.ip

    @property
    def headers(self) -> Headers:
        """Give the request's headers; names are case-insensitive."""
        if self._headers is None:
            self._headers = Headers(raw=self._source.scope["headers"])
        return self._headers

    @property
    def cookies(self) -> dict[str, str]:
        """Give the request's cookies."""
        return cookie_parser(self.header("cookie"))

    @property
    def request(self) -> Request:
        """Give the request as Starlette's Request, for what this class has no word for."""
        return Request(self._source.scope, self._source if self._body is None else self._body.receive)

    def header(self, name: str) -> str:
        """Return a header of the request, "" if it was not sent."""
        return self._source.headers.get(name.lower().encode("latin-1", "replace"), b"").decode("latin-1")

    def path_param(self, name: str) -> Any:
        """Return a parameter of the route's path: text, or what its convertor makes (`{id:int}`).

        Raises LookupError if the route has no parameter of that name.
        """
        match = self._found.match
        try:
            return match.values[match.parameters.index(name)]
        except ValueError:
            raise LookupError(
                f"the route has no path parameter {name!r}; it has {', '.join(match.parameters) or 'none'}"
            ) from None

    def param(self, name: str) -> str:
        """Return the first value of a query parameter, "" if it was not sent."""
        return next((value for key, value in self._parsed_query() if key == name), "")

    def params(self, name: str) -> list[str]:
        """Return all values of a query parameter, also those joined by commas; [] if it was not sent."""
        return [part for key, value in self._parsed_query() if key == name for part in value.split(",")]

    async def body(self) -> bytes:
        """Read the whole body; 413 if it is larger than MAX_BODY_SIZE."""
        return await self._the_body().read()

    @overload
    async def bind(self) -> Any: ...
    @overload
    async def bind(self, kind: type[T]) -> T: ...
    async def bind(self, kind: Any = Any) -> Any:
        """Convert the body into `kind`: dataclass, msgspec.Struct, TypedDict, pydantic model, dict, list of such.

        The body is JSON, or a form (urlencoded or multipart) if `kind` has named fields. In a form a list takes
        all values of its name, anything else the last; "" counts as absent unless the field is a `str`. What
        HTML's inputs send is understood: times without seconds, "on", numbers such as ".5". Where a field has no
        default, a checkbox that was not sent is False, and an input that was left empty None if it may be. Files
        are fields of type `starlette.datastructures.UploadFile`, on disk if larger than 1 MiB, closed when the
        request ends; their names are what the client says, so never make a path of one.

        Answers 400, naming the field and what was expected, for a body that does not fit; 413 for one larger
        than MAX_BODY_SIZE; 415 for another Content-Type. Raises TypeError if nothing can be bound to `kind`.
        """
        return await bind_body(self._the_body(), self.header("content-type"), kind)

    def bind_query(self, kind: type[T]) -> T:
        """Convert the query's parameters into `kind`, a type with named fields, by the rules for forms of `bind`.

        Answers 400, naming the parameter and what was expected, for a query that does not fit. Raises TypeError
        if nothing can be bound to `kind`.
        """
        bound: T = bind_query(self._parsed_query(), kind)
        return bound

    async def _read_ahead(self) -> None:
        """Read the body before the handler asks for it."""
        await self._the_body().read_ahead()

    def _the_body(self) -> Body:
        if self._body is None:
            limit = self._container.settings.max_body_size
            self._body = Body(self._source, limit, declared=self.header("content-length"))
        return self._body

    def _parsed_query(self) -> list[tuple[str, str]]:
        if self._query is None:
            try:
                text = self._source.scope["query_string"].decode()
                self._query = parse_qsl(text, keep_blank_values=True, errors="strict")
            except UnicodeDecodeError:
                raise HTTPError(400, "query is not valid UTF-8") from None
        return self._query

    # What the app gives

    @property
    def kv_store(self) -> KV:
        """Give the app's key-value store; LookupError, saying how to add one, if it has none."""
        return self._container.stores[DEFAULT]

    @property
    def kv_stores(self) -> Mapping[str, KV]:
        """Give the app's stores by name."""
        return self._container.stores.by_name

    @property
    def logger(self) -> "FilteringBoundLogger":
        """Give the app's structlog logger; its lines carry this request's trace id."""
        return self._container.logger

    @property
    def metrics(self) -> Metrics:
        """Give the program's own metrics, to record values by name."""
        return self._container.metrics

    def trace(self, name: str, attributes: "Attributes" = None) -> "AbstractContextManager[Span]":
        """Begin a span below the current one: `with ctx.trace("render") as span:`, in `async def` and in `def`.

        It ends with the block. An exception that would be answered with 500 or above marks it as failed, by the
        exception's class and where it came from, never its text. Does nothing while tracing is off.
        """
        return self._container.tracing.child(name, attributes)

    @property
    def config(self) -> Config:
        """Give the app's configuration."""
        return self._container.config

    @property
    def websocket(self) -> "WebSocket":
        """Give the connection of a WebSocket's handler, Starlette's; RuntimeError in any other handler."""
        if self._websocket is None:
            raise RuntimeError("there is a WebSocket in the handler of app.websocket(path) only")
        return self._websocket

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Wait in a plain `def` handler for something awaitable, such as `ctx.kv_store.get(key)`.

        Raises RuntimeError in an `async def` handler, which would wait for itself, and CancelledError when the
        request is over before the handler: its time is up, or the app stops.
        """
        return self._the_waits().wait(awaitable)

    def background(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function, `async def` or `def`, after the response is sent, if the handler returns one.

        It starts at once where there is no response to wait for: in a WebSocket's handler, in a hook, and in
        background work itself. It goes on when the client leaves, and at its stop the app waits for it, within
        SHUTDOWN_GRACE_PERIOD. What it raises is logged. Raises RuntimeError when the app has stopped.
        """
        if self._background is None:
            self._container.background.start_from_anywhere(self._source.loop, function, args)
        else:
            self._background += ((function, args),)

    def _start_background(self) -> None:
        """Start what `background` was given, and whatever it will be given at once; called after the response."""
        waiting, self._background = self._background, None
        for function, args in waiting or ():
            self._waits = None  # those of the handler are over
            self._container.background.start(function, args)

    def _close(self) -> None:
        """Close what the request has opened, such as the files of a form; called at the end."""
        if self._body is not None:
            self._body.close()

    def _end_waiting(self) -> None:
        """End what `wait` waits for; called when the handler is done or given up."""
        self._the_waits().end()

    def _the_waits(self) -> Waits:
        with _making_waits:  # by the loop or by a thread
            self._waits = self._waits or Waits(self._source.loop)
            return self._waits
