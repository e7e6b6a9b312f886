"""The access line: what was asked, what was answered, and how long it took."""

import logging
import time
from typing import TYPE_CHECKING

import msgspec

from .log_line import current_ids, rfc3339
from .log_terminal import REQUEST
from .log_values import visible
from .logging import Logging

if TYPE_CHECKING:
    from starlette.types import Scope

    from .._requests.outgoing import Outgoing

_SERVER_ERROR = 500
_PROBES = "/.well-known/"


class _Line(msgspec.Struct, gc=False):
    """Hold an access line's fields in the order of every line: level, time, message and ids go first."""

    level: str
    time: str
    message: str
    trace_id: str
    span_id: str
    start_time: str
    response_time: int
    method: str
    user_agent: str
    ip: str
    uri: str
    response: int


_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Write a line for each request.

    Off a terminal it is encoded here at once: the pipeline, which takes lines of any kind apart first, would give
    the same bytes.
    """

    def __init__(self, logs: Logging, *, log_probes: bool) -> None:
        self._logger = logs.logger
        self._sink = logs.sink
        self._on_terminal = logs.on_terminal
        self._log_probes = log_probes

    def write(self, outgoing: "Outgoing") -> None:
        """Write the line of a request that has ended."""
        level = logging.ERROR if outgoing.status >= _SERVER_ERROR else logging.INFO
        path = outgoing.scope["path"]
        if level < self._sink.level.number or (path.startswith(_PROBES) and not self._log_probes):
            return
        line = _line(level, path, outgoing)
        if self._on_terminal:
            self._write_by_pipeline(level, line)
            return
        try:
            text = _encode(line).decode()
        except (ValueError, TypeError):  # lone surrogates, from a server that lets them pass
            self._write_by_pipeline(level, line)
        else:
            self._sink.write(level, visible(text))

    def _write_by_pipeline(self, level: int, line: _Line) -> None:
        own = ("level", "time", "message", "trace_id", "span_id")
        fields = {name: value for name, value in msgspec.structs.asdict(line).items() if name not in own}
        self._logger.log(level, REQUEST, **fields)


def _line(level: int, path: str, outgoing: "Outgoing") -> _Line:
    now = time.time()
    trace, span = current_ids()
    scope = outgoing.scope
    return _Line(
        "ERROR" if level == logging.ERROR else "INFO",
        rfc3339(now),
        REQUEST,
        trace,
        span,
        rfc3339(now - outgoing.seconds),
        int(outgoing.seconds * 1_000_000),
        scope["method"],
        _user_agent(scope),
        scope["client"][0] if scope.get("client") else "",
        path,
        outgoing.status,
    )


def _user_agent(scope: "Scope") -> str:
    for name, value in scope["headers"]:
        if name == b"user-agent":
            agent: str = value.decode("latin-1")
            return agent
    return ""
