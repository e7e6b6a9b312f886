"""How an error stands in a span: its class and where it came from, never its text, which may hold a key."""

import traceback

from opentelemetry.trace import Span, Status, StatusCode

_MOST_FRAMES = 30


def mark_error(span: Span, kind: str, error: BaseException | None) -> None:
    """Mark the span as failed for a reason of this kind, and add the exception as an event."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", kind)
    if error is not None:
        event = {"exception.type": class_name(error), "exception.stacktrace": _stack(error)}
        span.add_event("exception", event)


def class_name(error: BaseException) -> str:
    """Return the name of an exception's class as OpenTelemetry writes it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _stack(error: BaseException) -> str:
    """Give the traceback as Python prints it, without lines of code, which are on a disk, and without the text."""
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), limit=-_MOST_FRAMES, lookup_lines=False
    )
    places = [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n' for frame in frames]
    return "".join(["Traceback (most recent call last):\n", *places, class_name(error), "\n"])
