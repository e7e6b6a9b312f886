"""A log line for machines: one JSON object, and nothing that breaks the line."""

from collections.abc import Callable
from typing import Any

import msgspec

from .log_line import Line
from .log_values import plain, plain_fields, scrubbed, visible

_encode = msgspec.json.Encoder().encode
_DELETE = "\x7f"


_BREVITY = 64
"""Characters to which a value is cut at the shortest."""


def to_json(_: Any, __: str, line: Line) -> str:
    """Write a line as JSON, whatever it holds; a processor of structlog's."""
    simple = plain_fields(line)
    try:
        text = _encode(simple).decode()
    except (ValueError, OverflowError, TypeError):  # lone surrogates, numbers of thousands of digits
        text = _encode(scrubbed(simple)).decode()
    return text if text.isascii() and _DELETE not in text else visible(text)  # the others are escaped in JSON


def to_json_within(limit: int) -> Callable[[Any, str, Line], str]:
    """Return a processor that writes a line in so many bytes, if need be with its longest values cut."""

    def to_short_json(sink: Any, name: str, line: Line) -> str:
        text = to_json(sink, name, line)
        while len(text.encode()) > limit:
            field = max(line, key=lambda field: len(_shown(line[field])))
            value = _shown(line[field])
            room = len(value) - (len(text.encode()) - limit)
            if len(value) <= _BREVITY:
                return to_json(sink, name, {name: line[name] for name in ("level", "time", "message")})
            line[field] = _cut(value, max(room, len(value) // 2, _BREVITY))
            text = to_json(sink, name, line)
        return text

    return to_short_json


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else _encode(scrubbed(plain(value))).decode()


def _cut(value: str, size: int) -> str:
    """Leave the middle out; of a stack the end tells most."""
    head = size // 4
    return f"{value[: head - 1]}…{value[head - size :]}"
