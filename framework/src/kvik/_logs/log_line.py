"""What a log line says, before it is written as JSON or as text: one dict, whatever was logged."""

import logging
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from .._traces.current_span import current_span_id

REQUEST = "request"
OPERATION = "kv.operation"
"""The messages of the lines that the framework writes most."""

NO_IDS = ("", "")

request_ids: ContextVar[tuple[str, str]] = ContextVar("kvik_request_ids", default=NO_IDS)
"""The trace id of the request that the current task works for, and what stands for the id of its span where
nothing is traced; NO_IDS outside of one."""

Line = MutableMapping[str, Any]

_LEVEL_NAMES = {level: logging.getLevelName(level) for level in range(logging.DEBUG, logging.CRITICAL + 1, 10)}


def rfc3339(seconds: float | None = None) -> str:
    """Give a time of the Unix clock, or now, in UTC and to the microsecond."""
    now = time.time() if seconds is None else seconds
    whole = int(now)
    return f"{to_the_second(whole)}.{int((now - whole) * 1_000_000):06d}Z"


@lru_cache(maxsize=8)
def to_the_second(seconds: int) -> str:
    """Give a whole second as RFC 3339 begins to write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def current_ids() -> tuple[str, str]:
    """Give the trace id and the span id of what the current task works for; "" for both outside of a request."""
    ids = request_ids.get()
    current = current_span_id() if ids[0] else ""
    return (ids[0], current) if current else ids


def line_of(level: int, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> Line:
    """Put a line together: level, time, message, the request's ids, the fields, and last the stack.

    These names are the line's own. A field of such a name gets an underscore behind it, so that neither is lost.
    """
    line: Line = {
        "level": _LEVEL_NAMES.get(level) or logging.getLevelName(level),
        "time": rfc3339(),
        "message": _message(event, args, fields) if args else event,
    }
    trace, span = current_ids()
    if trace:
        line["trace_id"] = trace
        line["span_id"] = span
    stack = _stack(fields.pop("exc_info")) if "exc_info" in fields else ""
    if stack:
        line["exception"] = stack
    for field, value in fields.items():
        name = field
        while name in line:
            name += "_"
        line[name] = value
    if stack:
        line["exception"] = line.pop("exception")  # last: it is long
    return line


def _message(event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    """Format the message as the standard library does; where that fails the template stands for itself."""
    try:
        named = len(args) == 1 and isinstance(args[0], Mapping) and args[0]
        return event % (args[0] if named else args)
    except Exception as error:  # noqa: BLE001 - whatever an argument's own formatting raises
        fields["problem"] = f"the arguments do not fit the message: {type(error).__name__}"
        return event


def _stack(exc_info: Any) -> str:
    """Give the text of an exception and what led to it; `exc_info` is what the standard library's may be."""
    if not exc_info:
        return ""
    if isinstance(exc_info, tuple):
        error = exc_info[1] if len(exc_info) > 1 else None
    else:
        error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return ""
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception as own:  # noqa: BLE001 - an exception may have any attributes
        return f"{type(error).__name__}, whose stack cannot be printed: {type(own).__name__}"
