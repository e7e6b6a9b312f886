"""`uvicorn main:app`: the protocol of `app.run()`, and all that uvicorn was asked for besides."""

import asyncio
import contextvars
import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kvik import App, Context
from support import END_TIMEOUT, START_TIMEOUT, program, serving, until

PROGRAM = """
import asyncio
from kvik import App, Stream

app = App()

@app.get("/")
async def who(ctx):
    return ctx.client_ip

@app.get("/slow")
async def slow(ctx):
    ctx.logger.info("begun")
    await asyncio.sleep(0.5)
    return "slow"

@app.get("/events")
async def events(ctx):
    async def endless():
        try:
            while True:
                yield "tick"
                await asyncio.sleep(0.02)
        finally:
            ctx.logger.info("source closed")
    return Stream(endless(), content_type="text/event-stream")

@app.get("/text")
async def text(ctx):
    return Stream((await events(ctx)).source)

@app.on_stop
async def stop(ctx):
    ctx.logger.info("stop hook")
"""
KVIKS = b'{"error":{"message":"malformed request'
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UVICORNS = b"Invalid HTTP request received."


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "main.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def app() -> App:
    app = App()

    @app.get("/")
    async def who(ctx: Context) -> str:
        return ctx.client_ip

    return app


def _send_nonsense(url: httpx.URL) -> bytes:
    """Send what is no request: the answer shows whose protocol it was sent to."""
    return _send(url, b"hello\r\n\r\n")


def _send(url: httpx.URL, data: bytes) -> bytes:
    """Send bytes, and give all that comes back until the server closes."""
    with socket.create_connection((url.host, url.port or 0), START_TIMEOUT) as connection:
        connection.sendall(data)
        received = b""
        while data := connection.recv(65536):
            received += data
    return received


async def _protocol_of(app: ASGIApp, **options: Any) -> bytes:
    async with serving(app, **{"http": "auto"} | options) as client:
        assert (await client.get("/")).json() == {"data": "127.0.0.1"}
        return await asyncio.to_thread(_send_nonsense, client.base_url)


async def test_it_speaks_as_app_run_does(app: App) -> None:
    """With httptools, which uvicorn chooses by itself, clients meet the limits and answers of `app.run()`."""
    for http in ("auto", "httptools"):
        assert KVIKS in await _protocol_of(app, http=http)


async def test_http_engine_asgi_leaves_uvicorn_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HTTP_ENGINE=asgi is obeyed in silence."""
    monkeypatch.setenv("HTTP_ENGINE", "asgi")
    app = App()
    app.get("/")(lambda ctx: ctx.client_ip)
    assert UVICORNS in await _protocol_of(app)
    assert "http_engine" not in capsys.readouterr().out


async def test_an_untested_uvicorn_is_left_alone(
    app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One WARNING tells of it, as under `app.run()`."""
    monkeypatch.setattr(uvicorn, "__version__", "0.999.0")
    assert UVICORNS in await _protocol_of(app)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (warning,) = [line for line in lines if line["message"] == "http_engine.asgi"]
    assert (warning["level"], warning["uvicorn"]) == ("WARNING", "0.999.0")


@pytest.mark.parametrize("http", ["h11", H11Protocol, HttpToolsProtocol])
async def test_a_protocol_that_was_asked_for_is_kept(app: App, http: Any) -> None:
    """Uvicorn's other parser, and any protocol class that it was given, serve through ASGI."""
    assert UVICORNS in await _protocol_of(app, http=http)


async def test_what_is_wrapped_around_the_app_takes_part_in_each_request(app: App) -> None:
    """An ASGI middleware of the user's between uvicorn and the app is not passed by."""
    seen: list[str] = []

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])
        await app(scope, receive, send)

    assert UVICORNS in await _protocol_of(wrapper)
    assert seen == ["lifespan", "http"]


TARGETS = (
    b"GET /",
    b"GET /?q=%20a&b",
    b"HEAD /",
    b"GET /a%20b",
    b"POST /",
    b"GET /.well-known/alive",
    b"GET /slow",
)


def test_uvicorns_access_log_is_written_where_it_is_on(main: Path, tmp_path: Path) -> None:
    """Whoever leaves it on has its lines besides the app's, the same whichever way requests take."""
    written = []
    for engine in ("auto", "asgi"):
        with program(main, tmp_path, uvicorn=[], HTTP_ENGINE=engine) as running:
            until(lambda: '"message":"request"' in running.output)  # the one that saw that it is ready
            running.news()
            _send(
                httpx.URL(running.url),
                b"".join(b"%b HTTP/1.1\r\nHost: x\r\n\r\n" % each for each in TARGETS) + LAST,
            )
            until(lambda: '"uri":"/last"' in running.output and "GET /last " in running.output)
            news = running.news()
        lines = [line.partition(" - ")[2] for line in news if line.startswith("INFO:     127.0.0.1:")]
        assert len(lines) == len(TARGETS) + 1 == len([line for line in news if '"message":"request"' in line])
        written.append(lines)
    assert written[0] == written[1]
    assert written[0][1] == '"GET /?q=%20a&b HTTP/1.1" 200 OK\n'


async def test_a_prefix_that_uvicorn_is_served_below_is_a_part_of_the_path() -> None:
    """With --root-path a handler sees the whole path, as under any ASGI server."""
    app = App()

    @app.get("/where")
    async def where(ctx: Context) -> str:
        return ctx.request.url.path

    async with serving(app, http="auto", root_path="/api") as client:
        assert (await client.get("/where")).json() == {"data": "/api/where"}


async def test_uvicorns_limit_of_requests_at_a_time_holds(app: App) -> None:
    """What it refuses is refused."""
    async with serving(app, http="auto", limit_concurrency=1) as client:
        assert (await client.get("/")).status_code == 503


async def test_a_proxy_is_believed_as_uvicorn_is_told(app: App) -> None:
    """Where it is to believe nobody, or other addresses, the client's address is the connection's."""
    for believing in ({"proxy_headers": False}, {"forwarded_allow_ips": "10.0.0.1"}):
        async with serving(app, http="auto", **believing) as client:
            answer = await client.get("/", headers={"X-Forwarded-For": "9.9.9.9"})
        assert answer.json() == {"data": "127.0.0.1"}


async def test_each_request_has_a_context_of_its_own_where_uvicorn_is_asked_for_it() -> None:
    """A context variable that was set at the app's start is not to be seen with reset_contextvars."""
    variable = contextvars.ContextVar("variable", default="unset")
    app = App()

    @app.get("/")
    async def seen(_: Context) -> str:
        return variable.get()

    variable.set("set")
    for reset, expected in ((False, "set"), (True, "unset")):
        async with serving(app, http="auto", reset_contextvars=reset) as client:
            assert (await client.get("/")).json() == {"data": expected}


def test_it_ends_as_uvicorn_does(main: Path, tmp_path: Path) -> None:
    """A request in flight at SIGTERM is answered, and the app stopped."""
    with (
        program(main, tmp_path, uvicorn=["--no-access-log"]) as running,
        running.client() as client,
        ThreadPoolExecutor(1) as threads,
    ):
        answer = threads.submit(client.get, "/slow")
        until(lambda: "begun" in running.output)
        running.terminate()
        assert answer.result().json() == {"data": "slow"}
    assert "Application shutdown complete" in running.output


_SERVER = """
import asyncio, signal, sys
from main import app

async def main():
    stop, inbox, scope = asyncio.Event(), asyncio.Queue(), {"type": "lifespan", "asgi": {}, "state": {}}
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    started = asyncio.Event()
    async def note(message):
        started.set()
    lifespan = asyncio.create_task(app(scope, inbox.get, note))
    await inbox.put({"type": "lifespan.startup"})
    await started.wait()
    async def receive():
        await asyncio.Event().wait()
    async def send(message):
        print(message["type"], flush=True)
    scope = {"type": "http", "asgi": {}, "http_version": "1.1", "method": "GET", "path": "/events", "raw_path":
        b"/events", "query_string": b"", "headers": [], "client": None, "root_path": "", "scheme": "http"}
    request = asyncio.create_task(app(scope, receive, send))
    await stop.wait()
    await request  # as Hypercorn does from Python 3.12 on, for ever
    await inbox.put({"type": "lifespan.shutdown"})
    await lifespan

asyncio.run(main())
"""


@pytest.mark.parametrize("options", [[], ["--http", "h11"], ["--loop", "asyncio", "--http", "httptools"]])
@pytest.mark.usefixtures("both_engines")
def test_streams_of_events_end_at_its_stop(main: Path, tmp_path: Path, options: list[str]) -> None:
    """SIGTERM ends the streams of events, though uvicorn waits for all requests before it tells the app."""
    with (
        program(main, tmp_path, uvicorn=["--no-access-log", *options]) as running,
        running.client() as client,
        client.stream("GET", "/events") as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines) == "data: tick"
        running.process.send_signal(signal.SIGTERM)
        assert {*lines} <= {"data: tick", ""}
        running.process.wait(END_TIMEOUT)
    messages = [event["message"] for event in running.events]
    assert messages.index("source closed") < messages.index("stop hook")


def test_streams_of_events_end_under_a_server_that_uses_its_loop_for_signals(main: Path, tmp_path: Path) -> None:
    """The same under a server like Hypercorn, whose signals come through its event loop."""
    server, log = tmp_path / "server.py", tmp_path / "log"
    server.write_text(_SERVER)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(server)], cwd=main.parent, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: "http.response.body" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_TIMEOUT) == 0
    finally:
        process.kill()
        process.wait(END_TIMEOUT)
    assert "stop hook" in log.read_text()


def test_other_streams_end_by_uvicorns_own_limit(main: Path, tmp_path: Path) -> None:
    """A stream without end that is none of events is uvicorn's to cut: by --timeout-graceful-shutdown."""
    options = ["--no-access-log", "--timeout-graceful-shutdown", "1"]
    with (
        program(main, tmp_path, uvicorn=options) as running,
        running.client() as client,
        client.stream("GET", "/text") as answer,
    ):
        pieces = answer.iter_raw()
        assert next(pieces) == b"tick"
        running.process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass
        running.process.wait(END_TIMEOUT)
    messages = [event["message"] for event in running.events]
    assert messages.index("source closed") < messages.index("stop hook")


def test_the_servers_signal_handlers_are_put_back() -> None:
    """When the app has stopped, SIGINT is handled as before; a handler that came later is left alone."""

    async def run(*, replaced: bool) -> Any:
        app, messages = App(), asyncio.Queue[dict[str, Any]]()
        started = asyncio.Event()

        async def send(_: Any) -> None:
            started.set()

        lifespan = asyncio.create_task(app({"type": "lifespan"}, messages.get, send))
        await messages.put({"type": "lifespan.startup"})
        await started.wait()
        during = signal.getsignal(signal.SIGINT)
        if replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        await messages.put({"type": "lifespan.shutdown"})
        await lifespan
        return during

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for replaced in (False, True):
            assert asyncio.run(run(replaced=replaced)) is not signal.default_int_handler
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_its_workers_serve_directly_too(main: Path, tmp_path: Path) -> None:
    """Each of `--workers 2` starts the app for itself."""
    with program(main, tmp_path, uvicorn=["--no-access-log", "--workers", "2"]) as running:
        until(lambda: running.output.count("Application startup complete") == 2)
        for _ in range(10):
            assert KVIKS in _send_nonsense(httpx.URL(running.url))
