"""The ids of spans: a request's trace has its correlation id, so that logs and traces agree."""

import contextlib
import random
from collections.abc import Iterator
from contextvars import ContextVar

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext

from .._logs.logging import request_ids

_given: ContextVar[SpanContext | None] = ContextVar("kvik_given_ids", default=None)


class SpanIds(RandomIdGenerator):
    """Begin each trace of a request with its correlation id, and give a span that is made later the ids it has."""

    def generate_trace_id(self) -> int:
        """Give the id of a new trace."""
        given, (correlation_id, _) = _given.get(), request_ids.get()
        if given is not None:
            return given.trace_id
        return int(correlation_id, 16) if correlation_id else random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        """Give the id of a new span."""
        given = _given.get()
        return random.getrandbits(64) or 1 if given is None else given.span_id


@contextlib.contextmanager
def given_ids(ids: SpanContext) -> Iterator[None]:
    """Have the span that begins here get these ids."""
    token = _given.set(ids)
    try:
        yield
    finally:
        _given.reset(token)
