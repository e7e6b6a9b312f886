"""The log level at run time: by SIGUSR1, and from REMOTE_LOG_URL."""

import contextlib
import http.server
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from kvik import App
from support import Program, eventually, program, serving

CHATTY = """
import logging, structlog
from kvik import App

app = App()
bound = app.logger.bind(bound=True)
structlogs = structlog.get_logger()

@app.get("/x")
async def x(ctx):
    bound.debug("bound")
    structlogs.debug("structlog's")
    logging.getLogger("library").debug("the standard library's")

app.run()
"""


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _changes(running: Program) -> list[tuple[str, str]]:
    return [
        (event["before"], event["after"]) for event in running.events if event["message"] == "log.level_changed"
    ]


def _debug_lines(running: Program) -> list[str]:
    return [event["message"] for event in running.events if event["level"] == "DEBUG"]


def test_sigusr1_goes_to_debug_and_back(tmp_path: Path) -> None:
    """Every logger, however it was bound before, follows SIGUSR1, and each change is a line."""
    main = tmp_path / "main.py"
    main.write_text(CHATTY)
    with program(main, tmp_path) as running, running.client() as client:
        client.get("/x")
        assert _debug_lines(running) == []
        running.process.send_signal(signal.SIGUSR1)
        _until(lambda: len(_changes(running)) == 1)
        client.get("/x")
        running.process.send_signal(signal.SIGUSR1)
        _until(lambda: len(_changes(running)) == 2)
        client.get("/x")
        assert _changes(running) == [("INFO", "DEBUG"), ("DEBUG", "INFO")]
        assert _debug_lines(running) == ["bound", "structlog's", "the standard library's"]


def test_sigusr1_reaches_every_worker(tmp_path: Path) -> None:
    """The supervisor changes its level, for workers to come, and each worker its own."""
    main = tmp_path / "main.py"
    main.write_text(CHATTY)
    with program(main, tmp_path, HTTP_WORKERS="2", METRICS_PORT="0") as running:
        _until(lambda: sum(event["message"] == "worker.ready" for event in running.events) == 2)
        running.process.send_signal(signal.SIGUSR1)
        _until(lambda: len(_changes(running)) == 3)
        assert len({event["pid"] for event in running.events if event["message"] == "log.level_changed"}) == 3
        with running.client() as client:
            client.get("/x")
        assert "bound" in _debug_lines(running)


async def test_under_another_server_sigusr1_is_left_alone() -> None:
    """An app that does not own the process touches no signal."""
    before = signal.getsignal(signal.SIGUSR1)
    async with serving(App()):
        assert signal.getsignal(signal.SIGUSR1) is before


class _Remote:
    """Serve what `answer` is at the moment, and count."""

    def __init__(self) -> None:
        self.answer: bytes | int = b""
        self.asked = 0
        self.url = ""

    def says(self, data: Any) -> None:
        self.answer = json.dumps({"data": data}).encode()


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Remote]:
    remote = _Remote()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            remote.asked += 1
            answer = remote.answer
            body = b"" if isinstance(answer, int) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            with contextlib.suppress(OSError):  # a reader that has enough closes
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        remote.url = f"http://127.0.0.1:{server.server_port}/level?token=SECRET"
        monkeypatch.setenv("REMOTE_LOG_URL", remote.url)
        monkeypatch.setenv("REMOTE_LOG_FETCH_INTERVAL", "50ms")
        yield remote
        server.shutdown()
        thread.join()


async def _asked_again(remote: _Remote) -> None:
    """Wait until an answer of now has been seen, and the next question come."""
    asked = remote.asked
    with anyio.fail_after(30):
        while remote.asked < asked + 2:
            await anyio.sleep(0.01)


@pytest.mark.parametrize(
    "data",
    [
        {"serviceName": "x", "logLevel": "DEBUG"},
        [{"serviceName": "x", "logLevel": {"LOG_LEVEL": "DEBUG"}}],
        [
            {"serviceName": "other", "logLevel": {"LOG_LEVEL": "ERROR"}},
            {"serviceName": "kvik-app", "logLevel": {"LOG_LEVEL": "DEBUG"}},
        ],
    ],
    ids=["GoFr's", "GoFr's former", "several services"],
)
async def test_the_level_is_asked_for(data: Any, remote: _Remote) -> None:
    """The answer of REMOTE_LOG_URL, in GoFr's forms, is the level of all loggers."""
    remote.says(data)
    app = App()
    async with serving(app):
        await _asked_again(remote)
        assert app.logger.is_enabled_for(logging.DEBUG)
        assert structlog.get_logger().is_enabled_for(logging.DEBUG)
        assert logging.getLogger("library").isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize(
    "answer",
    [500, b"{", b"[]", b'{"data":[]}', b'{"data":{"logLevel":"LOUD"}}', b" " * 100_000],
    ids=["status", "no JSON", "no data", "empty", "no level", "too long"],
)
async def test_a_failure_is_logged_once(
    answer: bytes | int, remote: _Remote, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it cannot be had the level stays; one line says so, another when it works again, none has the URL."""
    remote.answer = answer
    app = App()
    async with serving(app):
        await _asked_again(remote)
        await _asked_again(remote)
        assert app.logger.get_effective_level() == logging.INFO
        remote.says({"serviceName": "x", "logLevel": "WARN"})
        await _asked_again(remote)
        assert app.logger.get_effective_level() == logging.WARNING
    out, err = capsys.readouterr()
    events = [json.loads(line)["message"] for line in out.splitlines()]
    assert [event for event in events if event.startswith("log.")] == [
        "log.level_unknown",
        "log.level_known_again",
        "log.level_changed",
    ]
    assert "SECRET" not in out + err


async def test_a_stopped_app_asks_no_more(remote: _Remote) -> None:
    """The thread that asks ends with the app."""
    remote.says({"serviceName": "x", "logLevel": "INFO"})
    async with serving(App()):
        await _asked_again(remote)
    await eventually(lambda: all(thread.name != "kvik-remote-level" for thread in threading.enumerate()))
