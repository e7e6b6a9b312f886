"""`app.run()` as a program of its own: signals, the port, the exit status."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support import Program, program

SLEEPY = """
import asyncio, time
from kvik import App, MemoryStore, Stream

class Stuck(MemoryStore):
    def get(self, key):
        time.sleep(60)

app = App()
app.add_kv_store(MemoryStore())
app.add_kv_store(Stuck(), name="stuck")

@app.get("/stuck")
async def stuck(ctx):
    return await ctx.kv_stores["stuck"].get("k")

@app.get("/sleep/{seconds}")
async def sleep(ctx):
    await asyncio.sleep(float(ctx.path_param("seconds")))
    return "slept"

@app.get("/block/{seconds}")
def block(ctx):
    time.sleep(float(ctx.path_param("seconds")))
    return "blocked"

@app.get("/who")
async def who(ctx):
    return [ctx.client_ip, ctx.request.url.scheme]

@app.get("/events")
async def events(ctx):
    async def endless():
        while True:
            yield "tick"
            await asyncio.sleep(0.05)
    return Stream(endless(), content_type="text/event-stream")

@app.on_stop
async def stop(ctx):
    ctx.logger.info("stop hook")

if __name__ == "__main__":
    app.run()
    print("after run", flush=True)
"""


@pytest.fixture
def sleepy(tmp_path: Path) -> Path:
    path = tmp_path / "main.py"
    path.write_text(SLEEPY)
    return path


def _messages(running: Program) -> list[str]:
    return [event["message"] for event in running.events]


def test_sigterm_answers_what_is_in_flight_and_exits_0(sleepy: Path, tmp_path: Path) -> None:
    """Requests in flight at SIGTERM are answered, nothing new is accepted, the exit status is 0."""
    with program(sleepy, tmp_path) as running, running.client() as client, ThreadPoolExecutor(20) as threads:
        paths = ["/sleep/1", "/block/1"] * 10
        answers = [threads.submit(client.get, path) for path in paths]
        time.sleep(0.5)
        assert running.terminate() == 0
        assert [answer.result().status_code for answer in answers] == [200] * 20
        with pytest.raises(httpx.ConnectError):
            client.get("/.well-known/alive")
        messages = _messages(running)
    assert messages[0].startswith("Starting server on port: ")
    assert [message for message in messages if message != "request"][1:] == [
        "Shutting down server with a timeout of 30s",
        "stop hook",
        "Application shutdown complete",
    ]
    assert "after run" in running.output


def test_ctrl_c_stops_it_too(sleepy: Path, tmp_path: Path) -> None:
    """SIGINT ends the program as SIGTERM does."""
    with program(sleepy, tmp_path) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) == 0


def test_a_request_longer_than_the_grace_period_is_cut(sleepy: Path, tmp_path: Path) -> None:
    """After SHUTDOWN_GRACE_PERIOD what remains is answered 503, the hooks run, and the exit status is 1."""
    with program(sleepy, tmp_path, SHUTDOWN_GRACE_PERIOD="300ms") as running, running.client() as client:
        answers: list[httpx.Response] = []
        caller = threading.Thread(target=lambda: answers.append(client.get("/sleep/60")))
        caller.start()
        time.sleep(0.3)
        started = time.monotonic()
        assert running.terminate() == 1
        assert time.monotonic() - started < 5
        caller.join()
        (answer,) = answers
        assert (answer.status_code, answer.json()) == (503, {"error": {"message": "server is shutting down"}})
        messages = [message for message in _messages(running) if not message.startswith("request")]
    assert messages[-3:] == ["shutdown.cut", "stop hook", "Application shutdown complete"]


def _try(client: httpx.Client, path: str = "/sleep/60") -> None:
    with contextlib.suppress(httpx.HTTPError):
        client.get(path)


@pytest.mark.parametrize("path", ["/block/60", "/stuck"])
def test_a_thread_that_does_not_end_does_not_keep_the_process(path: str, sleepy: Path, tmp_path: Path) -> None:
    """A `def` handler, or a plain store, that is still at work after the grace period is left behind."""
    with program(sleepy, tmp_path, SHUTDOWN_GRACE_PERIOD="300ms") as running, running.client() as client:
        caller = threading.Thread(target=_try, args=(client, path))
        caller.start()
        time.sleep(0.3)
        assert running.terminate() == 1
        caller.join()
        assert "Application shutdown complete" in _messages(running)


def test_a_second_signal_ends_it_at_once(sleepy: Path, tmp_path: Path) -> None:
    """The operator who asks twice does not wait for the grace period."""
    with program(sleepy, tmp_path) as running, running.client() as client:
        caller = threading.Thread(target=_try, args=(client,))
        caller.start()
        time.sleep(0.3)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        started = time.monotonic()
        assert running.terminate() == 1
        assert time.monotonic() - started < 2
        caller.join()


def test_an_idle_keep_alive_connection_does_not_delay_the_end(sleepy: Path, tmp_path: Path) -> None:
    """A connection without a request is closed at once."""
    with program(sleepy, tmp_path) as running, running.client() as client:
        client.get("/.well-known/alive")
        started = time.monotonic()
        assert running.terminate() == 0
        assert time.monotonic() - started < 5


def test_a_taken_port_exits_1_with_a_clear_line(sleepy: Path) -> None:
    """The port is looked at before anything else starts, and the line names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = subprocess.run(
            [sys.executable, str(sleepy)],
            env={**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert f'"message":"http port {port} is blocked or unreachable"' in line
    assert run.stdout == ""


def test_a_failing_start_hook_exits_1(tmp_path: Path) -> None:
    """A start hook that raises ends the program with status 1 and its stack in the log."""
    main = tmp_path / "main.py"
    main.write_text("import kvik\napp = kvik.App()\n@app.on_start\ndef start(ctx): 1 / 0\napp.run()\n")
    run = subprocess.run(
        [sys.executable, str(main)],
        env={**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == 1
    assert "start.failed" in run.stderr
    assert "ZeroDivisionError" in run.stderr


@pytest.mark.parametrize(
    ("trusted", "seen"), [("127.0.0.1", ["203.0.113.9", "https"]), ("10.0.0.1", ["127.0.0.1", "http"])]
)
def test_forwarded_headers_count_from_trusted_proxies_alone(
    trusted: str, seen: list[str], sleepy: Path, tmp_path: Path
) -> None:
    """X-Forwarded-For and -Proto are believed from FORWARDED_ALLOW_IPS, and from nobody else."""
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with program(sleepy, tmp_path, FORWARDED_ALLOW_IPS=trusted) as running, running.client() as client:
        assert client.get("/who", headers=headers).json() == {"data": seen}


def test_streams_of_events_end_at_sigterm(sleepy: Path, tmp_path: Path) -> None:
    """An endless stream of events does not use up the grace period: its client sees the end, and exit is 0."""
    with (
        program(sleepy, tmp_path) as running,
        running.client() as client,
        client.stream("GET", "/events") as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines) == "data: tick"
        running.process.send_signal(signal.SIGTERM)
        assert {*lines} <= {"data: tick", ""}
        assert running.process.wait(10) == 0


def test_ipv6(sleepy: Path, tmp_path: Path) -> None:
    """HTTP_HOST may be an IPv6 address."""
    running = Program(sleepy, tmp_path / "log", {"HTTP_HOST": "::1"})
    try:
        while "Starting server on port" not in running.output:
            time.sleep(0.02)
        port = running.events[0]["message"].rpartition(" ")[2]
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                assert httpx.get(f"http://[::1]:{port}/.well-known/alive", trust_env=False).status_code == 200
                break
            time.sleep(0.02)
        else:
            raise AssertionError(running.output)
    finally:
        running.terminate()


def test_another_asgi_server_serves_the_app_too(sleepy: Path) -> None:
    """`uvicorn main:app` starts, answers and stops the app."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port)]
    with subprocess.Popen(command, cwd=sleepy.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            for _ in range(500):
                with contextlib.suppress(httpx.TransportError):
                    answer = httpx.get(f"http://127.0.0.1:{port}/sleep/0", trust_env=False)
                    break
                time.sleep(0.02)
            assert answer.json() == {"data": "slept"}
        finally:
            process.terminate()
        assert process.stdout is not None
        assert b"stop hook" in process.stdout.read()
