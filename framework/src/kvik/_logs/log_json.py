"""A log line for machines: one JSON object, and nothing that breaks the line."""

from typing import Any

import msgspec

from .log_line import Line
from .log_values import plain_fields, scrubbed, visible

_encode = msgspec.json.Encoder().encode
_DELETE = "\x7f"


def to_json(_: Any, __: str, line: Line) -> str:
    """Write a line as JSON, whatever it holds; a processor of structlog's."""
    simple = plain_fields(line)
    try:
        text = _encode(simple).decode()
    except (ValueError, OverflowError, TypeError):  # lone surrogates, numbers of thousands of digits
        text = _encode(scrubbed(simple)).decode()
    return text if text.isascii() and _DELETE not in text else visible(text)  # the others are escaped in JSON
