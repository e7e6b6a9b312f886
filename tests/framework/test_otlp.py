"""Spans in OTLP's protobuf: what is encoded here says what OpenTelemetry's own encoder would say."""

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_sdk
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from kvik._traces import otlp
from kvik._traces.otlp import EndedSpan, SharedAttributes, encode_spans

PROVIDER = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)


def _span(name: str = "a span", tracer: str = "tests", **options: Any) -> Span:
    span = PROVIDER.get_tracer(tracer, "1.2").start_span(name, **options)
    assert isinstance(span, Span)
    return span


def _parsed(encoded: bytes) -> dict[tuple[str, str], list[Any]]:
    """Give the spans by the service and the scope that they say they are of."""
    spans: dict[tuple[str, str], list[Any]] = {}
    for of_resource in ExportTraceServiceRequest.FromString(encoded).resource_spans:
        for of_scope in of_resource.scope_spans:
            origin = (str(of_resource.resource), str(of_scope.scope))
            spans.setdefault(origin, []).extend(of_scope.spans)
    return {origin: sorted(found, key=lambda span: span.span_id) for origin, found in spans.items()}


def _assert_same(spans: Sequence[ReadableSpan]) -> None:
    assert _parsed(encode_spans(spans)) == _parsed(encode_by_sdk(spans).SerializePartialToString())


def _is_plain(span: ReadableSpan, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether the span is encoded without OpenTelemetry's encoder, but for its resource and scope."""
    monkeypatch.setattr(otlp, "_request", lambda *_: b"plain")
    return encode_spans([span]) == b"plain"


@pytest.mark.parametrize(
    "value",
    [
        *("text", "", "häßlich", "\0", "x" * 127, "x" * 128, "x" * 300, "x" * 20_000),
        *(0, 1, 127, 128, -1, 2**63 - 1, -(2**63)),
        *(True, False, 1.0, 0.0, -0.0, 1e300, float("inf")),
    ],
)
def test_a_plain_attribute_is_encoded(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text of any length, numbers and booleans are sent as OpenTelemetry sends them, and need no encoder of it."""
    span = _span(attributes={"before": 1, "a": value, "after": "x"})
    span.end()
    _assert_same([span])
    assert _is_plain(span, monkeypatch)


def test_what_is_kept_encoded_is_told_apart() -> None:
    """1, 1.0 and True are equal, and no two of them the same attribute."""
    spans = [_span(attributes={"a": value}) for value in (1, True, 1.0, "1", 0, False, 0.0, -0.0)]
    for span in spans:
        span.end()
    _assert_same(spans)


@pytest.mark.parametrize("value", [["a", "b"], [1], b"bytes", "\ud800", 2**64, {"a": 1}, None])
def test_a_rare_attribute_is_opentelemetrys_to_encode(value: Any) -> None:
    """Whatever else an attribute holds, its span says what it would say without us."""
    span, plain = _span(attributes={"a": value, "b": 1}), _span()
    for one in (span, plain):
        one.end()
    _assert_same([plain, span, plain])


@pytest.mark.parametrize("kind", SpanKind)
@pytest.mark.parametrize("status", StatusCode)
def test_kinds_and_statuses_are_encoded(kind: SpanKind, status: StatusCode) -> None:
    """Each kind and each status has its number."""
    span = _span(kind=kind)
    span.set_status(status)
    span.end()
    _assert_same([span])


@pytest.mark.parametrize("is_remote", [True, False])
@pytest.mark.parametrize("state", [TraceState(), TraceState([("vendor", "1")])])
def test_a_parent_is_encoded(is_remote: bool, state: TraceState) -> None:  # noqa: FBT001 - a case
    """A span names its parent, whether that is remote, and the state of the trace."""
    parent = SpanContext(2**127, 2**63, is_remote=is_remote, trace_flags=TraceFlags(1), trace_state=state)
    span = _span(context=set_span_in_context(NonRecordingSpan(parent)))
    span.end()
    _assert_same([span])


def test_events_links_and_descriptions_are_encoded() -> None:
    """What only some spans have is not lost."""
    spans = [_span(), _span(links=[Link(SpanContext(1, 2, is_remote=True))]), _span()]
    spans[0].add_event("seen", {"a": 1})
    spans[2].set_status(Status(StatusCode.ERROR, "because"))
    for span in spans:
        span.end()
    _assert_same(spans)


def test_a_large_batch_is_whole() -> None:
    """However many spans there are, and of whichever kind, each is sent once."""
    spans = [_span(f"span {number}") for number in range(400)]
    for span in spans[::10]:
        span.add_event("seen")
    for span in spans:
        span.end()
    _assert_same(spans)


def test_spans_stand_under_their_scope_and_resource() -> None:
    """Spans of several tracers and services in one batch stay apart."""
    spans: list[ReadableSpan] = [_span(f"span {n}", tracer=("one", "two")[n % 2]) for n in range(5)]
    other = TracerProvider(resource=Resource({"service.name": "other"}), shutdown_on_exit=False)
    spans.append(other.get_tracer("one").start_span("of another"))  # type: ignore[arg-type] # the SDK's
    for span in spans:
        assert isinstance(span, Span)
        span.end()
    _assert_same(spans)


def test_shared_attributes_stand_beside_a_spans_own() -> None:
    """A span recorded without the SDK has all its attributes, for whichever exporter."""
    ids = SpanContext(1, 2, is_remote=False)
    span = EndedSpan("ended", ids, resource=PROVIDER.resource, start_time=1, end_time=2)
    span.shared, span.own = [SharedAttributes(a=1), SharedAttributes(b="two")], {"c": True}
    assert span.attributes == {"a": 1, "b": "two", "c": True}
    _assert_same([span])


def test_no_spans_are_no_bytes() -> None:
    """An empty batch is an empty request."""
    assert encode_spans([]) == b""
