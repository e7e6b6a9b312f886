"""The framework's own spans, of requests and operations: cheap for as long as nobody else has to do with them.

Of most such spans nothing is asked but who they are: by a log line, a span below, a request to another service.
The SDK's span, which can more and costs more, is made when somebody sets an attribute, adds an event, or the like.
"""

import threading
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

from .otlp import EndedSpan, SharedAttributes, merged
from .span_ids import given_ids

_RANDOM: int = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)  # older versions do not know it
_FLAGS = [TraceFlags(bits) for bits in range(4)]

_making = threading.Lock()


class OwnTracer:
    """Begin the framework's own spans.

    `hand_over` is given each that nobody else had to do with, when it has ended. While `only_sdk` says so, each is
    the SDK's from its begin.
    """

    def __init__(
        self,
        provider: TracerProvider,
        sampler: TraceIdRatioBased,
        hand_over: Callable[[ReadableSpan], None],
        only_sdk: Callable[[], bool],
    ) -> None:
        self.provider = provider
        self._sampler = sampler
        self.scope = InstrumentationScope("kvik", "")
        self.of_sdk = provider.get_tracer(self.scope.name)
        self.hand_over = hand_over
        self._only_sdk = only_sdk

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue] | None = None,
        within: Context | None = None,
    ) -> Span:
        """Begin a span in a context, or the current one; where its trace is not sampled, it does not record."""
        if within is None:
            within = get_current()
        parent: SpanContext | None = trace.get_current_span(within).get_span_context()
        if parent is None or not parent.is_valid:
            parent = None
        own = self._ids(parent)
        if not own.trace_flags & TraceFlags.SAMPLED:
            return NonRecordingSpan(own)
        span = OwnSpan(self, name, kind, own=own, parent=parent, within=within)
        if attributes:
            span.describe(attributes)
        if self._only_sdk():
            span.make()
        return span

    def _ids(self, parent: SpanContext | None) -> SpanContext:
        """Give a new span its ids, and decide as ParentBased does whether it is sampled."""
        ids = self.provider.id_generator
        if parent is None:
            trace_id, state = ids.generate_trace_id(), None
            flags = _RANDOM | (trace_id & self._sampler.TRACE_ID_LIMIT < self._sampler.bound)
        else:
            trace_id, state = parent.trace_id, parent.trace_state
            flags = parent.trace_flags & (_RANDOM | TraceFlags.SAMPLED)
        return SpanContext(
            trace_id, ids.generate_span_id(), is_remote=False, trace_flags=_FLAGS[flags], trace_state=state
        )


class OwnSpan(Span):
    """Hold what the framework says of a span, until somebody else does more with it or it ends."""

    def __init__(
        self,
        tracer: OwnTracer,
        name: str,
        kind: SpanKind,
        *,
        own: SpanContext,
        parent: SpanContext | None,
        within: Context,
    ) -> None:
        self._tracer = tracer
        self._own = own
        self._parent = parent
        self._within = within
        self._name = name
        self._kind = kind
        self._shared: list[SharedAttributes] = []
        self._attributes: dict[str, AttributeValue] = {}
        self._start_time = time_ns()
        self._made: Span | None = None
        self._has_ended = False

    # What the framework does

    def describe(self, attributes: Mapping[str, AttributeValue], name: str = "") -> None:
        """Add attributes, and give another name."""
        if self._made is not None:
            self._made.set_attributes(attributes)
            self._made.update_name(name or self._name)
            return
        if isinstance(attributes, SharedAttributes):
            self._shared.append(attributes)
        else:
            self._attributes.update(attributes)
        self._name = name or self._name

    def end(self, end_time: int | None = None) -> None:
        """End the span; only the first end counts."""
        if self._made is not None:
            self._made.end(end_time)
        elif not self._has_ended:
            self._tracer.hand_over(self._ended(time_ns() if end_time is None else end_time))
        self._has_ended = True

    def _ended(self, end_time: int) -> EndedSpan:
        tracer = self._tracer
        ended = EndedSpan(
            self._name,
            self._own,
            self._parent,
            tracer.provider.resource,
            kind=self._kind,
            start_time=self._start_time,
            end_time=end_time,
            instrumentation_scope=tracer.scope,
        )
        ended.shared, ended.own = self._shared, self._attributes
        return ended

    # What costs nothing to know

    def get_span_context(self) -> SpanContext:
        """Give the ids."""
        return self._own

    def is_recording(self) -> bool:
        """Tell whether the span has not ended."""
        return not self._has_ended

    # What only the SDK's span can

    def make(self) -> Span:
        """Make the SDK's span, if that was not done before; what has ended without one takes nothing more."""
        with _making:
            if self._made is None and not self._has_ended:
                with given_ids(self._own):
                    self._made = self._tracer.of_sdk.start_span(
                        self._name,
                        self._within,
                        self._kind,
                        merged(*self._shared, self._attributes),
                        start_time=self._start_time,
                    )
            return self._made or NonRecordingSpan(self._own)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes."""
        self.make().set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self.make().set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Add an event."""
        self.make().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add a link to another span."""
        self.make().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Give another name; a request's is named by its route at the end all the same."""
        self.make().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status."""
        self.make().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002 - as OpenTelemetry has it
    ) -> None:
        """Add an exception as an event."""
        self.make().record_exception(exception, attributes, timestamp, escaped)

    def __getattr__(self, name: str) -> Any:
        """Give what only the SDK's spans tell, such as `attributes`."""
        return getattr(self.make(), name)
