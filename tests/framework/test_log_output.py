"""The log of a program on a pipe whose reader is slow, or stalls: lines are whole, and the service goes on."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from kvik._logs import output
from support import END_TIMEOUT, until

MAIN = """
import sys
from kvik import App

app = App()

@app.get("/fail/{rest:path}")
async def fail(ctx):
    raise ValueError("x" * 5000 + " the end")

@app.get("/{rest:path}")
async def get(ctx):
    return "ok"

app.run()
"""


class _Reader:
    """Reads a program's log, when it is told to."""

    def __init__(self, end: Any) -> None:
        self._end = end
        self._goes_on = threading.Event()
        self._goes_on.set()
        self.text = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def stall(self) -> None:
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    def lines(self) -> list[str]:
        """Give all lines, when the last process that writes has ended."""
        self.go_on()
        self._thread.join(END_TIMEOUT)
        assert self.text.endswith(b"\n")
        return self.text.decode().splitlines()

    def _read(self) -> None:
        while data := os.read(self._end, 4096):
            self.text += data
            self._goes_on.wait()


@contextmanager
def _logging_program(tmp_path: Path, kind: str = "pipe", **environ: str) -> Iterator[tuple[Any, _Reader, str]]:
    """Run the program with its log on a pipe or a socket, and give it, the reader, and its URL."""
    main = tmp_path / "main.py"
    main.write_text(MAIN)
    if kind == "pipe":
        reading, writing = os.pipe()
    else:
        reading, writing = (end.detach() for end in socket.socketpair())
    usual = {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", "METRICS_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, str(main)],
        cwd=tmp_path,
        env={**os.environ, **usual, **environ},
        stdout=writing,
        stderr=subprocess.STDOUT,
    )
    os.close(writing)
    reader = _Reader(reading)
    try:
        until(lambda: re.search(rb"port: \d+", reader.text) and _answers(_url(reader)))
        yield process, reader, _url(reader)
    finally:
        reader.go_on()
        process.kill()
        process.wait(END_TIMEOUT)
        os.close(reading)


def _url(reader: _Reader) -> str:
    port = re.search(rb"port: (\d+)", reader.text)
    assert port is not None
    return f"http://127.0.0.1:{int(port[1])}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/.well-known/alive", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _end(process: Any) -> int:
    process.send_signal(signal.SIGTERM)
    return int(process.wait(END_TIMEOUT))


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reader_that_stalls_does_not_stop_the_service(tmp_path: Path, kind: str, workers: str) -> None:
    """Requests are answered while nobody reads the log; later lines say how many others were dropped."""
    with _logging_program(tmp_path, kind, HTTP_WORKERS=workers) as (process, reader, url):
        reader.stall()
        sent = 0
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            for _ in range(400):
                for path in ("/", "/fail/x"):
                    client.get(path)
                    sent += 1
            assert client.get("/.well-known/health").is_success
        reader.go_on()
        until(lambda: b"log.lines_dropped" in reader.text)
        assert _end(process) == 0
        lines = [json.loads(line) for line in reader.lines()]
    dropped = sum(line["lines"] for line in lines if line["message"] == "log.lines_dropped")
    assert dropped > 0
    told = [line for line in lines if line["message"] in {"request", "request.failed"}]
    assert len(told) + dropped >= sent
    assert lines[-1]["message"] == "Application shutdown complete"


def test_lines_of_several_workers_are_whole(tmp_path: Path) -> None:
    """With user agents of 30 KB, long paths, long stacks and a slow reader each line is JSON, and short."""
    with _logging_program(tmp_path, HTTP_WORKERS="2") as (process, reader, url):
        threads = [threading.Thread(target=_ask_at_length, args=(url,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            reader.stall()
            time.sleep(0.02)
            reader.go_on()
            time.sleep(0.005)
        for thread in threads:
            thread.join()
        assert _end(process) == 0
        lines = reader.lines()
    assert [line for line in lines if len(line.encode()) >= 4096] == []
    events = [json.loads(line) for line in lines]
    failed = [event for event in events if event["message"] == "request.failed"]
    assert len(failed) == 60
    assert all(event["exception"].endswith("x the end") for event in failed)
    agents = {event["user_agent"] for event in events if event["message"] == "request" and "long" in event["uri"]}
    assert agents == {"a" * 512 + "…", "é" * 512 + "…"}


def _ask_at_length(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        for number in range(20):
            agent = (b"a" if number % 2 else b"\xe9") * 30_000
            path = "/fail/long" if number % 2 else "/long/" + "%c3%a9" * 3000
            client.get(path, headers={b"User-Agent": agent})


def test_one_process_writes_long_lines_whole(tmp_path: Path) -> None:
    """Where nobody else writes, a stack of any length is in the log to its end, though the reader is slow."""
    with _logging_program(tmp_path) as (process, reader, url):
        reader.stall()
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            for _ in range(50):
                client.get("/fail/" + "%c3%a9" * 3000)
        reader.go_on()
        assert _end(process) == 0
        events = [json.loads(line) for line in reader.lines()]
    failed = [event for event in events if event["message"] == "request.failed"]
    assert len(failed) == 50
    assert all("x" * 5000 in event["exception"] for event in failed)


def test_where_a_pipe_cannot_be_opened_anew_nothing_waits_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off Linux, or with another user's pipe, it is asked for room before each write; what waits comes later."""

    def refuse(*_: object) -> int:
        raise PermissionError

    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    monkeypatch.setattr(os, "open", refuse)
    with os.fdopen(writing, "w", encoding="ascii") as stream:
        for number in range(200):
            output.write_text(stream, f"{number} é {'x' * 1000}\n")
        received = b""
        while not output.catch_up():
            received += os.read(reading, 65536)
        received += os.read(reading, 1_000_000)
    output.write_text(stream, "it is closed\n")
    os.close(reading)
    assert [int(line.split()[0]) for line in received.splitlines()] == list(range(200))
    assert b"0 \\u00e9 x" in received


def test_a_hang_up_of_the_terminal_stops_in_order(tmp_path: Path) -> None:
    """On a terminal SIGHUP means that it is closed: the program does not stay behind and hold its port."""
    main = tmp_path / "main.py"
    main.write_text(MAIN)
    leader, follower = os.openpty()
    usual = {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", "METRICS_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, str(main)], cwd=tmp_path, env={**os.environ, **usual}, stdout=follower, stderr=follower
    )
    os.close(follower)
    try:
        received = b""
        while b"Starting server" not in received:
            received += os.read(leader, 4096)
        until(lambda: _is_stopped_by_hang_up(process))
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait(END_TIMEOUT)
        os.close(leader)


def _is_stopped_by_hang_up(process: Any) -> bool:
    """Wait until it handles the signal (bit SIGHUP - 1 of the mask), send it, and wait for the end."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    caught = int(re.findall(r"SigCgt:\s*(\w+)", status)[0], 16)
    if not caught & 1:
        return False
    process.send_signal(signal.SIGHUP)
    process.wait(END_TIMEOUT)
    return True
