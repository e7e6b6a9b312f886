"""The access line: what was asked, what was answered, and how long it took."""

import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from .._requests.headers import first_value
from .log_line import current_ids, rfc3339, to_the_second
from .log_terminal import REQUEST
from .log_values import visible
from .logging import Logging

if TYPE_CHECKING:
    from starlette.types import Scope

    from .._requests.outgoing import Outgoing

_SERVER_ERROR = 500
_PROBES = "/.well-known/"
_LONGEST_KEPT = 256
_TEMPLATE = (
    '{"level":"%s","time":"%s.%06dZ","message":"request","trace_id":"%s","span_id":"%s",'
    '"start_time":"%s.%06dZ","response_time":%d,"method":%s,"user_agent":%s,"ip":%s,"uri":%s,"response":%d}'
)
_LEVELS = {logging.INFO: "INFO", logging.ERROR: "ERROR"}


class AccessLog:
    """Write a line for each request.

    Off a terminal it is put together here at once: the pipeline, which takes lines of any kind apart first, would
    give the same text. With `by_turns` the lines of one turn of the event loop are written together.
    """

    by_turns = False

    def __init__(self, logs: Logging, *, log_probes: bool) -> None:
        self._logger = logs.logger
        self._sink = logs.sink
        self._on_terminal = logs.on_terminal
        self._log_probes = log_probes

    def write(self, outgoing: "Outgoing") -> None:
        """Write the line of a request that has ended."""
        level = logging.ERROR if outgoing.status >= _SERVER_ERROR else logging.INFO
        if level < self._sink.level.number or not self._is_wanted(outgoing):
            return
        text = None if self._on_terminal else _text(level, outgoing)
        if text is None:
            self._logger.log(level, REQUEST, **_fields(outgoing))
        elif self.by_turns and level < logging.ERROR:
            self._sink.write_soon(text)
        else:
            self._sink.write(level, text)

    def _is_wanted(self, outgoing: "Outgoing") -> bool:
        return self._log_probes or not outgoing.scope["path"].startswith(_PROBES)


def _fields(outgoing: "Outgoing") -> dict[str, Any]:
    scope = outgoing.scope
    return {
        "start_time": rfc3339(time.time() - outgoing.seconds),
        "response_time": int(outgoing.seconds * 1_000_000),
        "method": scope["method"],
        "user_agent": _user_agent(scope),
        "ip": _ip(scope),
        "uri": scope["path"],
        "response": outgoing.status,
    }


def _text(level: int, outgoing: "Outgoing") -> str | None:
    """Write the line as JSON; None where it holds what only the pipeline knows to write."""
    scope, now = outgoing.scope, time.time()
    trace, span = current_ids()
    second = int(now)
    microseconds, took = int((now - second) * 1_000_000), int(outgoing.seconds * 1_000_000)
    began = second if took <= microseconds else int(now - outgoing.seconds)
    try:
        return _TEMPLATE % (
            _LEVELS[level],
            to_the_second(second),
            microseconds,
            trace,
            span,
            to_the_second(began),
            (microseconds - took) % 1_000_000,
            took,
            _kept(scope["method"]),
            _kept(_user_agent(scope)),
            _kept(_ip(scope)),
            _quoted(scope["path"]) if outgoing.match.values else _kept(scope["path"]),
            outgoing.status,
        )
    except (ValueError, TypeError, AttributeError):  # lone surrogates, from a server that lets them pass
        return None


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return visible(msgspec.json.encode(text).decode())


def _kept(text: str) -> str:
    """Quote what the next requests are likely to have too."""
    return _quoted_before(text) if len(text) <= _LONGEST_KEPT else _quoted(text)


_quoted_before = lru_cache(maxsize=256)(_quoted)


def _user_agent(scope: "Scope") -> str:
    return first_value(scope["headers"], b"user-agent").decode("latin-1")


def _ip(scope: "Scope") -> Any:
    client = scope.get("client")
    return client[0] if client else ""
