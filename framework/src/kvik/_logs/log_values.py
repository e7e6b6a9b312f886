"""From whatever is logged to what JSON and a terminal can show."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

_DEEPEST = 16
_MOST_VALUES = 10_000
"""What a field shows of a value that is nested deeper, or has more parts, is `…`."""

_PLAIN = frozenset({str, int, float, bool, type(None)})
_AS_TEXT = (date, time, timedelta, UUID, Decimal, PurePath)
_LONGEST_NUMBER = 4096
"""Bits; Python refuses to print numbers that are much longer."""

# Everything that moves the cursor, ends a line for some reader, or turns the direction of text.
_TREACHEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def plain(value: Any) -> Any:
    """Give None, bool, int, float, str, or lists and dicts of them, and never raise.

    Objects are shown by their repr, dataclasses and models too: it leaves out what their author keeps secret.
    """
    return value if type(value) in _PLAIN else _Simplifier().simplified(value, 0)


def plain_fields(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the fields with each value plain."""
    if _PLAIN.issuperset(map(type, fields.values())):  # as in most lines
        return fields
    return {name: plain(value) for name, value in fields.items()}


def scrubbed(value: Any) -> Any:
    """Make of something plain what JSON's encoder takes: text that UTF-8 can hold, numbers that can be printed."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {scrubbed(name): scrubbed(part) for name, part in value.items()}
    if isinstance(value, list):
        return [scrubbed(part) for part in value]
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return f"<int of {value.bit_length()} bits>"
    return value


def visible(text: str) -> str:
    """Escape what would command a terminal or mislead its reader."""
    return text if text.isascii() and text.isprintable() else _TREACHEROUS.sub(_escape, text)


def ascii_only(text: str) -> str:
    r"""Escape what is not ASCII as JSON does, `\uXXXX`, for a stream that cannot write it."""
    return _NOT_ASCII.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


class _Simplifier:
    """Simplify one value, within a limit for all its parts together."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def simplified(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return "…"
        if type(value) in _PLAIN:
            return value
        try:
            return self._of_object(value, depth)
        except Exception as error:  # noqa: BLE001 - any method of a logged object may raise
            return _excuse(value, error)

    def _of_object(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return self._of_dict(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._of_parts(value, depth)
        if isinstance(value, Enum):
            return self.simplified(value.value, depth + 1)
        return _text(value)

    def _of_dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, part in value.items():
            name = key if type(key) is str else _text_or_excuse(key)
            while name in result:
                name += "_"
            result[name] = self.simplified(part, depth + 1)
            if self._left < 0:
                break
        return result

    def _of_parts(self, value: Any, depth: int) -> list[Any]:
        result: list[Any] = []
        for part in value:
            result.append(self.simplified(part, depth + 1))
            if self._left < 0:
                break
        return result


def _text_or_excuse(value: Any) -> str:
    try:
        return _text(value)
    except Exception as error:  # noqa: BLE001 - any method of a logged object may raise
        return _excuse(value, error)


def _excuse(value: Any, error: Exception) -> str:
    return f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, datetime):
        return value.isoformat()
    return str.__str__(str(value) if isinstance(value, _AS_TEXT) else repr(value))
