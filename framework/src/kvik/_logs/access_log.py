"""The access line: what was asked, what was answered, and how long it took."""

import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from .bound_values import bound_values
from .log_line import REQUEST, current_ids, rfc3339, to_the_second
from .log_values import visible
from .logging import Logging

if TYPE_CHECKING:
    from .._requests.outgoing import Outgoing

_SERVER_ERROR = 500
_PROBES = "/.well-known/"
_LONGEST_KEPT = 256
_LONGEST_TEXT = 512
"""Characters that are shown of what a client sent."""

_LONGEST_QUOTED = 600
"""Characters of such a text as JSON in a line that is put together here; the line may be too long otherwise."""

_INFO, _ERROR = logging.INFO, logging.ERROR
_LEVELS = {_INFO: "INFO", _ERROR: "ERROR"}


class AccessLog:
    """Write a line for each request.

    Off a terminal it is put together here at once: the pipeline, which takes lines of any kind apart first, would
    give the same text. The lines of one turn of the event loop are written together.
    """

    def __init__(self, logs: Logging, *, log_probes: bool) -> None:
        self._logger = logs.logger
        self._sink = logs.sink_by_turns
        self._write_soon = logs.sink.write_soon
        self._on_terminal = logs.on_terminal
        self._log_probes = log_probes

    def write(self, outgoing: "Outgoing") -> None:
        """Write the line of a request that has ended."""
        level = _ERROR if outgoing.status >= _SERVER_ERROR else _INFO
        if level < self._sink.level.number or (not self._log_probes and outgoing.path.startswith(_PROBES)):
            return
        text = None if self._on_terminal or bound_values(outgoing.unbound) else _text(level, outgoing)
        if text is None:
            self._logger.log(level, REQUEST, **_fields(outgoing))
        elif level == _INFO:
            self._write_soon(text)
        else:
            self._sink.write(level, text)


def _fields(outgoing: "Outgoing") -> dict[str, Any]:
    return {
        "start_time": rfc3339(time.time() - outgoing.seconds),
        "response_time": int(outgoing.seconds * 1_000_000),
        "method": outgoing.method,
        "user_agent": _shortened(outgoing.headers.get(b"user-agent", b"").decode("latin-1")),
        "ip": outgoing.ip,
        "uri": _shortened(outgoing.path),
        "response": outgoing.status,
    }


def _text(level: int, outgoing: "Outgoing") -> str | None:
    """Write the line as JSON; None where it holds what only the pipeline knows to write."""
    now, took = time.time(), int(outgoing.seconds * 1_000_000)
    trace, span = current_ids()
    second = int(now)
    microseconds = int((now - second) * 1_000_000)
    ended = began = to_the_second(second)
    if took > microseconds:
        began = to_the_second(int(now - outgoing.seconds))
    path, agent = outgoing.path, outgoing.headers.get(b"user-agent", b"")
    try:
        who = (_who if len(agent) <= _LONGEST_KEPT else _who.__wrapped__)(outgoing.method, agent, outgoing.ip)
        uri = _quoted(path) if outgoing.match.values or len(path) > _LONGEST_KEPT else _quoted_before(path)
    except (ValueError, TypeError, AttributeError):  # lone surrogates, from a server that lets them pass
        return None
    after, before = "%06d" % microseconds, "%06d" % ((microseconds - took) % 1_000_000)  # noqa: UP031 - the fastest
    return (
        f'{{"level":"{_LEVELS[level]}","time":"{ended}.{after}Z","message":"request",'
        f'"trace_id":"{trace}","span_id":"{span}","start_time":"{began}.{before}Z","response_time":{took},'
        f'{who},"uri":{uri},"response":{outgoing.status}}}'
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _quoted(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        text = _shortened(text)
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    quoted = visible(msgspec.json.encode(text).decode())
    if len(quoted) > _LONGEST_QUOTED:
        raise ValueError("too long for a line that is put together here")
    return quoted


_quoted_before = lru_cache(maxsize=256)(_quoted)
"""Quote a path that the next requests are likely to have too."""


@lru_cache(maxsize=1024)
def _who(method: str, agent: bytes, ip: str) -> str:
    """Write the fields that are the same for all requests of a client."""
    return f'"method":{_quoted(method)},"user_agent":{_quoted(agent.decode("latin-1"))},"ip":{_quoted(ip)}'
