"""The ids of a request. Its correlation id: 32 hex digits, the trace id of W3C's Trace Context."""

import os
import re
from typing import NamedTuple

from .headers import RawHeaders, first_value

# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags. A later version
# may append fields; version ff and ids of zeros are invalid.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
_VERSION_00_LENGTH = 55


_BLOCK = 4096
"""Bytes that the system is asked for at once."""


class _RandomDigits:
    """Give random hex digits from a block, so that the system is asked once in some hundred requests."""

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)  # no two processes may give the same ids

    def _forget(self) -> None:
        self._digits = ""
        self._at = 0

    def take(self, count: int) -> str:
        """Give so many digits that were never given before."""
        at = self._at
        self._at = end = at + count
        if end > len(self._digits):
            self._digits, at, self._at = os.urandom(_BLOCK).hex(), 0, count
        return self._digits[at : self._at]


_random = _RandomDigits()


class Traceparent(NamedTuple):
    """Hold the fields of a valid traceparent header, each in hex digits."""

    trace_id: str
    parent_id: str
    flags: str


def new_ids(headers: RawHeaders) -> tuple[str, str]:
    """Return the trace id of a valid traceparent header, else a random one, and a random id for a span."""
    digits, traceparent = _random.take(48), find_traceparent(headers)
    return (digits[:32] if traceparent is None else traceparent.trace_id), digits[32:]


def find_traceparent(headers: RawHeaders) -> Traceparent | None:
    """Return what the first traceparent header says, None where there is none or it is not valid."""
    value = first_value(headers, b"traceparent")
    match = _TRACEPARENT.fullmatch(value)
    if match and (not value.startswith(b"00") or len(value) == _VERSION_00_LENGTH):
        return Traceparent(*(field.decode() for field in match.groups()))
    return None
