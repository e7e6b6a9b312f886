"""FastAPI with batteries of Kvik's kind: a JSON access log, Prometheus metrics, and a trace id on every line.

The log is structlog's, set up as its page on performance advises; the metrics are the Prometheus instrumentator's,
ids and spans OpenTelemetry's, which sends them in batches by OTLP over HTTP. With BENCH_SPANS=0 there are no
spans, and the id is made here.
"""

import os
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_fastapi_instrumentator import Instrumentator

from http_server.apps.fastapi_app import app
from under_uvicorn import serve

ASGI = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
_WITH_SPANS = os.environ.get("BENCH_SPANS", "1") == "1"
_log = structlog.get_logger()


class AccessLog:
    """Log one line a request, as an ASGI middleware: Starlette's own kind costs more."""

    def __init__(self, app: ASGI) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id, begun, status = _trace_id(), time.perf_counter(), 500

        async def observed(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-correlation-id", trace_id.encode())]
            await send(message)

        structlog.contextvars.bind_contextvars(trace_id=trace_id)
        try:
            await self._app(scope, receive, observed)
        finally:
            _log.info(
                "request",
                method=scope["method"],
                uri=scope["path"],
                ip=scope["client"][0],
                status=status,
                response_time_us=round(1e6 * (time.perf_counter() - begun)),
            )
            structlog.contextvars.clear_contextvars()


def _trace_id() -> str:
    if not _WITH_SPANS:
        return uuid.uuid4().hex
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


def _encode(line: dict[str, Any], **_: Any) -> bytes:
    return msgspec.json.encode(line)


def main() -> None:
    """Put the batteries in, and serve."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    app.add_middleware(AccessLog)
    Instrumentator().instrument(app)
    if _WITH_SPANS:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        FastAPIInstrumentor.instrument_app(app)
    serve(app)


if __name__ == "__main__":
    main()
