"""A log line for machines: one JSON object, and nothing that breaks the line."""

from typing import Any

import msgspec

from .log_line import Line
from .log_values import plain, scrubbed, visible


def to_json(_: Any, __: str, line: Line) -> str:
    """Write a line as JSON, whatever it holds; a processor of structlog's."""
    simple = {name: plain(value) for name, value in line.items()}
    try:
        text = msgspec.json.encode(simple).decode()
    except (ValueError, OverflowError, TypeError):  # lone surrogates, numbers of thousands of digits
        text = msgspec.json.encode(scrubbed(simple)).decode()
    return visible(text)
