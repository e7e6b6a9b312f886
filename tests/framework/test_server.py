"""`app.run()` as a program of its own: signals, the port, the exit status."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support import END_TIMEOUT, START_TIMEOUT, Program, program, until

SLEEPY = """
import asyncio, os, time
from kvik import App, MemoryStore, Stream

def at_work():
    os.write(1, b"at work\\n")  # one write, which no other thread's can come between

class Stuck(MemoryStore):
    def get(self, key):
        at_work()
        time.sleep(60)

app = App()
app.add_kv_store(MemoryStore())
app.add_kv_store(Stuck(), name="stuck")

@app.get("/stuck")
async def stuck(ctx):
    return await ctx.kv_stores["stuck"].get("k")

@app.get("/sleep/{seconds}")
async def sleep(ctx):
    at_work()
    await asyncio.sleep(float(ctx.path_param("seconds")))
    return "slept"

@app.get("/block/{seconds}")
def block(ctx):
    at_work()
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


@pytest.mark.usefixtures("both_engines")
def test_sigterm_answers_what_is_in_flight_and_exits_0(sleepy: Path, tmp_path: Path) -> None:
    """Requests in flight at SIGTERM are answered, nothing new is accepted, the exit status is 0."""
    with program(sleepy, tmp_path) as running, running.client() as client, ThreadPoolExecutor(20) as threads:
        paths = ["/sleep/0.7", "/block/0.7"] * 10
        answers = [threads.submit(client.get, path) for path in paths]
        _until_at_work(running, 20)
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


def _until_at_work(running: Program, count: int = 1) -> None:
    until(lambda: running.output.count("at work\n") >= count, "the requests have not arrived")


def test_ctrl_c_stops_it_too(sleepy: Path, tmp_path: Path) -> None:
    """SIGINT ends the program as SIGTERM does."""
    with program(sleepy, tmp_path) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(END_TIMEOUT) == 0


@pytest.mark.usefixtures("both_engines")
def test_a_request_longer_than_the_grace_period_is_cut(sleepy: Path, tmp_path: Path) -> None:
    """After SHUTDOWN_GRACE_PERIOD what remains is answered 503, the hooks run, and the exit status is 1."""
    with program(sleepy, tmp_path, SHUTDOWN_GRACE_PERIOD="300ms") as running, running.client() as client:
        answers: list[httpx.Response] = []
        caller = threading.Thread(target=lambda: answers.append(client.get("/sleep/60")))
        caller.start()
        _until_at_work(running)
        assert running.terminate() == 1
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
        _until_at_work(running)
        assert running.terminate() == 1
        caller.join()
        assert "Application shutdown complete" in _messages(running)


def test_a_second_signal_ends_it_at_once(sleepy: Path, tmp_path: Path) -> None:
    """The operator who asks twice does not wait for the grace period."""
    with program(sleepy, tmp_path) as running, running.client() as client:
        caller = threading.Thread(target=_try, args=(client,))
        caller.start()
        _until_at_work(running)
        running.process.send_signal(signal.SIGTERM)
        until(lambda: any(message.startswith("Shutting down") for message in _messages(running)))
        assert running.terminate() == 1  # and not after the grace period, which END_TIMEOUT is below
        caller.join()


@pytest.mark.usefixtures("both_engines")
def test_an_idle_keep_alive_connection_does_not_delay_the_end(sleepy: Path, tmp_path: Path) -> None:
    """A connection without a request is closed at once."""
    with program(sleepy, tmp_path) as running, running.client() as client:
        client.get("/.well-known/alive")
        assert running.terminate() == 0


def test_a_taken_port_exits_1_with_a_clear_line(sleepy: Path) -> None:
    """The port is looked at before anything else starts, and the line names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = subprocess.run(
            [sys.executable, str(sleepy)],
            env={**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
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
        timeout=START_TIMEOUT,
        check=False,
    )
    assert run.returncode == 1
    assert "start.failed" in run.stderr
    assert "ZeroDivisionError" in run.stderr


@pytest.mark.usefixtures("both_engines")
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


@pytest.mark.usefixtures("both_engines")
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
        assert running.process.wait(END_TIMEOUT) == 0


def test_ipv6(sleepy: Path, tmp_path: Path) -> None:
    """HTTP_HOST may be an IPv6 address."""
    running = Program(sleepy, tmp_path / "log", {"HTTP_HOST": "::1"})
    try:
        until(lambda: "Starting server on port" in running.output)
        port = running.events[0]["message"].rpartition(" ")[2]
        until(lambda: _status(f"http://[::1]:{port}/.well-known/alive") == 200, "no answer")
    finally:
        running.terminate()


def _status(url: str) -> int:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, trust_env=False).status_code
    return 0


def test_another_asgi_server_serves_the_app_too(sleepy: Path, tmp_path: Path) -> None:
    """`uvicorn main:app` starts, answers and stops the app."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=sleepy.parent, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: "Uvicorn running on" in log.read_text(), "uvicorn did not start")
        (url,) = re.findall(r"Uvicorn running on (http://[\d.:]+)", log.read_text())
        answer = httpx.get(f"{url}/sleep/0", trust_env=False, timeout=START_TIMEOUT)
        assert answer.json() == {"data": "slept"}
        process.terminate()
        process.wait(END_TIMEOUT)
    finally:
        process.kill()
        process.wait(END_TIMEOUT)
    assert "stop hook" in log.read_text()


# Where `app.run()` may be called


def _run(folder: Path, program: str, *command: str) -> "subprocess.CompletedProcess[str]":
    (folder / "main.py").write_text(program)
    return subprocess.run(
        [sys.executable, *(command or ("main.py",))],
        cwd=folder,
        env={**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", "METRICS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )


_AT_IMPORT = "from kvik import App\napp = App()\napp.run()\n"


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "uvicorn", "main:app", "--port", "0"),
        ("-c", "import main"),
        (
            "-c",
            "import asyncio, importlib\nasync def load(): importlib.import_module('main')\nasyncio.run(load())",
        ),
    ],
)
def test_run_at_import_is_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    """A module that calls `app.run()` when it is imported does not serve beside its server; the error says why."""
    run = _run(tmp_path, _AT_IMPORT, *command)
    assert run.returncode == 1
    assert "app.run() was called while main was being imported" in run.stderr
    assert 'if __name__ == "__main__":' in run.stderr
    assert "Starting server" not in run.stdout


def test_run_in_a_spawned_process_is_refused(tmp_path: Path) -> None:
    """A process that multiprocessing spawns imports the program, and must not serve it."""
    run = _run(
        tmp_path,
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=print)\n"
        "    child.start()\n    child.join()\n    raise SystemExit(child.exitcode)\n" + _AT_IMPORT,
    )
    assert run.returncode == 1
    assert "app.run() was called while __mp_main__ was being imported" in run.stderr


STOPS_ITSELF = """
@app.on_start
async def stop(ctx): os.kill(os.getpid(), 15)
"""


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        ("async def main(): app.run()\nasyncio.run(main())", "await uvicorn.Server(uvicorn.Config(app)).serve()"),
        ("ThreadPoolExecutor().submit(app.run).result()", "uvicorn.Server(uvicorn.Config(app)).run()"),
        (f"{STOPS_ITSELF}app.run()\napp.run()", "make another App"),
    ],
    ids=["running loop", "thread", "twice"],
)
def test_run_where_it_cannot_serve_is_refused(call: str, instead: str, tmp_path: Path) -> None:
    """In a running loop, in another thread and a second time `app.run()` raises and says what to do instead."""
    imports = "import asyncio, os\nfrom concurrent.futures import ThreadPoolExecutor\n"
    run = _run(tmp_path, f"{imports}from kvik import App\napp = App()\n{call}\n")
    assert run.returncode == 1
    assert "RuntimeError: app.run()" in run.stderr
    assert instead in run.stderr
