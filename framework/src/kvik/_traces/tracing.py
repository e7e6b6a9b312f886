"""Tracing of an app: off, and next to free, unless the configuration says where spans go."""

import asyncio
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from .._observers import Observers
from .._stores import Stores
from ..config import BadSetting, Settings
from .trace_target import MissingTargetError, TargetError, TraceTarget, trace_target

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span
    from opentelemetry.util.types import Attributes

    from .spans import Spans
    from .trace_export import TraceExport

FLUSH_TIMEOUT = 5.0
"""Seconds that the spans of the last requests have to be sent when the app stops."""


class Tracing:
    """Start and stop the spans of an app.

    Threads and connections begin with `start`, thus in each worker, never before a fork.
    """

    def __init__(
        self, settings: Settings, logger: FilteringBoundLogger, observers: Observers, stores: Stores
    ) -> None:
        self._settings = settings
        self._logger = logger
        self._observers = observers
        self._stores = stores
        self._export: TraceExport | None = None
        self._spans: Spans | None = None
        self.bad_settings: list[BadSetting] = []
        self._target: TraceTarget | None = None
        try:
            self._target = trace_target(settings)
        except MissingTargetError as error:
            logger.error("tracing.off", variable=error.variable, problem=str(error))
        except TargetError as error:
            self.bad_settings.append(BadSetting(error.variable, "…", str(error)))

    def start(self) -> None:
        """Begin to make spans and to send them, if the configuration asks for it and the extra is installed."""
        if self._target is None:
            return
        try:
            from .spans import Spans  # noqa: PLC0415 - imported only by those who trace
            from .trace_export import TraceExport  # noqa: PLC0415 - needs an extra
        except ImportError as error:
            self._logger.error("tracing.not_installed", missing=error.name, install='pip install "kvik[tracing]"')
            return
        if self._export is None or self._spans is None:
            self._export = TraceExport(self._target, self._settings, self._logger)
            self._spans = Spans(of_probes=not self._settings.trace_disable_probes)
            self._observers.add_outermost(self._spans)
            self._stores.offer("use_tracer", self._export.provider.get_tracer("kvik.driver"))
        self._export.open()
        self._spans.tracer = self._export.tracer

    async def stop(self) -> None:
        """Send the last spans, within 5 seconds, and make no more."""
        if self._export is not None and self._spans is not None:
            self._spans.tracer = None
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT):
                    await self._export.close()
            except TimeoutError:
                self._logger.error("traces.flush_timeout", seconds=FLUSH_TIMEOUT)

    def child(self, name: str, attributes: "Attributes") -> "AbstractContextManager[Span]":
        """Return a context manager in which a new span is current; one that does nothing while tracing is off."""
        if self._spans is None or self._spans.tracer is None:
            return _NO_SPAN
        from .spans import ChildSpan  # noqa: PLC0415 - imported by now

        return ChildSpan(self._spans.tracer.of_sdk, name, attributes)


class _NoSpan:
    """Stand for a span that nobody wants."""

    def __enter__(self) -> "Span":
        from opentelemetry.trace import INVALID_SPAN  # noqa: PLC0415 - imported only by those who trace

        return INVALID_SPAN

    def __exit__(self, *_: object) -> None:
        pass


_NO_SPAN: "AbstractContextManager[Span]" = _NoSpan()
