"""OpenTelemetry's SDK as this framework sets it up; the only module that imports it, and only if asked to."""

import asyncio
import contextlib
import gzip
import logging
import threading
import zlib
from collections.abc import Callable, Sequence
from os import environ
from typing import Any

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from structlog.typing import FilteringBoundLogger

from ..config import Settings
from .otlp import encode_spans
from .own_span import OwnProvider, OwnTracer
from .span_ids import SpanIds
from .trace_target import TraceTarget

EXPORT_TIMEOUT = 2
"""Seconds that the collector has to take a batch."""

_SDK_SIZES = {"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"}
_OWN_SIZES = (8192, 2048)
"""Spans that may wait, and that are sent at once: four times the SDK's, which are lost at the pace of ours."""

_COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}

_LOUD_LOGGERS = (
    "opentelemetry.exporter",  # reports each failed attempt; we say it once
    "opentelemetry.baggage",  # reports what a client sent, word for word; so does the next
    "opentelemetry.trace.span",
)


class TraceExport:
    """Own the provider of an app, and while the app runs the thread that sends its spans.

    The provider outlives a stop: OpenTelemetry's global one can be set only once, and an app may start again.
    """

    def __init__(self, target: TraceTarget, settings: Settings, logger: FilteringBoundLogger) -> None:
        self._target = target
        self._logger = logger
        self._gate = _Gate()
        self.provider = OwnProvider(
            self._gate,
            sampler=ParentBasedTraceIdRatio(settings.tracer_ratio),
            resource=Resource.create({"service.name": settings.app_name, "service.version": settings.app_version}),
            shutdown_on_exit=False,
            id_generator=SpanIds(),
        )
        self.tracer = OwnTracer(self.provider, self._gate.on_end)
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # nobody has set one
            trace.set_tracer_provider(self.provider)

    def open(self) -> None:
        """Start to send spans."""
        for name in _LOUD_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        queue, batch = (None, None) if _SDK_SIZES & environ.keys() else _OWN_SIZES
        self._gate.batches = BatchSpanProcessor(
            _Exporter(self._target, self._logger), max_queue_size=queue, max_export_batch_size=batch
        )

    async def close(self) -> None:
        """Send what is left and stop. Where nobody waits for the end any more, the rest is lost."""
        batches, self._gate.batches = self._gate.batches, None
        if batches is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            batches.shutdown()  # type: ignore[no-untyped-call] # the SDK has no types here
            with contextlib.suppress(RuntimeError):  # the loop is closed: this took too long
                loop.call_soon_threadsafe(done.set)

        # A daemon: not even the interpreter's end waits for it.
        threading.Thread(target=flush, name="kvik-trace-flush", daemon=True).start()
        await done.wait()


class _Gate(SpanProcessor):
    """Hand ended spans on while somebody sends them."""

    def __init__(self) -> None:
        self.batches: BatchSpanProcessor | None = None

    def on_end(self, span: ReadableSpan) -> None:
        if self.batches is not None:
            self.batches.on_end(span)


class _Session(requests.Session):
    """Remember how the last attempt ended: the exporters log it, and tell nobody else.

    `body`, if there is one, goes instead of what the exporter has encoded, for that takes no encoder but its own.
    """

    outcome = ""
    body: bytes | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if self.body is not None:
            encoding = request.headers.get("Content-Encoding")
            request.prepare_body(_COMPRESS[str(encoding)](self.body) if encoding else self.body, None)
        try:
            response = super().send(request, **options)
        except Exception as error:
            self.outcome = type(error).__name__
            raise
        self.outcome = f"status {response.status_code}"
        return response


class _Exporter(SpanExporter):
    """Send batches; that none arrives is logged once, and once that they do again."""

    def __init__(self, target: TraceTarget, logger: FilteringBoundLogger) -> None:
        self._place = target.place
        self._logger = logger
        self._session = _Session()
        self._session.headers.update(target.headers)
        self._is_otlp = target.exporter == "otlp"
        self._exporter: SpanExporter = (
            OTLPSpanExporter(target.endpoint, timeout=EXPORT_TIMEOUT, session=self._session)
            if self._is_otlp
            else ZipkinExporter(endpoint=target.endpoint, timeout=EXPORT_TIMEOUT, session=self._session)
        )
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            if self._is_otlp:
                self._session.body = encode_spans(spans).SerializePartialToString()
                spans = ()  # the exporter's part is to send, again if need be
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - Zipkin's exporter raises what requests does
            self._session.outcome = type(error).__name__
            result = SpanExportResult.FAILURE
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            self._logger.error("traces.export_failed", place=self._place, reason=self._session.outcome)
        if self._failing and not failing:
            self._logger.info("traces.export_recovered", place=self._place)
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
