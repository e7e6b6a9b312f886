"""Spans as OTLP's messages: OpenTelemetry's encoder makes them, but of those that were recorded without the SDK.

Those have no events and no links, and mostly attributes that others have too: as these are kept encoded, one takes
a fifth of the time.
"""

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_sdk
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind

_LONGEST_KEPT = 256
"""Characters of a text that is worth keeping."""

_OWN_IN_A_TURN, _OTHERS_IN_A_TURN = 64, 16
"""Spans that are encoded in about half a millisecond."""

_SHORTEST_SLEEP = 1e-6
"""Seconds, of which the system makes more: none at all would seldom let another thread begin."""

_KINDS = {kind: Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
_LOCAL_PARENT = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE_PARENT = _LOCAL_PARENT | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_UNSET = Status()
_FIELDS = {str: "string_value", int: "int_value", bool: "bool_value"}


class EndedSpan(ReadableSpan):
    """Be a span that was recorded without the SDK."""


def encode_spans(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Make the request that exports these spans."""
    own = [span for span in spans if isinstance(span, EndedSpan)]
    others = [span for span in spans if not isinstance(span, EndedSpan)]
    request = encode_by_sdk(own[:1])  # with their resource and scope, which all of them share
    for some in _in_turns(own[1:], _OWN_IN_A_TURN):
        added = request.resource_spans[0].scope_spans[0].spans
        for span in some:
            _add(added, span)
    for some in _in_turns(others, _OTHERS_IN_A_TURN):
        request.MergeFrom(encode_by_sdk(some))
    return request


def _in_turns(spans: Sequence[ReadableSpan], size: int) -> Iterator[Sequence[ReadableSpan]]:
    """Give some spans after the other, and the event loop a chance in between.

    Whoever waits for the interpreter's lock gets it after 5 ms if it is not given up before.
    """
    for start in range(0, len(spans), size):
        if start:
            time.sleep(_SHORTEST_SLEEP)
        yield spans[start : start + size]


def _add(spans: Any, span: Any) -> None:
    try:
        attributes = b"".join([_attribute(name, value) for name, value in (span.attributes or {}).items()])
    except (KeyError, TypeError, ValueError):  # another type, lone surrogates, an int of more than 64 bits
        spans.extend(encode_by_sdk([span]).resource_spans[0].scope_spans[0].spans)
        return
    own: SpanContext = span.context
    parent: SpanContext | None = span.parent
    spans.add(
        trace_id=own.trace_id.to_bytes(16),
        span_id=own.span_id.to_bytes(8),
        trace_state=own.trace_state.to_header(),
        parent_span_id=parent.span_id.to_bytes(8) if parent else b"",
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.start_time,
        end_time_unix_nano=span.end_time,
        status=_UNSET,
        flags=_REMOTE_PARENT if parent and parent.is_remote else _LOCAL_PARENT,
    ).MergeFromString(attributes)


def _attribute(name: str, value: Any) -> bytes:
    if type(value) is str and len(value) > _LONGEST_KEPT:
        return _new_attribute(name, value)
    return _kept_attribute(name, value)


def _new_attribute(name: str, value: Any) -> bytes:
    """Encode a span that has this attribute alone: as protobuf has it, what several are merged into has all."""
    attribute = KeyValue(key=name, value=AnyValue(**{_FIELDS[type(value)]: value}))
    encoded: bytes = Span(attributes=[attribute]).SerializeToString()
    return encoded


_kept_attribute = lru_cache(maxsize=1024, typed=True)(_new_attribute)  # typed, for 1 is True
