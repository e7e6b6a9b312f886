"""Logging: one pipeline for the framework, the handlers' `ctx.logger` and the standard library's loggers.

A line is one JSON object off a terminal, coloured text on one. ERROR and above go to stderr, the rest to stdout.
"""

import logging
import os
import sys
from typing import cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from .log_json import to_json, to_json_within
from .log_line import NO_IDS, request_ids
from .logger import Level, Logger, Sink, TurnSink
from .output import WHOLE

__all__ = ["NO_IDS", "Logging", "request_ids"]

_CHATTY_LOGGERS = (
    *("uvicorn", "asyncio", "opentelemetry"),
    *("botocore", "boto3", "urllib3"),
    *("httpx", "httpx2", "httpcore", "httpcore2"),
)
"""Libraries that report each step below WARNING, with queries, values and signatures: heard from there on."""

_OF_RECORDS = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}  # the last is uvicorn's
)
"""The attributes that every record has, and what is not a field either; the others are its `extra`."""


class Logging:
    """Own the log pipeline of an app: its logger, and while the app runs the whole process's logging."""

    def __init__(self, level: str) -> None:
        self._level = Level(_number(level))
        self.sink = Sink(self._level)  # for who has finished lines
        self.on_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._processors: list[Processor] = [_for_people() if self.on_terminal else to_json]
        self.logger = self._logger(self.sink)
        self.sink_by_turns = TurnSink(self.sink)  # for what is logged on the event loop; so is the next
        self.logger_by_turns = self._logger(self.sink_by_turns)
        self._replaced: tuple[list[logging.Handler], int] | None = None
        self._configured_structlog = False
        self._installed = 0

    def _logger(self, sink: Sink | TurnSink) -> FilteringBoundLogger:
        logger = structlog.wrap_logger(sink, processors=self._processors, wrapper_class=Logger, context_class=dict)
        return cast("FilteringBoundLogger", logger.bind())

    def share_output(self) -> None:
        """Keep lines so short that those of several processes do not mix."""
        if not self.on_terminal:
            self._processors[:] = [to_json_within(WHOLE - 1)]

    @property
    def level(self) -> str:
        """Give the name of the level below which nothing is written."""
        return logging.getLevelName(self._level.number)

    def set_level(self, level: str, *, source: str) -> None:
        """Write from this level on; `source` is who wants it, for the line that tells of it."""
        before = self._level.number
        self._level.configure(_number(level))
        self._tell_of_change(before, source)

    def toggle_debug(self, *, source: str) -> None:
        """Write everything, or go back to the level before."""
        before = self._level.number
        self._level.toggle_debug()
        self._tell_of_change(before, source)

    def install(self) -> None:
        """Send the standard library's logging, and structlog's default loggers, through this pipeline.

        It stays so until as many calls of `uninstall`.
        """
        self._installed += 1
        if self._installed > 1:
            return
        root = logging.getLogger()
        self._replaced = (root.handlers[:], root.level)
        root.handlers[:] = [_StandardLibraryBridge(self.logger)]
        root.setLevel(self._level.number)
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        if not structlog.is_configured():
            structlog.configure(
                logger_factory=lambda *_: self.sink, processors=self._processors, wrapper_class=Logger
            )
            self._configured_structlog = True

    def uninstall(self) -> None:
        """Put the standard library's logging, and structlog's, back as they were before `install`."""
        self.sink.flush()
        self._installed -= 1
        if self._installed:
            return
        if self._replaced is not None:
            root = logging.getLogger()
            root.handlers[:], level = self._replaced
            root.setLevel(level)
            self._replaced = None
        if self._configured_structlog:
            structlog.reset_defaults()
            self._configured_structlog = False

    def _tell_of_change(self, before: int, source: str) -> None:
        """Log the change at a level that is written before or after it, so that it is never silent."""
        after = self._level.number
        if after == before:
            return
        if self._replaced is not None:
            logging.getLogger().setLevel(after)
        fields = {
            "before": logging.getLevelName(before),
            "after": self.level,
            "source": source,
            "pid": os.getpid(),
        }
        self.logger.log(max(after, logging.INFO), "log.level_changed", **fields)


class _StandardLibraryBridge(logging.Handler):
    """Turn records of the standard library's loggers into events of ours."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        given = vars(record)
        is_bare = given.keys() <= _OF_RECORDS
        extra = {} if is_bare else {name: value for name, value in given.items() if name not in _OF_RECORDS}
        fields = {**extra, "logger": record.name, "exc_info": record.exc_info}
        args = record.args if isinstance(record.args, tuple) else (record.args,) if record.args else ()
        self._logger.log(
            record.levelno, record.msg if isinstance(record.msg, str) else str(record.msg), *args, **fields
        )


def _for_people() -> Processor:
    from .log_terminal import Terminal  # noqa: PLC0415 - a service has no terminal

    return Terminal(colours=not os.environ.get("NO_COLOR"))


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level]
