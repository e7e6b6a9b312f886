"""Spans in OTLP: what was recorded without the SDK is sent as OpenTelemetry's own encoder would send it."""

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from kvik._traces.otlp import EndedSpan, encode_spans

PROVIDER = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
SCOPE = InstrumentationScope("kvik", "")


def _own(number: int = 1, state: TraceState | None = None, **options: Any) -> EndedSpan:
    ids = SpanContext(2**127 + number, number, is_remote=False, trace_flags=TraceFlags(1), trace_state=state)
    options |= {"resource": PROVIDER.resource, "instrumentation_scope": SCOPE}
    return EndedSpan(f"span {number}", ids, start_time=2**60 + number, end_time=2**60 + number + 9, **options)


def _of_sdk(provider: TracerProvider = PROVIDER, scope: str = "kvik") -> ReadableSpan:
    span = provider.get_tracer(scope).start_span("of the SDK", attributes={"a": 1})
    assert isinstance(span, Span)
    span.add_event("seen")
    span.end()
    return span


def _by_origin(request: Any) -> dict[tuple[str, str], list[Any]]:
    """Give the spans by the service and the scope that they say they are of."""
    spans: dict[tuple[str, str], list[Any]] = {}
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            origin = (str(of_resource.resource), str(of_scope.scope))
            spans.setdefault(origin, []).extend(of_scope.spans)
    return {origin: sorted(found, key=lambda span: span.span_id) for origin, found in spans.items()}


def _assert_same(spans: Sequence[ReadableSpan]) -> None:
    sent = encode_spans(spans)
    sent.SerializeToString()
    assert _by_origin(sent) == _by_origin(encode_by_sdk(spans))


@pytest.mark.parametrize(
    "value",
    [
        *("text", "", "häßlich", "\0", "x" * 300, "x" * 20_000, "\ud800"),
        *(0, 1, 128, -1, 2**63 - 1, -(2**63), 2**64),
        *(True, False, 1.0, -0.0, float("inf")),
        *(["a", "b"], [1], b"bytes", {"a": 1}, None),
    ],
)
def test_an_attribute_is_encoded(value: Any) -> None:
    """Whatever an attribute holds, its span says what it would say with the SDK."""
    _assert_same([_own(1), _own(2, attributes={"before": 1, "a": value, "after": "x"}), _own(3)])


def test_equal_values_are_told_apart() -> None:
    """1, 1.0 and True are equal, and no two of them the same attribute."""
    values = (1, True, 1.0, "1", 0, False, 0.0, -0.0)
    spans = [_own(number, attributes={"a": value}) for number, value in enumerate(values, 1)]
    encoded = [
        str(span) for of_scope in encode_spans(spans).resource_spans[0].scope_spans for span in of_scope.spans
    ]
    assert encoded == [str(encode_by_sdk([span]).resource_spans[0].scope_spans[0].spans[0]) for span in spans]


@pytest.mark.parametrize("kind", SpanKind)
def test_a_kind_is_encoded(kind: SpanKind) -> None:
    """Each kind has its number."""
    _assert_same([_own(1), _own(2, kind=kind)])


@pytest.mark.parametrize("is_remote", [True, False])
@pytest.mark.parametrize("state", [TraceState(), TraceState([("vendor", "1"), ("other", "2")])])
def test_a_parent_is_encoded(is_remote: bool, state: TraceState) -> None:  # noqa: FBT001 - a case
    """A span names its parent, whether that is remote, and the state of the trace."""
    parent = SpanContext(2**127, 2**63, is_remote=is_remote, trace_flags=TraceFlags(1), trace_state=state)
    _assert_same([_own(1), _own(2, parent=parent, state=state)])


def test_a_large_batch_is_whole() -> None:
    """However many spans there are, and of whichever kind, each is sent once."""
    own = [_own(number, attributes={"number": number}) for number in range(1, 400)]
    _assert_same([*own[:200], *[_of_sdk() for _ in range(40)], *own[200:]])


def test_spans_stand_under_their_scope_and_resource() -> None:
    """Spans of several tracers and services in one batch stay apart."""
    other = TracerProvider(resource=Resource({"service.name": "other"}), shutdown_on_exit=False)
    _assert_same([_of_sdk(scope="a driver"), _own(1), _of_sdk(other), _own(2), _of_sdk()])


@pytest.mark.parametrize("spans", [[], [_own()], [_of_sdk()]])
def test_few_spans_are_encoded(spans: list[ReadableSpan]) -> None:
    """A batch may be of one kind only, or empty."""
    _assert_same(spans)
