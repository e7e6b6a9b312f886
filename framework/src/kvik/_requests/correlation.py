"""The ids of a request. Its correlation id: 32 hex digits, the trace id of W3C's Trace Context."""

import os
import re
from typing import NamedTuple

from .headers import FirstValues

# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags. A later version
# may append fields; version ff and ids of zeros are invalid.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
_VERSION_00_LENGTH = 55


_AT_ONCE = 128
"""Pairs of ids that are made of one question to the system."""


class _RandomIds:
    """Give random ids for a trace and a span, 32 and 16 hex digits, that were never given before."""

    def __init__(self) -> None:
        self._made: list[tuple[str, str]] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._made.clear)  # no two processes may give the same ids

    def take(self) -> tuple[str, str]:
        """Give a pair."""
        if not self._made:
            digits = os.urandom(24 * _AT_ONCE).hex()
            self._made += [(digits[at : at + 32], digits[at + 32 : at + 48]) for at in range(0, len(digits), 48)]
        return self._made.pop()


_random = _RandomIds()


class Traceparent(NamedTuple):
    """Hold the fields of a valid traceparent header, each in hex digits."""

    trace_id: str
    parent_id: str
    flags: str


def new_ids(headers: FirstValues) -> tuple[str, str]:
    """Return the trace id of a valid traceparent header, else a random one, and a random id for a span."""
    ids = _random.take()
    traceparent = find_traceparent(headers) if b"traceparent" in headers else None
    return ids if traceparent is None else (traceparent.trace_id, ids[1])


def find_traceparent(headers: FirstValues) -> Traceparent | None:
    """Return what the first traceparent header says, None where there is none or it is not valid."""
    value = headers.get(b"traceparent", b"")
    match = _TRACEPARENT.fullmatch(value)
    if match and (not value.startswith(b"00") or len(value) == _VERSION_00_LENGTH):
        return Traceparent(*(field.decode() for field in match.groups()))
    return None
