"""Spans as OTLP writes them, in protobuf: plain ones are encoded here, all others by OpenTelemetry's own encoder.

Plain is a span whose attributes are text, numbers and booleans, without events and links, as nearly all are. It is
put together from pieces that were encoded before, in a tenth of the time. The numbers of the fields are those of
opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_sdk
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

_LONGEST_KEPT = 256
"""Characters of a text that is worth keeping encoded."""

_PLAIN_IN_A_TURN, _OTHERS_IN_A_TURN = 128, 16
"""Spans that are encoded in about half a millisecond."""

_SHORTEST_SLEEP = 1e-6
"""Seconds, of which the system makes more: none at all would seldom let another thread begin."""

_KINDS = {kind: bytes((0x30, kind.value + 1)) for kind in SpanKind}
_STATUSES = {
    StatusCode.UNSET: b"\x7a\x00",
    StatusCode.OK: b"\x7a\x02\x18\x01",
    StatusCode.ERROR: b"\x7a\x02\x18\x02",
}
_LOCAL_PARENT, _REMOTE_PARENT = b"\x85\x01\x00\x01\x00\x00", b"\x85\x01\x00\x03\x00\x00"
"""The flags, which say that a parent's origin is known, and whether that is another process."""

_IDS = Struct(">2s16s2sQ")
_PARENT = Struct(">2sQ")
_TIMES = Struct("<sQsQ")
_DOUBLE = Struct("<sd")
_SEVEN_BITS = 0x7F


class SharedAttributes(dict[str, AttributeValue]):
    """Hold attributes that many spans have, all in one piece; not to be changed."""

    @cached_property
    def encoded(self) -> bytes:
        """Give them as they stand in a span."""
        return _attributes(self)


def merged(*parts: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Put attributes together."""
    return {name: value for part in parts for name, value in part.items()}


class EndedSpan(ReadableSpan):
    """Be a span that was recorded without the SDK: its attributes are its `own`, and some that it shares."""

    shared: Sequence[SharedAttributes] = ()
    own: Mapping[str, AttributeValue] = MappingProxyType({})

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """Give all the attributes."""
        return merged(*self.shared, self.own)

    @property
    def encoded_attributes(self) -> bytes:
        """Give all the attributes as they stand in a span."""
        return b"".join([*[part.encoded for part in self.shared], _attributes(self.own)])


def encode_spans(spans: Sequence[ReadableSpan]) -> bytes:
    """Encode a request of OTLP, an ExportTraceServiceRequest, with these spans."""
    plain: dict[tuple[int, int], tuple[ReadableSpan, list[bytes]]] = {}
    others = []
    for some in _in_turns(spans, _PLAIN_IN_A_TURN):
        for span in some:
            encoded = _plain_span(span)
            if encoded is None:
                others.append(span)
                continue
            origin = id(span.resource), id(span.instrumentation_scope)
            if origin not in plain:
                plain[origin] = span, []
            plain[origin][1].append(encoded)
    requests = [_request(span, encoded) for span, encoded in plain.values()]
    requests += [encode_by_sdk(some).SerializePartialToString() for some in _in_turns(others, _OTHERS_IN_A_TURN)]
    return b"".join(requests)  # one request: messages are merged by joining their bytes


def _in_turns(spans: Sequence[ReadableSpan], size: int) -> Iterator[Sequence[ReadableSpan]]:
    """Give some spans after the other, and the event loop a chance in between.

    Whoever waits for the interpreter's lock gets it after 5 ms if it is not given up before.
    """
    for start in range(0, len(spans), size):
        if start:
            time.sleep(_SHORTEST_SLEEP)
        yield spans[start : start + size]


def _request(span: ReadableSpan, encoded: Iterable[bytes]) -> bytes:
    """Write a request of encoded spans that have the resource and the scope of this one."""
    (resource_spans,) = encode_by_sdk([span]).resource_spans
    (scope_spans,) = resource_spans.scope_spans
    scope_spans.ClearField("spans")
    of_scope = b"".join((scope_spans.SerializeToString(), *encoded))
    resource_spans.ClearField("scope_spans")
    return _field(b"\x0a", resource_spans.SerializeToString() + _field(b"\x12", of_scope))


def _plain_span(span: ReadableSpan) -> bytes | None:
    """Encode a span as a field of its scope, None where it is not plain."""
    context, parent, status = span.context, span.parent, span.status
    if context is None or context.trace_state:
        return None
    if not isinstance(span, EndedSpan) and _has_more(span):
        return None
    try:
        pieces = (
            _IDS.pack(b"\x0a\x10", context.trace_id.to_bytes(16), b"\x12\x08", context.span_id),
            _PARENT.pack(b"\x22\x08", parent.span_id) if parent else b"",
            _kept_text(b"\x2a", span.name),
            _KINDS[span.kind],
            _TIMES.pack(b"\x39", span.start_time, b"\x41", span.end_time),
            span.encoded_attributes if isinstance(span, EndedSpan) else _attributes(span.attributes or {}),
            _STATUSES[status.status_code],
            _flags(parent),
        )
    except (TypeError, ValueError, OverflowError):  # another type, lone surrogates, an int of more than 64 bits
        return None
    return _field(b"\x12", b"".join(pieces))


def _has_more(span: ReadableSpan) -> bool:
    dropped = span.dropped_attributes or span.dropped_events or span.dropped_links
    return bool(span.events or span.links or dropped or span.status.description)


def _flags(parent: SpanContext | None) -> bytes:
    return _REMOTE_PARENT if parent and parent.is_remote else _LOCAL_PARENT


def _attributes(attributes: Mapping[str, AttributeValue]) -> bytes:
    return b"".join([_attribute(name, value) for name, value in attributes.items()])


def _attribute(name: str, value: AttributeValue) -> bytes:
    """Encode an attribute, one that others are likely to share from memory; TypeError for a kind that is rare."""
    if type(value) is float or (type(value) is str and len(value) > _LONGEST_KEPT):
        return _encode_attribute(name, value)
    return _kept_attribute(name, value)


def _encode_attribute(name: str, value: AttributeValue) -> bytes:
    return _field(b"\x4a", _text(b"\x0a", name) + _field(b"\x12", _value(value)))


def _value(value: Any) -> bytes:
    kind = type(value)
    if kind is str:
        return _text(b"\x0a", value)
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int:
        return b"\x18" + _varint(int.from_bytes(value.to_bytes(8, signed=True)))
    if kind is float:
        return _DOUBLE.pack(b"\x21", value)
    raise TypeError(f"{kind.__name__} is not encoded here")


def _text(tag: bytes, text: str) -> bytes:
    return _field(tag, text.encode())


_kept_attribute = lru_cache(maxsize=1024, typed=True)(_encode_attribute)  # typed, for 1 is True
_kept_text = lru_cache(maxsize=256)(_text)


def _field(tag: bytes, content: bytes) -> bytes:
    return b"%b%b%b" % (tag, _varint(len(content)), content)


@lru_cache(maxsize=1024)
def _varint(number: int) -> bytes:
    """Write a number as protobuf does, seven bits a byte, the lowest first."""
    written = bytearray()
    while number > _SEVEN_BITS:
        written.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
