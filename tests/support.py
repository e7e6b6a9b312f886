"""What several tests need: an app served over real HTTP, in this process or as a program of its own."""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kvik import App
from kvik._serving.engine import connection_class_for

START_TIMEOUT = 30.0
END_TIMEOUT = 25.0
"""Seconds for a program's end: many, for a slow machine, and fewer than SHUTDOWN_GRACE_PERIOD's 30."""

_TLS = ssl.create_default_context()
"""For all clients: each would make one of its own, which takes longer than most tests."""

PROTOCOL: Literal["uvicorn", "kvik"] = "uvicorn"
"""Whose HTTP protocol `serving` uses; see the fixture both_protocols."""


class _TestServer(uvicorn.Server):
    """Leave the test runner's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Look for the end ten times as often as uvicorn does, for there are many tests."""
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End without uvicorn's fixed pause, for the same reason."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.005)
        await self.lifespan.shutdown()


class Basic:
    """A driver with the four methods and nothing else."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        return self.values.get(key)

    async def set(self, key: str, value: str) -> None:
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)

    async def health_check(self) -> Mapping[str, Any]:
        return {"status": "UP", "details": {}}


def until(condition: Callable[[], Any], what: str = "it did not happen in time") -> None:
    """Wait for what another process or thread does."""
    end = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


async def eventually(condition: Callable[[], Any], what: str = "it did not happen in time") -> None:
    """Wait for what another task, thread or process does, and let the loop go on meanwhile."""
    end = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)


def free_port() -> int:
    """Give a port that nobody listens on, and that no connection and no port 0 will be given meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret; the system gives out higher ones
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the app on a free port of this process with uvicorn, set as `options` say, and give a client of it."""
    usual: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
    }
    if "http" not in options:
        usual["http"] = connection_class(app) if PROTOCOL == "kvik" and isinstance(app, App) else HttpToolsProtocol
    config = uvicorn.Config(app, **usual | options)
    server = _TestServer(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            raise AssertionError("the app did not start")
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=START_TIMEOUT, verify=_TLS) as client:
            yield client
    finally:
        server.should_exit = True
        await task


def connection_class(app: App) -> type[Any]:
    """Give what `app.run()` gives to uvicorn."""
    return connection_class_for(app._container, app._entrance.path)  # noqa: SLF001 - as App.run does


class Program:
    """Run a Python program that serves an app, on a free port, and keep what it prints.

    With options of uvicorn its `app` is served by `uvicorn main:app` instead.
    """

    def __init__(self, main: Path, log: Path, env: dict[str, str], uvicorn: Sequence[str] | None = None) -> None:
        self._log = log
        server = ["-m", "uvicorn", f"{main.stem}:app", "--host", "127.0.0.1", "--port", "0", *(uvicorn or ())]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *([str(main)] if uvicorn is None else server)],
                cwd=main.parent,
                env={**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", "METRICS_PORT": "0", **env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.url = ""
        self._told = 0

    def wait_until_ready(self) -> "Program":
        """Wait until the app answers."""
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and self.process.poll() is None:
            port = re.search(
                r"(?:Starting server on port: |Uvicorn running on https?://[\d.]+:)(\d+)", self.output
            )
            if port:
                self.url = f"http://127.0.0.1:{port[1]}"
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"{self.url}/.well-known/alive", trust_env=False, verify=_TLS).raise_for_status()
                    return self
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the program did not start:\n{self.output}")

    @property
    def output(self) -> str:
        """Give all that it has printed until now."""
        return self._log.read_text(encoding="utf-8")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Give the log lines that it has printed until now."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def news(self) -> list[str]:
        """Give the lines that it has printed since the last call."""
        with self._log.open("rb") as log:
            log.seek(self._told)
            lines = log.read().rpartition(b"\n")[0].splitlines(keepends=True)
        self._told += sum(map(len, lines)) + bool(lines)
        return [line.decode() for line in lines]

    def client(self) -> httpx.Client:
        """Give a client of it."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=START_TIMEOUT, verify=_TLS)

    def terminate(self) -> int:
        """Send SIGTERM, wait for the end, and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_TIMEOUT)

    def kill(self) -> None:
        """Send SIGKILL, as the machine's end would."""
        self.process.kill()
        self.process.wait(START_TIMEOUT)


@contextlib.contextmanager
def program(main: Path, tmp_path: Path, *, uvicorn: Sequence[str] | None = None, **env: str) -> Iterator[Program]:
    """Run a program that serves an app until it is ready, and see to its end."""
    running = Program(main, tmp_path / f"{main.parent.name}-{time.monotonic_ns()}.log", env, uvicorn)
    try:
        yield running.wait_until_ready()
    finally:
        if running.process.poll() is None:
            try:
                running.terminate()
            finally:
                running.kill()  # whatever it is stuck in, it does not outlive its test


def calls_in(readme: Path) -> list[tuple[list[str], str]]:
    """Give the curl lines of a README's console blocks, split into words, each with the answer shown below it."""
    calls: list[tuple[list[str], str]] = []
    for block in re.findall(r"```console\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL):
        for call in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = call.partition("\n")
            calls.append((shlex.split(command), answer))
    return calls


def curl(client: httpx.Client, words: list[str]) -> str:
    """Do what a curl command line of a README does, against the client's server, and return the answer's body."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-X", dest="method", default="GET")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("url")
    asked = parser.parse_args(words[1:])
    host, _, path = asked.url.partition("/")
    assert (words[0], host) == ("curl", "localhost:8000")
    headers = dict(header.split(": ", 1) for header in asked.headers)
    return client.request(asked.method, f"/{path}", headers=headers, content=asked.data).text


def answers_as_shown(answer: str, shown: str) -> bool:
    """Tell whether an answer is the one shown, in which … stands for anything."""
    return re.fullmatch(re.escape(shown).replace("…", ".+?"), answer) is not None
