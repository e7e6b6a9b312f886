"""Where spans go: what TRACE_EXPORTER, TRACER_URL and TRACER_HEADERS say, if it can work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from .._requests.headers import raw_headers
from ..config import Settings

_PATHS = {"otlp": "/v1/traces", "zipkin": "/api/v2/spans"}
_GRPC_EXPORTERS = ("gofr", "jaeger")
_GRPC_PORT = 4317
_USE_HTTP = "spans are sent over HTTP: set TRACE_EXPORTER=otlp and the port to 4318"


class TargetError(ValueError):
    """Raised when spans cannot be sent; names the variable, never its value, which may hold a secret."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(problem)
        self.variable = variable


class MissingTargetError(TargetError):
    """Raised when a variable is missing beside others that are set: nothing is wrong with these."""


@dataclass(frozen=True, slots=True)
class TraceTarget:
    """Hold an exporter's kind and address; `place` is the address as it may be logged."""

    exporter: str
    endpoint: str = field(repr=False)
    place: str
    headers: Mapping[str, str] = field(repr=False)


def trace_target(settings: Settings) -> TraceTarget | None:
    """Return where spans go, None where nobody asked for them; TargetError for what cannot work."""
    if not (settings.trace_exporter or settings.tracer_url or settings.tracer_headers):
        return None
    exporter = _exporter(settings.trace_exporter)
    url = _url(settings.tracer_url)
    if url.path in ("", "/"):
        url = url._replace(path=_PATHS[exporter])
    place = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    return TraceTarget(exporter, url.geturl(), place, _headers(settings.tracer_headers or ""))


def _exporter(text: str | None) -> str:
    if not text:
        raise MissingTargetError("TRACE_EXPORTER", "missing: set it to otlp or zipkin")
    exporter = text.lower()
    if exporter in _GRPC_EXPORTERS:
        raise TargetError("TRACE_EXPORTER", f"{exporter} is not supported: {_USE_HTTP}")
    if exporter not in _PATHS:
        raise TargetError("TRACE_EXPORTER", "expected otlp or zipkin")
    return exporter


def _url(text: str | None) -> SplitResult:
    if not text:
        raise MissingTargetError(
            "TRACER_URL", "missing: set it to where spans are sent, such as http://localhost:4318"
        )
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        port = url.port
    except ValueError:
        raise TargetError("TRACER_URL", "expected a URL such as http://localhost:4318") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise TargetError("TRACER_URL", "expected a URL such as http://localhost:4318")
    if port == _GRPC_PORT:
        raise TargetError("TRACER_URL", f"port {_GRPC_PORT} speaks gRPC; {_USE_HTTP}")
    return url


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for position, part in enumerate(text.split(","), start=1):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _can_be_sent(name, value):
            raise TargetError("TRACER_HEADERS", f"expected k=v,k=v; entry {position} is no header")
        headers[name] = value
    return headers


def _can_be_sent(name: str, value: str) -> bool:
    try:
        raw_headers([(name, value)])
    except ValueError:
        return False
    return True
