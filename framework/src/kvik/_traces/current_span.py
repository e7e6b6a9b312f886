"""The id of the current span, which a log line carries beside its trace id."""

import sys


def current_span_id() -> str:
    """Return the 16 hex digits of the span that is current here, "" where there is none.

    A span of the user's own instrumentation counts as well as one of ours.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # nothing that could have begun a span was ever imported
        return ""
    span_id: int = trace.get_current_span().get_span_context().span_id
    return f"{span_id:016x}" if span_id else ""
