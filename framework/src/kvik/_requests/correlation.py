"""The correlation id of a request: 32 hex digits, the trace id of W3C's Trace Context."""

import os
import re
from typing import NamedTuple

# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags. A later version
# may append fields; version ff and ids of zeros are invalid.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
_VERSION_00_LENGTH = 55


class Traceparent(NamedTuple):
    """Hold the fields of a valid traceparent header, each in hex digits."""

    trace_id: str
    parent_id: str
    flags: str


def correlation_id(headers: list[tuple[bytes, bytes]]) -> str:
    """Return the trace id of a valid traceparent header, else a random one."""
    traceparent = find_traceparent(headers)
    return os.urandom(16).hex() if traceparent is None else traceparent.trace_id


def find_traceparent(headers: list[tuple[bytes, bytes]]) -> Traceparent | None:
    """Return what the first traceparent header says, None where there is none or it is not valid."""
    for name, value in headers:
        if name == b"traceparent":
            match = _TRACEPARENT.fullmatch(value)
            if match and (not value.startswith(b"00") or len(value) == _VERSION_00_LENGTH):
                return Traceparent(*(field.decode() for field in match.groups()))
            break
    return None
