"""The log level from REMOTE_LOG_URL: asked for while the app runs, in a thread that nothing waits for."""

import threading
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .._parsing import parse_level
from .logging import Logging

_TIMEOUT = 5.0
"""Seconds for one answer, as in GoFr."""

_MOST_BYTES = 64 * 1024
_SHORTEST_INTERVAL = 0.05


class RemoteLevel:
    """Ask for the level at once and then in intervals of seconds; what fails leaves the level as it is.

    The answer is GoFr's: `{"data":{"serviceName":"x","logLevel":"DEBUG"}}`, or that of its earlier versions,
    `{"data":[{"serviceName":"x","logLevel":{"LOG_LEVEL":"DEBUG"}}]}`, of which the entry with the app's name
    counts, else the first. The URL may hold a credential: logs have its host only.
    """

    def __init__(self, logs: Logging, url: str | None, interval: float, app_name: str) -> None:
        self._logs = logs
        self._url = url
        self._interval = max(interval, _SHORTEST_INTERVAL)
        self._app_name = app_name
        self._stopped = threading.Event()
        self._failing = False

    def start(self) -> None:
        """Begin to ask, if there is somebody to ask."""
        if not self._url:
            return
        self._stopped = threading.Event()
        arguments = (self._url, self._stopped)
        threading.Thread(target=self._run, args=arguments, name="kvik-remote-level", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; an answer that is under way is thrown away."""
        self._stopped.set()

    def _run(self, url: str, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                level = parse_level(_level_in(_fetch(url), self._app_name))
            except Exception as error:  # noqa: BLE001 - nothing that a foreign server says may end this
                if not stopped.is_set():
                    self._failed(url, error)
            else:
                if not stopped.is_set():
                    self._succeeded(level)
            stopped.wait(self._interval)

    def _failed(self, url: str, error: Exception) -> None:
        if not self._failing:
            self._logs.logger.warning("log.level_unknown", host=_host(url), problem=_problem(error))
        self._failing = True

    def _succeeded(self, level: str) -> None:
        if self._failing:
            self._logs.logger.info("log.level_known_again")
        self._failing = False
        self._logs.set_level(level, source="REMOTE_LOG_URL")


def _fetch(url: str) -> bytes:
    import urllib.request  # noqa: PLC0415 - takes long to import, and few ask

    end = time.monotonic() + _TIMEOUT
    body = b""
    request = urllib.request.Request(url, headers={"accept": "application/json"})  # noqa: S310 - the settings allow no other scheme
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - the settings allow no other scheme
        while part := answer.read1(_MOST_BYTES):
            body += part
            if len(body) > _MOST_BYTES:
                raise ValueError(f"the answer is longer than {_MOST_BYTES} bytes")
            if time.monotonic() > end:
                raise TimeoutError(f"no whole answer within {_TIMEOUT:g} s")
    return body


def _level_in(body: bytes, app_name: str) -> str:
    try:
        data: Any = msgspec.json.decode(body)["data"]
        if isinstance(data, list):
            data = next((entry for entry in data if entry["serviceName"] == app_name), data[0])
        level = data["logLevel"]
        return str(level["LOG_LEVEL"] if isinstance(level, dict) else level)
    except (ValueError, TypeError, LookupError):
        raise ValueError("the answer names no level") from None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _problem(error: Exception) -> str:
    """Tell of an error without what the URL holds, which the texts of some errors repeat."""
    import urllib.error  # noqa: PLC0415 - as above

    if isinstance(error, urllib.error.HTTPError):
        return f"status {error.code}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) if type(error) in {ValueError, TimeoutError} else type(error).__name__
