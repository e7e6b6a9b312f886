"""What clients leave unfinished, and what that means for the stop, for threads and for memory."""

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support import END_TIMEOUT, Program, program, until

MAIN = """
import asyncio, os
from kvik import App, File, Raw, Stream

app = App()
BIG = "x" * 6_000_000

@app.get("/slow")
async def slow(ctx):
    os.write(1, b"at work\\n")
    await asyncio.sleep(0.5)
    return "answered"

@app.get("/big")
async def big(ctx):
    return Raw(BIG)

@app.get("/file")
async def file(ctx):
    return File("big.bin")

@app.get("/fast-stream")
async def fast_stream(ctx):
    async def source():
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            ctx.logger.info("source closed")
    return Stream(source(), content_type="text/plain")

@app.websocket("/fast-socket")
async def fast_socket(ctx):
    await ctx.websocket.accept()
    try:
        while True:
            await ctx.websocket.send_text("x" * 65536)
    finally:
        ctx.logger.info("source closed")

@app.post("/body")
async def body(ctx):
    return len(await ctx.body())

@app.post("/body-in-thread")
def body_in_thread(ctx):
    return len(ctx.wait(ctx.body()))

@app.post("/request-in-thread")
def request_in_thread(ctx):
    return len(ctx.wait(ctx.request.body()))

@app.post("/no-body-in-thread")
def no_body_in_thread(ctx):
    return "not read"

@app.get("/events")
async def events(ctx):
    return Stream(endless(), content_type="text/event-stream")

@app.get("/stream")
async def stream(ctx):
    return Stream(endless(), content_type="text/plain")

async def endless():
    while True:
        yield "tick"
        await asyncio.sleep(0.3)

@app.websocket("/socket")
async def websocket(ctx):
    await ctx.websocket.accept()
    async for text in ctx.websocket.iter_text():
        pass

@app.websocket("/waiting")
async def waiting(ctx):
    await ctx.websocket.accept()
    await asyncio.sleep(60)

@app.websocket("/never")
async def never(ctx):
    os.write(1, b"at work\\n")
    await asyncio.sleep(60)

@app.on_stop
async def stop(ctx):
    ctx.logger.info("stop hook")

if __name__ == "__main__":
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    app.run()
"""

HOST = b"Host: x\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
HANDSHAKE = HOST + UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
BODY = b" HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n12345"

UNFINISHED: list[tuple[bytes, bytes]] = [
    (b"", b""),
    (b"GET / HT", b""),
    (b"GET /socket HTTP/1.1\r\n" + UPGRADE, b""),
    (b"GET /never HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", b""),
    (b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"Content-Length: 3\r\n\r\nabc", b""),
    (b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"X: y\r\n" * 200 + b"\r\n", b""),
    (b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"X: " + b"y" * 9000 + b"\r\n\r\n", b""),
    (b"POST /body" + BODY, b""),
    (b"POST /body-in-thread" + BODY, b""),
    (b"GET /socket HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", b"101"),
    (b"GET /waiting HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", b"101"),
    (b"GET /events HTTP/1.1\r\n" + HOST + b"\r\n", b"200"),
    (b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n", b"200"),
]
"""What is sent, and the status of what is answered so far."""


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "main.py"
    path.write_text(MAIN)
    return path


@pytest.fixture(scope="module", params=["auto", "asgi"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run the program with short limits, for the tests that do not end it."""
    folder = tmp_path_factory.mktemp("running")
    (folder / "main.py").write_text(MAIN)
    (folder / "big.bin").write_bytes(b"x" * 20_000_000)
    environ = {"HTTP_ENGINE": request.param, "HEADER_TIMEOUT": "300ms", "SEND_TIMEOUT": "400ms"}
    with program(folder / "main.py", folder, **environ) as started:
        yield started


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _messages(running: Program) -> list[str]:
    return [event["message"] for event in running.events]


def _connect(running: Program, *, receive_buffer: int | None = None) -> socket.socket:
    address = httpx.URL(running.url)
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(20)
    client.connect((address.host, address.port))
    return client


# The stop


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize(("workers", "engine"), [("1", "auto"), ("2", "asgi")])
def test_no_unfinished_connection_changes_the_stop(main: Path, tmp_path: Path, workers: str, engine: str) -> None:
    """1000 connections in every unfinished state: at SIGTERM requests are answered, hooks run, the exit is 0."""
    environ = {"HTTP_WORKERS": workers, "HTTP_ENGINE": engine, "SHUTDOWN_GRACE_PERIOD": "2s"}
    with program(main, tmp_path, **environ) as running, contextlib.ExitStack() as stack:
        for _ in range(70):
            for data, status in UNFINISHED:
                client = stack.enter_context(_connect(running))
                client.sendall(data)
                if status:
                    assert client.recv(12)[9:] == status
        for _ in range(20):
            client = stack.enter_context(_connect(running, receive_buffer=4096))
            client.sendall(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        in_flight = [stack.enter_context(_connect(running)) for _ in range(10)]
        for client in in_flight:
            client.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        until(lambda: running.output.count("at work\n") == len(in_flight) + 70)
        started = time.monotonic()
        status_ = running.terminate()
        seconds = time.monotonic() - started
        assert all(b"answered" in client.recv(65536) for client in in_flight)
    assert status_ == 0, running.output[-3000:]
    assert seconds < 6  # on a machine that is busy with others
    assert _messages(running).count("stop hook") == int(workers)
    assert not [event for event in running.events if event["level"] == "ERROR"]


def test_websockets_do_not_change_the_stop_of_uvicorn(main: Path, tmp_path: Path) -> None:
    """Under `uvicorn main:app` too each WebSocket ends at once, accepted or not, and the stop hook runs."""
    with program(main, tmp_path, uvicorn=[]) as running, contextlib.ExitStack() as stack:
        for data, status in UNFINISHED:
            if UPGRADE in data:
                client = stack.enter_context(_connect(running))
                client.sendall(data)
                if status:
                    assert client.recv(12)[9:] == status
        never = stack.enter_context(_connect(running))
        never.sendall(b"GET /never HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        until(lambda: "at work\n" in running.output)
        started = time.monotonic()
        running.terminate()
        assert time.monotonic() - started < 5
        assert _rest(never).startswith(b"HTTP/1.1 503 ")
    assert _messages(running).count("stop hook") == 1
    assert not [event for event in running.events if event["level"] == "ERROR"]


# Handshakes


def test_a_handshake_that_is_no_websockets_is_400(running: Program) -> None:
    """What the WebSocket's library does not take is refused in the envelope, and the connection ends."""
    for data, _ in UNFINISHED:
        if b"abc" in data or len(data) > 1000:
            with _connect(running) as client:
                client.sendall(data)
                answer = _rest(client)
                assert answer.startswith(b"HTTP/1.1 400 "), data[-40:]
                assert b'{"error":{"message":"' in answer


def test_a_handshake_that_the_handler_never_accepts_ends(running: Program) -> None:
    """HEADER_TIMEOUT holds for all of a handshake, the handler's part too; afterwards there is no limit."""
    with _connect(running) as accepted, _connect(running) as client:
        accepted.sendall(b"GET /waiting HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        assert accepted.recv(12) == b"HTTP/1.1 101"
        client.sendall(b"GET /never HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        answer = _rest(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"WebSocket was not accepted within 0.3 seconds" in answer
        accepted.recv(4096)
        accepted.sendall(b"\x89\x80\0\0\0\0")
        assert accepted.recv(2) == b"\x8a\x00"  # a pong


def test_a_handshake_waits_for_the_answers_before_it(running: Program) -> None:
    """Behind requests that are still running, the 101 comes when they are answered, in their order."""
    with _connect(running) as client:
        request = b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n"
        client.sendall(request * 2 + b"GET /socket HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        received = b""
        while b"HTTP/1.1 101" not in received:
            received += client.recv(4096)
        assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"101"]


# Clients that do not read


@pytest.mark.parametrize("path", ["/big", "/fast-stream", "/file", "/fast-socket"])
def test_a_client_that_does_not_read_is_cut(running: Program, path: str) -> None:
    """After SEND_TIMEOUT without a byte taken the connection is gone, and what works for it ends."""
    handshake = HANDSHAKE if path == "/fast-socket" else HOST
    running.news()
    news: list[str] = []

    def has_happened(message: str) -> bool:
        news.extend(running.news())
        return any(message in line for line in news)

    with _connect(running, receive_buffer=4096) as client:
        client.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\n" + handshake + b"\r\n")
        until(lambda: has_happened("client.not_reading"))
        if path.startswith("/fast"):
            until(lambda: has_happened("source closed"))
        with pytest.raises(ConnectionResetError):
            _rest(client)


def test_a_client_that_reads_slowly_is_not_cut(running: Program) -> None:
    """Who takes some of the answer now and then has SEND_TIMEOUT anew each time."""
    with _connect(running, receive_buffer=65536) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        size = 0
        for _ in range(10):
            size += len(client.recv(400_000, socket.MSG_WAITALL))
            time.sleep(0.1)
        size += len(_rest(client))
    assert size > 6_000_000


def test_pings_without_end_take_no_memory(main: Path, tmp_path: Path) -> None:
    """A client that sends pings and reads no answers, or sends empty fragments, is not stored for."""
    with program(main, tmp_path) as running, _connect(running, receive_buffer=4096) as client:
        client.sendall(b"GET /waiting HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        assert client.recv(12) == b"HTTP/1.1 101"
        before = _memory(running)
        ping = b"\x89\xfd\0\0\0\0" + b"p" * 125
        for _ in range(16):
            client.sendall(ping * 8000)  # 16 MB in all
        client.sendall(b"\x01\x81\0\0\0\0a" + b"\x00\x80\0\0\0\0" * 400_000)
        client.sendall(ping * 8000)
        assert _memory(running) - before < 9_000


def _memory(running: Program) -> int:
    """Give the resident memory in KiB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])


def _rest(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(1_000_000):
        received += data
    return received


# Code that does not end


STUBBORN = """
import asyncio, os, time
from kvik import App, MemoryStore

app = App()

async def swallow():
    os.write(1, b"at work\\n")
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

@app.get("/swallow")
async def handler(ctx):
    await swallow()

@app.get("/block")
async def block(ctx):
    os.write(1, b"at work\\n")
    time.sleep(60)

@app.on_start
async def start(ctx):
    if os.environ.get("OWN_TASK"):
        app.task = asyncio.create_task(swallow())

if __name__ == "__main__":
    from kvik._serving import server
    server.STOP_HOOKS_TIMEOUT = server.FLUSH_TIMEOUT = 0
    server._MARGIN, server.AFTER_CANCEL = 1, 0.2
    app.run()
"""


@pytest.mark.parametrize(("path", "workers"), [("/swallow", "1"), ("/swallow", "2"), ("/block", "1"), ("", "1")])
def test_code_that_does_not_end_does_not_keep_the_process(tmp_path: Path, path: str, workers: str) -> None:
    """What swallows its cancellation, blocks the loop, or is a task of the program's own ends with the stop."""
    main = tmp_path / "main.py"
    main.write_text(STUBBORN)
    environ = {"HTTP_WORKERS": workers, "SHUTDOWN_GRACE_PERIOD": "200ms"} | ({} if path else {"OWN_TASK": "1"})
    with program(main, tmp_path, **environ) as running, contextlib.ExitStack() as stack:
        if path:
            client = stack.enter_context(_connect(running))
            client.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        until(lambda: "at work\n" in running.output)
        started = time.monotonic()
        assert running.terminate() == 1
        assert time.monotonic() - started < 5
        (overdue,) = [event for event in running.events if event["message"] == "shutdown.overdue"]
    assert ("time.sleep(60)" in overdue["stack"]) == (path == "/block")
    assert ("swallow" in overdue["tasks"]) == (not path)


WAITING_START = """
import asyncio, os, time
from kvik import App, MemoryStore

class Slow(MemoryStore):
    async def connect(self):
        if "store" in os.environ["WAITS"]:
            os.write(1, b"waiting\\n")
            await asyncio.sleep(60)

    async def close(self):
        pass

app = App()
app.add_kv_store(Slow())

@app.on_start
async def start(ctx):
    if os.environ["WAITS"] == "hook":
        os.write(1, b"waiting\\n")
        await asyncio.sleep(60)
    if os.environ["WAITS"] == "loop":
        os.write(1, b"waiting\\n")
        time.sleep(60)

@app.on_start
def start_in_thread(ctx):
    os.write(1, b"waiting\\n")
    time.sleep(60)

@app.on_stop
async def stop(ctx):
    ctx.logger.info("stop hook")

app.run()
"""


@pytest.mark.parametrize(
    ("waits", "workers", "number"),
    [
        ("hook", "1", signal.SIGTERM),
        ("hook", "2", signal.SIGTERM),
        ("thread", "1", signal.SIGTERM),
        ("thread", "2", signal.SIGINT),
        ("store", "1", signal.SIGINT),
    ],
)
def test_a_start_that_waits_is_cancelled(tmp_path: Path, waits: str, workers: str, number: int) -> None:
    """A signal amid the start ends it at once, wherever it waits, and a line says so."""
    main = tmp_path / "main.py"
    main.write_text(WAITING_START)
    starting = Program(main, tmp_path / "log", {"HTTP_WORKERS": workers, "WAITS": waits})
    try:
        until(lambda: starting.output.count("waiting\n") == int(workers))
        started = time.monotonic()
        starting.process.send_signal(number)
        assert starting.process.wait(END_TIMEOUT) == (waits == "thread")  # which is left at work
        assert time.monotonic() - started < 5
    finally:
        starting.kill()
    lines = [line for line in starting.output.splitlines() if line != "waiting"]
    assert all(line.startswith("{") for line in lines)
    assert [event["message"] for event in starting.events].count("start.cancelled") == int(workers)
    assert "worker.died" not in starting.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_that_blocks_the_loop_ends_with_the_grace_period(tmp_path: Path, workers: str) -> None:
    """Where nothing can be cancelled the process ends all the same, with the stack in its log."""
    main = tmp_path / "main.py"
    main.write_text(WAITING_START)
    environ = {"HTTP_WORKERS": workers, "WAITS": "loop", "SHUTDOWN_GRACE_PERIOD": "300ms"}
    starting = Program(main, tmp_path / "log", environ)
    try:
        until(lambda: starting.output.count("waiting\n") == int(workers))
        started = time.monotonic()
        starting.process.send_signal(signal.SIGTERM)
        assert starting.process.wait(END_TIMEOUT) == 1
        assert time.monotonic() - started < 5
    finally:
        starting.kill()
    overdue = [event for event in starting.events if event["message"] == "shutdown.overdue"]
    assert ["time.sleep(60)" in event["stack"] for event in overdue] == [True] * int(workers)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_when_a_start_hook_raises_every_line_is_json(tmp_path: Path, workers: str) -> None:
    """Off a terminal the server's own last words are in the pipeline as well."""
    main = tmp_path / "main.py"
    main.write_text(
        "from kvik import App\napp = App()\n@app.on_start\nasync def start(ctx):\n    1 / 0\napp.run()\n"
    )
    starting = Program(main, tmp_path / "log", {"HTTP_WORKERS": workers})
    assert starting.process.wait(END_TIMEOUT) == 1
    assert "ZeroDivisionError" in starting.output
    assert [line for line in starting.output.splitlines() if not line.startswith("{")] == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hang_up_changes_nothing(main: Path, tmp_path: Path, workers: str) -> None:
    """SIGHUP, to the program and its whole group, ends no process of it."""
    with program(main, tmp_path, HTTP_WORKERS=workers) as running, _connect(running) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        until(lambda: "at work\n" in running.output)
        for pid in (running.process.pid, *_children(running)):
            os.kill(pid, signal.SIGHUP)
        assert client.recv(12) == b"HTTP/1.1 200"
        assert running.terminate() == 0
        assert "worker.died" not in running.output


def _children(running: Program) -> list[int]:
    pid = running.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


# Clients that send slowly


@pytest.mark.parametrize("head", [b"Content-Length: 10\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"])
def test_a_client_that_sends_slowly_holds_no_thread(running: Program, head: bytes) -> None:
    """`def` handlers run while more slow bodies come than there are threads, and begin when theirs is whole."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(_connect(running)) for _ in range(50)]
        for client in slow:
            client.sendall(b"POST /body-in-thread HTTP/1.1\r\n" + HOST + head + b"12345")
        with running.client() as client_:
            for content in (b"123", b"", b"x" * 100_000):
                answer = client_.post("/body-in-thread", content=content, timeout=10)
                assert answer.json() == {"data": len(content)}
            assert client_.post("/request-in-thread", content=b"123").json() == {"data": 3}
            assert client_.post("/body-in-thread", content=b"x" * 5_000_000).status_code == 413
            assert client_.post("/no-body-in-thread", content=b"x" * 5_000_000).status_code == 201
        slow[0].sendall(b"\r\n5\r\n67890\r\n0\r\n\r\n" if b"chunked" in head else b"67890")
        received = b""
        while b'{"data":10}' not in received:
            received += slow[0].recv(4096)
