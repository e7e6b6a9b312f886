"""The framework's own spans, of requests and operations: cheap for as long as nobody else has to do with them.

Of most such spans nothing is asked but who they are: by a log line, a span below, a request to another service.
The SDK's span, which can more and costs three times as much, is made when somebody adds to one.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import environ
from time import time_ns
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue

from .otlp import EndedSpan
from .span_ids import given_ids

_HEEDED_BY_THE_SDK = {
    *("OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    *("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    *("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "OTEL_SDK_DISABLED"),
}

_RANDOM: int = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)  # older versions do not know it

_making = threading.Lock()


class OwnProvider(TracerProvider):
    """Know whether all spans must be the SDK's: others process them too, or OTEL_* says what only it heeds."""

    def __init__(self, processor: SpanProcessor, **options: Any) -> None:
        super().__init__(**options)
        super().add_span_processor(processor)
        self.only_sdk = bool(_HEEDED_BY_THE_SDK & environ.keys())

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor."""
        super().add_span_processor(span_processor)
        self.only_sdk = True


class OwnTracer:
    """Begin the framework's own spans.

    `hand_over` is given each that nobody else had to do with, when it has ended.
    """

    def __init__(self, provider: OwnProvider, hand_over: Callable[[ReadableSpan], None]) -> None:
        self.provider = provider
        self.hand_over = hand_over
        self.scope = InstrumentationScope("kvik", "")
        self.of_sdk = provider.get_tracer(self.scope.name)

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue] | None = None,
        within: Context | None = None,
    ) -> Span:
        """Begin a span in a context, or the current one; where its trace is not sampled, it does not record."""
        within = get_current() if within is None else within
        parent: SpanContext | None = trace.get_current_span(within).get_span_context()
        if parent is None or not parent.is_valid:
            parent = None
        own = self._ids(name, kind, parent, within)
        if not own.trace_flags & TraceFlags.SAMPLED:
            return NonRecordingSpan(own)
        span = OwnSpan(self, name, kind, dict(attributes or {}), own, parent, within)
        if self.provider.only_sdk:
            span.make()
        return span

    def leave_out(self, within: Context) -> Span:
        """Begin a span that is not recorded, so that nothing below it is either."""
        parent: SpanContext | None = trace.get_current_span(within).get_span_context()
        ids = self.provider.id_generator
        trace_id = parent.trace_id if parent is not None and parent.is_valid else ids.generate_trace_id()
        return NonRecordingSpan(SpanContext(trace_id, ids.generate_span_id(), is_remote=False))

    def _ids(self, name: str, kind: SpanKind, parent: SpanContext | None, within: Context) -> SpanContext:
        """Give a new span the ids and flags that the SDK would give it."""
        ids = self.provider.id_generator
        trace_id = ids.generate_trace_id() if parent is None else parent.trace_id
        sampling = self.provider.sampler.should_sample(within, trace_id, name, kind)
        flags = _RANDOM if parent is None else parent.trace_flags & _RANDOM
        if sampling.decision is Decision.RECORD_AND_SAMPLE:
            flags |= TraceFlags.SAMPLED
        return SpanContext(
            trace_id,
            ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(flags),
            trace_state=sampling.trace_state,
        )


def _by_the_sdk(method: str) -> Callable[..., Any]:
    """Let the SDK's span do what the framework's cannot."""

    def do(self: "OwnSpan", *args: Any, **options: Any) -> Any:
        return getattr(self.make(), method)(*args, **options)

    return do


@dataclass(eq=False, repr=False)
class OwnSpan(Span):
    """Hold what the framework says of a span, until somebody else does more with it or it ends."""

    _tracer: OwnTracer
    _name: str
    _kind: SpanKind
    _attributes: dict[str, AttributeValue]
    _own: SpanContext
    _parent: SpanContext | None
    _within: Context
    _start_time: int = field(default_factory=time_ns)
    _made: Span | None = None
    _has_ended: bool = False

    def describe(self, attributes: Mapping[str, AttributeValue], name: str = "") -> None:
        """Add the framework's attributes, and give another name."""
        self._name = name or self._name
        if self._made is None:
            self._attributes.update(attributes)
        else:
            self._made.set_attributes(attributes)
            self._made.update_name(self._name)

    def end(self, end_time: int | None = None) -> None:
        """End the span; only the first end counts."""
        if self._made is not None:
            self._made.end(end_time)
        elif not self._has_ended:
            ended = EndedSpan(
                self._name,
                self._own,
                self._parent,
                self._tracer.provider.resource,
                self._attributes,
                kind=self._kind,
                start_time=self._start_time,
                end_time=time_ns() if end_time is None else end_time,
                instrumentation_scope=self._tracer.scope,
            )
            self._tracer.hand_over(ended)
        self._has_ended = True

    def get_span_context(self) -> SpanContext:
        """Give the ids."""
        return self._own

    def is_recording(self) -> bool:
        """Tell whether the span has not ended."""
        return not self._has_ended

    def make(self) -> Span:
        """Make the SDK's span, if that was not done before; what has ended without one takes nothing more."""
        with _making:  # several threads may add to a request's span at once
            if self._made is None and not self._has_ended:
                with given_ids(self._own):
                    self._made = self._tracer.of_sdk.start_span(
                        self._name, self._within, self._kind, self._attributes, start_time=self._start_time
                    )
            return self._made or NonRecordingSpan(self._own)

    set_attributes = _by_the_sdk("set_attributes")
    set_attribute = _by_the_sdk("set_attribute")
    add_event = _by_the_sdk("add_event")
    add_link = _by_the_sdk("add_link")
    update_name = _by_the_sdk("update_name")
    set_status = _by_the_sdk("set_status")
    record_exception = _by_the_sdk("record_exception")

    def __getattr__(self, name: str) -> Any:
        """Give what the SDK's spans tell beyond the API, such as `attributes`, which instrumentations read."""
        return getattr(self.make(), name)
