"""Spans: one for each request, one for each operation of a store, and those that a handler begins itself.

The names are those of OpenTelemetry's stable conventions for HTTP and databases. No query string, no key, no value
and no exception's text stands in one.
"""

from contextvars import Token
from types import TracebackType
from typing import NamedTuple

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.util.types import Attributes
from starlette.types import Scope

from .._observers import EndedBy, Operation
from .._requests.failures import failure_of
from .._requests.outgoing import CLIENT_CLOSED_REQUEST, Outgoing
from ..kv_errors import KVError
from .own_span import OwnSpan, OwnTracer
from .span_errors import class_name, mark_error
from .span_parent import parent_of

_SERVER_ERROR = 500
_BAD_REQUEST = 400
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_UNTRACED_OPERATIONS = frozenset({"connect", "close"})  # the app's own, which belong to no request
_PROBES = "/.well-known/"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Begun(NamedTuple):
    """Hold a span that is current, and how to make the one before current again."""

    span: Span
    token: Token[Context]

    def end(self) -> None:
        self.span.end()
        context.detach(self.token)


class Spans:
    """Be the observer that makes spans, for as long as there is a tracer."""

    def __init__(self, *, of_probes: bool) -> None:
        self.tracer: OwnTracer | None = None
        self._of_probes = of_probes

    def request_began(self, outgoing: Outgoing) -> _Begun | None:
        """Begin the request's span, under the client's if it sent one, and make it current."""
        if self.tracer is None:
            return None
        scope = outgoing.scope
        parent = parent_of(scope["headers"], outgoing.headers)
        if not self._of_probes and scope["path"].startswith(_PROBES):
            span = self.tracer.leave_out(parent)
        else:
            span = self.tracer.start(_method(scope["method"]), SpanKind.SERVER, within=parent)
        if isinstance(span, OwnSpan):
            span.describe(_request_attributes(scope))
        return _Begun(span, context.attach(trace.set_span_in_context(span, parent)))

    def request_ended(self, outgoing: Outgoing, begun: _Begun | None) -> None:
        """Name the request's span by its route and end it."""
        if begun is None:
            return
        if isinstance(begun.span, OwnSpan):
            _add_answer(begun.span, outgoing)
        begun.end()

    def operation_began(self, operation: Operation) -> _Begun | None:
        """Begin the operation's span and make it current, so that the driver's own spans stand below it."""
        if self.tracer is None or operation.name in _UNTRACED_OPERATIONS or _is_left_out():
            return None
        attributes = {**operation.trace_attributes, "db.operation.name": operation.name}
        collection = attributes.get("db.collection.name")
        name = f"{operation.name} {collection}" if collection else operation.name
        span = self.tracer.start(name, SpanKind.CLIENT, attributes)
        return _Begun(span, context.attach(trace.set_span_in_context(span)))

    def operation_ended(self, _: Operation, error: EndedBy, __: float, begun: _Begun | None) -> None:
        """End the operation's span, with its error if it has one."""
        if begun is None:
            return
        if isinstance(error, KVError):
            mark_error(begun.span, error.code, error.__cause__ or error)
        begun.end()


class ChildSpan:
    """Be one span of a user's, for the length of a `with`."""

    __slots__ = ("_attributes", "_begun", "_name", "_tracer")

    def __init__(self, tracer: Tracer, name: str, attributes: Attributes) -> None:
        self._tracer = tracer
        self._name = text(name)
        self._attributes = attributes

    def __enter__(self) -> Span:
        span = self._tracer.start_span(self._name, attributes=self._attributes)
        self._begun = _Begun(span, context.attach(trace.set_span_in_context(span)))
        return span

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and failure_of(error).status >= _SERVER_ERROR:
            mark_error(self._begun.span, class_name(error), error)
        self._begun.end()


def text(sent: str) -> str:
    """Give text that the exporters can encode: one lone surrogate would lose them the whole batch."""
    return sent if sent.isascii() else sent.encode("utf-8", "backslashreplace").decode()


def _is_left_out() -> bool:
    """Tell whether the trace of the current request is not recorded: nothing below it need be made."""
    current = trace.get_current_span().get_span_context()
    return current.is_valid and not current.trace_flags.sampled


def _method(method: str) -> str:
    return method if method in _METHODS else "HTTP"  # the conventions: any client could make up names


def _request_attributes(scope: Scope) -> dict[str, str | int]:
    """Describe the request; the query is left out, for it may hold anything."""
    method, scheme = scope["method"], scope.get("scheme", "http")
    attributes: dict[str, str | int] = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "url.path": text(scope["path"]),
        "url.scheme": scheme,
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    host = agent = ""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"user-agent":
            agent = value.decode("latin-1")
    if host:
        attributes["server.address"], attributes["server.port"] = _host_and_port(host, scheme)
    if agent:
        attributes["user_agent.original"] = agent
    client = scope.get("client")
    if client:
        attributes["client.address"] = client[0]
    return attributes


def _host_and_port(host: str, scheme: str) -> tuple[str, int]:
    """Split a Host header; where it names no port, the scheme does."""
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) < len("123456"):
        return name, int(port)
    return host, _DEFAULT_PORTS.get(scheme, 80)


def _add_answer(span: OwnSpan, outgoing: Outgoing) -> None:
    status, route = outgoing.status, outgoing.match.route
    path = route.path if route is not None else ""
    attributes: dict[str, str | int] = {"http.route": path} if path else {}
    if status == CLIENT_CLOSED_REQUEST:  # nothing was sent; nobody here failed
        attributes["error.type"] = str(status)
    else:
        attributes["http.response.status_code"] = status
    span.describe(attributes, f"{_method(outgoing.method)} {path}" if path else "")
    error = outgoing.error
    broke_off = error is not None and status < _BAD_REQUEST  # the answer was on its way by then
    if status >= _SERVER_ERROR or broke_off:
        mark_error(span, str(status) if error is None else class_name(error), error)
