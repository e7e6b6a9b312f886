"""A log line for people at a terminal: aligned, coloured, the request's status first."""

from datetime import datetime
from typing import Any

from .log_line import OPERATION, REQUEST, Line
from .log_values import plain, visible

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_BOLD = "\x1b[1m"
_GREEN, _CYAN, _YELLOW, _RED, _BLUE = (f"\x1b[{number}m" for number in (32, 36, 33, 31, 34))

_OF_LEVEL = {"DEBUG": _BLUE, "INFO": _GREEN, "WARNING": _YELLOW, "ERROR": _RED, "CRITICAL": _BOLD + _RED}
_OF_STATUS = {2: _GREEN, 3: _CYAN, 4: _YELLOW, 5: _RED}
_SHORT = {"WARNING": "WARN", "CRITICAL": "FATAL"}

_OF_EVERY_LINE = frozenset({"level", "time", "message", "trace_id", "span_id", "exception"})
_OF_REQUEST = _OF_EVERY_LINE | {
    *("method", "uri", "response", "response_time", "start_time", "user_agent", "ip"),
}
"""What a line shows without its name, or not at all."""

_MESSAGE_WIDTH = 32
_SUBJECT_WIDTH = 32
_SHORT_ID = 8
_INDENT = " " * 21
"""The width of a line's time and level, below which operations and stacks are indented."""

_MILLI, _SECOND, _MINUTE = 1000, 1_000_000, 60_000_000


class Terminal:
    """Write lines as text; a processor of structlog's. Nothing in them can command the terminal."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: Any, __: str, line: Line) -> str:
        """Write one line; a stack goes below it."""
        if line["message"] == OPERATION and {"store", "operation", "outcome", "microseconds"} <= line.keys():
            return self._operation(line)
        head = f"{self._colour(_DIM, _clock(line))}  {self._level(line)}  "
        if line["message"] == REQUEST and {"method", "uri", "response", "response_time"} <= line.keys():
            return head + self._request(line)
        return head + self._event(line)

    def _request(self, line: Line) -> str:
        status = line["response"]
        colour = _OF_STATUS.get(status // 100, "") if isinstance(status, int) else ""
        return (
            f"{self._colour(colour, f'{_shown(status):<3}')}  {_shown(line['method']):<7} "
            f"{_shown(line['uri']):<{_SUBJECT_WIDTH}} {human(line['response_time']):>8}"
            f"{self._fields(line, _OF_REQUEST)}{self._trace(line)}"
        )

    def _operation(self, line: Line) -> str:
        well = line["outcome"] == "ok"
        store = f"{_shown(line['store'])} ({_shown(line.get('driver', ''))})"
        return (
            f"{_INDENT}{self._colour(_DIM, '└─')}   {_shown(line['operation']):<7} {store:<{_SUBJECT_WIDTH}} "
            f"{human(line['microseconds']):>8}  {self._colour(_GREEN if well else _RED, _shown(line['outcome']))}"
        )

    def _event(self, line: Line) -> str:
        stack = "".join(f"\n{_INDENT}{visible(row)}" for row in str(line.get("exception", "")).splitlines())
        message = f"{_shown(line['message']):<{_MESSAGE_WIDTH}}"
        fields = self._fields(line, _OF_EVERY_LINE)
        return f"{self._colour(_BOLD, message)}{fields}{self._trace(line)}".rstrip() + stack

    def _fields(self, line: Line, own: frozenset[str]) -> str:
        return "".join(
            f" {self._colour(_CYAN, visible(name))}={_quoted(value)}"
            for name, value in line.items()
            if name not in own
        )

    def _level(self, line: Line) -> str:
        level = line["level"]
        return self._colour(_OF_LEVEL.get(level, ""), f"{_SHORT.get(level, level):<5}")

    def _trace(self, line: Line) -> str:
        trace = line.get("trace_id")
        return f"  {self._colour(_DIM, _shown(trace)[:_SHORT_ID])}" if trace else ""

    def _colour(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours and colour else text


def human(microseconds: Any) -> str:
    """Give a duration in the unit that suits it: `312 µs`, `1.2 ms`, `3.41 s`, `2 min 3 s`."""
    if not isinstance(microseconds, int):
        return _shown(microseconds)
    if microseconds < _MILLI:
        return f"{microseconds} µs"
    if microseconds < _SECOND:
        return f"{microseconds / _MILLI:.1f} ms"
    if microseconds < _MINUTE:
        return f"{microseconds / _SECOND:.2f} s"
    return f"{microseconds // _MINUTE} min {microseconds % _MINUTE // _SECOND} s"


def _clock(line: Line) -> str:
    return f"{datetime.fromisoformat(line['time']).astimezone():%H:%M:%S.%f}"[:-3]


def _shown(value: Any) -> str:
    simple = plain(value)
    return visible(simple if isinstance(simple, str) else repr(simple))


def _quoted(value: Any) -> str:
    simple = plain(value)
    text = _shown(simple)
    return f'"{text}"' if isinstance(simple, str) and (not text or " " in text or "=" in text) else text
