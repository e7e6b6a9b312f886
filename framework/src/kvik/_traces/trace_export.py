"""OpenTelemetry's SDK as this framework sets it up; the only module that imports it, and only if asked to."""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Sequence
from typing import Any

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from structlog.typing import FilteringBoundLogger

from .._logs.logging import request_ids
from ..config import Settings
from .trace_target import TraceTarget

EXPORT_TIMEOUT = 2
"""Seconds that the collector has to take a batch."""

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
        self.provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(settings.tracer_ratio),
            resource=Resource.create({"service.name": settings.app_name, "service.version": settings.app_version}),
            shutdown_on_exit=False,
            id_generator=_Ids(),
        )
        self.provider.add_span_processor(self._gate)
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # nobody has set one
            trace.set_tracer_provider(self.provider)

    def open(self) -> None:
        """Start to send spans."""
        for name in _LOUD_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._gate.batches = BatchSpanProcessor(_Exporter(self._target, self._logger))

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


class _Ids(RandomIdGenerator):
    """Begin each trace of a request with the request's correlation id, so that logs and traces agree."""

    def generate_trace_id(self) -> int:
        current, _ = request_ids.get()
        return int(current, 16) if current else random.getrandbits(128) or 1


class _Session(requests.Session):
    """Remember how the last attempt ended: the exporters log it, and tell nobody else."""

    outcome = ""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
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
        self._exporter: SpanExporter = (
            OTLPSpanExporter(target.endpoint, timeout=EXPORT_TIMEOUT, session=self._session)
            if target.exporter == "otlp"
            else ZipkinExporter(endpoint=target.endpoint, timeout=EXPORT_TIMEOUT, session=self._session)
        )
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
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
