"""Where a request's span hangs: what its traceparent, tracestate and baggage headers say."""

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from .._requests.correlation import Traceparent, find_traceparent
from .._requests.headers import FirstValues, RawHeaders

_BAGGAGE = W3CBaggagePropagator()
_NAMES = frozenset({b"traceparent", b"baggage"})
_NOTHING = Context()


def parent_of(headers: RawHeaders, first: FirstValues) -> Context:
    """Return the OpenTelemetry context that the headers, and their first values, describe; empty if nothing does.

    Never the current context: what called the app may stand in a trace that the correlation id knows nothing of.
    """
    parent = _NOTHING
    if _NAMES.isdisjoint(first):  # as in most requests
        return parent
    traceparent = find_traceparent(first)
    if traceparent is not None:
        parent = trace.set_span_in_context(NonRecordingSpan(_remote(traceparent, headers)), parent)
    baggage = _values(headers, b"baggage")
    return _BAGGAGE.extract({"baggage": ",".join(baggage)}, parent) if baggage else parent


def _remote(traceparent: Traceparent, headers: RawHeaders) -> SpanContext:
    return SpanContext(
        int(traceparent.trace_id, 16),
        int(traceparent.parent_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(traceparent.flags, 16)),
        trace_state=TraceState.from_header(_values(headers, b"tracestate")),
    )


def _values(headers: RawHeaders, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]
