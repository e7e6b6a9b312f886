"""The logger: structlog's verbs, a level that may change at any moment, and no call that raises."""

import asyncio
import contextlib
import logging
import sys
from typing import Any, Self

import structlog

from .bound_values import bound_values
from .log_json import to_json
from .log_line import line_of
from .output import write_text

_UNIT = 10
"""The standard library's levels are multiples of it."""


class Level:
    """Hold the level of an app's log: the configured one, or DEBUG while somebody is looking for something.

    All loggers of the app ask this one object, so that a change is theirs at once, however they were bound.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._configured = number
        self._debugging = False

    def configure(self, number: int) -> None:
        """Take another level; while debugging, keep it for later."""
        self._configured = number
        self._decide()

    def toggle_debug(self) -> None:
        """Go to DEBUG, or back to the configured level."""
        self._debugging = not self._debugging
        self._decide()

    def _decide(self) -> None:
        self.number = logging.DEBUG if self._debugging else self._configured


class Sink:
    """Write finished lines: ERROR and above to stderr, the rest to stdout."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self._waiting: list[str] = []

    def write(self, number: int, line: str) -> None:
        """Write one line; it is lost where nobody reads any more or the disk is full, and the service goes on."""
        if self._waiting:
            self.flush()
        write_text(sys.stderr if number >= logging.ERROR else sys.stdout, line + "\n")

    def write_soon(self, line: str) -> None:
        """Write one line to stdout, before the next of any other kind and when the event loop comes round."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(line)

    def flush(self) -> None:
        """Write the lines that wait, all at once."""
        lines, self._waiting = self._waiting, []
        if lines:
            write_text(sys.stdout, "\n".join(lines) + "\n")


class TurnSink:
    """Write lines below ERROR with those of the same turn of the event loop, when it comes round."""

    def __init__(self, sink: Sink) -> None:
        self.level = sink.level
        self._sink = sink

    def write(self, number: int, line: str) -> None:
        """Write one line, soon or at once."""
        if number >= logging.ERROR:
            self._sink.write(number, line)
        else:
            self._sink.write_soon(line)


class Logger(structlog.BoundLoggerBase):
    """Log events with fields, in structlog's way. Calls never raise, for a log line is not worth a request."""

    def bind(self, /, **new_values: Any) -> Self:
        """Return a logger whose lines have these fields too, of any names."""
        return self.__class__(self._logger, self._processors, {**self._context, **new_values})

    def debug(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log what helps to find an error."""
        self._log(logging.DEBUG, event, args, fields)

    def info(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log what happens in the course of things."""
        self._log(logging.INFO, event, args, fields)

    def warning(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log what somebody may want to look at."""
        self._log(logging.WARNING, event, args, fields)

    def error(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log what somebody must look at."""
        self._log(logging.ERROR, event, args, fields)

    def critical(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log what ends the service."""
        self._log(logging.CRITICAL, event, args, fields)

    def exception(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log an error with the stack of the exception that is being handled."""
        self._log(logging.ERROR, event, args, {"exc_info": True, **fields})

    def log(self, level: Any, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log at a level of the standard library's, or the next one below."""
        known = level if isinstance(level, int) else logging.INFO
        self._log(min(max(known // _UNIT * _UNIT, logging.DEBUG), logging.CRITICAL), event, args, fields)

    warn = warning
    fatal = critical
    msg = info
    err = error

    # The verbs of asynchronous code: a line is written at once, so that it stands where it happened.

    async def adebug(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log as `debug` does."""
        self.debug(event, *args, **fields)

    async def ainfo(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log as `info` does."""
        self.info(event, *args, **fields)

    async def awarning(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log as `warning` does."""
        self.warning(event, *args, **fields)

    async def aerror(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log as `error` does."""
        self.error(event, *args, **fields)

    async def acritical(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log as `critical` does."""
        self.critical(event, *args, **fields)

    async def aexception(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log as `exception` does."""
        self.exception(event, *args, **fields)

    async def alog(self, level: Any, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log as `log` does."""
        self.log(level, event, *args, **fields)

    awarn = awarning
    afatal = acritical
    amsg = ainfo

    def is_enabled_for(self, level: int) -> bool:
        """Tell whether a line of this level would be written."""
        return level >= self.get_effective_level()

    def get_effective_level(self) -> int:
        """Give the level below which nothing is written."""
        number: int = self._logger.level.number
        return number

    def _log(self, number: int, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        sink: Sink | TurnSink = self._logger
        if number < sink.level.number:
            return
        try:
            bound = bound_values()
            if bound or self._context:
                fields = {**bound, **self._context, **fields}
            line: Any = line_of(number, event, args, fields)
            for processor in self._processors:
                line = processor(sink, "", line)
            sink.write(number, line)
        except Exception as error:  # noqa: BLE001 - the caller has a request to answer
            _tell_of_failure(sink, error)


def _tell_of_failure(sink: Sink | TurnSink, error: Exception) -> None:
    """Leave a trace of a line that could not be written, if there is room for one more call on the stack."""
    with contextlib.suppress(Exception):
        line = line_of(logging.ERROR, "log.failed", (), {"problem": type(error).__name__})
        sink.write(logging.ERROR, to_json(sink, "", line))
