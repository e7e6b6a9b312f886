"""WebSockets over a real connection."""

import asyncio
import json
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_in_thread

import kvik
from kvik import App, Context, MemoryStore
from kvik._requests import handshake
from support import END_TIMEOUT, eventually, program, serving


def _url(client: Any, path: str) -> str:
    return f"ws://{client.base_url.host}:{client.base_url.port}{path}"


async def _echo(ctx: Context) -> None:
    await ctx.websocket.accept()
    async for text in ctx.websocket.iter_text():
        await ctx.websocket.send_text(text)


async def _receive_bytes(ctx: Context) -> None:
    await ctx.websocket.accept()
    await ctx.websocket.receive_bytes()


async def _receive_json(ctx: Context) -> None:
    await ctx.websocket.accept()
    await ctx.websocket.receive_json()


def _app() -> App:
    app = App()
    app.add_kv_store(MemoryStore())

    @app.websocket("/echo/{room}")
    async def echo(ctx: Context) -> None:
        await ctx.websocket.accept()
        await ctx.kv_store.set("room", ctx.path_param("room"))
        async for text in ctx.websocket.iter_text():
            await ctx.websocket.send_text(f"{await ctx.kv_store.get('room')} {ctx.param('q')} {text}")

    @app.websocket("/once")
    async def once(ctx: Context) -> None:
        await ctx.websocket.accept()
        await ctx.websocket.send_text(ctx.correlation_id)

    @app.websocket("/refuse")
    async def refuse(_: Context) -> None:
        raise kvik.Forbidden("members only")

    @app.websocket("/fail")
    async def fail(ctx: Context) -> None:
        await ctx.websocket.accept()
        raise ValueError("secret")

    @app.get("/http")
    async def http(ctx: Context) -> Any:
        return ctx.websocket

    app.websocket("/text")(_echo)
    app.websocket("/bytes")(_receive_bytes)
    app.websocket("/json")(_receive_json)

    async def mounted(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"mounted {websocket.path_params['id']}")
        await websocket.close()

    app.mount("/in", Starlette(routes=[WebSocketRoute("/ws/{id}", mounted)]))
    return app


async def test_a_websocket_has_the_same_context() -> None:
    """A WebSocket's handler has path and query parameters and the stores, and ends with its client."""
    async with serving(_app()) as client, connect(_url(client, "/echo/a%2Fb?q=1"), proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "a/b 1 hello"


async def test_a_handler_that_returns_closes_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    """When the handler returns, the client sees a normal close; lines of the connection have its trace id."""
    trace = "0123456789abcdef0123456789abcdef"
    headers = {"traceparent": f"00-{trace}-0123456789abcdef-01"}
    async with (
        serving(_app()) as client,
        connect(_url(client, "/once"), additional_headers=headers, proxy=None) as socket,
    ):
        assert await socket.recv() == trace
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1000
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/refuse", 403, "members only"),
        ("/none", 404, "route not registered"),
        ("/http", 404, "route not registered"),
        ("/echo/%ff", 400, "path is not valid UTF-8"),
    ],
)
async def test_a_handshake_is_refused_like_any_request(
    path: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error before the handshake is accepted is answered with its status and the usual body, and no ERROR."""
    async with serving(_app()) as client:
        with pytest.raises(InvalidStatus) as caught:
            await connect(_url(client, path), proxy=None)
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body) == {"error": {"message": message}}
    assert capsys.readouterr().err == ""


async def test_an_error_closes_the_connection_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    """An unforeseen error closes with 1011; its text is in the log alone."""
    async with serving(_app()) as client, connect(_url(client, "/fail"), proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "Internal Server Error")
    assert "secret" in capsys.readouterr().err


async def test_mounted_applications_have_websockets_too() -> None:
    """A WebSocket below a mount reaches the mounted application."""
    async with serving(_app()) as client, connect(_url(client, "/in/ws/7"), proxy=None) as socket:
        assert await socket.recv() == "mounted 7"


async def test_there_is_no_websocket_in_a_plain_request() -> None:
    """`ctx.websocket` in another handler is a mistake of the program."""
    async with serving(_app()) as client:
        assert (await client.get("/http")).status_code == 500


def test_a_websockets_handler_is_async() -> None:
    """A plain `def` is refused where it is registered."""
    with pytest.raises(TypeError, match="the handler of a WebSocket is async def"):
        App().websocket("/x")(lambda _: None)


async def test_without_the_denial_extension_a_handshake_is_closed() -> None:
    """Under a server that cannot answer a handshake, it is closed, which is HTTP's 403."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await _app()({"type": "websocket", "path": "/none", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(
    ("path", "message", "code", "reason"),
    [
        ("/text", b"binary", 1003, "expected a text message"),
        ("/bytes", "text", 1003, "expected a binary message"),
        ("/json", b"{}", 1003, "expected a text message"),
        ("/json", "{", 1007, "expected JSON"),
    ],
)
async def test_an_unexpected_message_closes_the_connection(
    path: str, message: str | bytes, code: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the handler does not wait for is the client's mistake: a code that says so, and no ERROR."""
    async with serving(_app()) as client, connect(_url(client, path), proxy=None) as socket:
        await socket.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)
    output = capsys.readouterr()
    assert output.err == ""
    assert '"websocket.rejected"' in output.out


@pytest.mark.usefixtures("both_protocols")
@pytest.mark.parametrize("when", ["handshake", "accepted", "told"])
async def test_a_client_that_leaves_ends_its_handler(
    when: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that waits for something else, before or after it was told, is cancelled, and that is no ERROR."""
    for name in ("_BEFORE_CANCELLING", "_FOR_A_MESSAGE", "_AFTER_TELLING"):
        monkeypatch.setattr(handshake, name, 0.05)
    ended = asyncio.Event()
    received: list[str] = []
    app = App()

    @app.websocket("/work")
    async def work(ctx: Context) -> None:
        try:
            if when != "handshake":
                await ctx.websocket.accept()
            if when == "told":
                received.extend([text async for text in ctx.websocket.iter_text()])
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with serving(app) as client:
        if when == "handshake":
            with pytest.raises(TimeoutError):
                await connect(_url(client, "/work"), open_timeout=0.1, proxy=None)
        else:
            async with connect(_url(client, "/work"), proxy=None) as socket:
                await socket.send("first")
                await socket.send("second")
        await asyncio.wait_for(ended.wait(), 20)
    assert received == (["first", "second"] if when == "told" else [])
    assert capsys.readouterr().err == ""


async def test_messages_sent_before_the_client_left_are_received() -> None:
    """A handler that is slower than its client sees all that was sent before the close."""
    received: list[str] = []
    app = App()

    @app.websocket("/slow")
    async def slow(ctx: Context) -> None:
        await ctx.websocket.accept()
        async for text in ctx.websocket.iter_text():
            await asyncio.sleep(0.002)
            received.append(text)

    async with serving(app) as client:
        async with connect(_url(client, "/slow"), proxy=None) as socket:
            for number in range(50):
                await socket.send(str(number))
        await eventually(lambda: len(received) == 50)


@pytest.mark.usefixtures("both_protocols")
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://good.example", 101),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://good.example", 403),
        (None, 101),
        ("the server's own", 101),
    ],
)
@pytest.mark.parametrize("path", ["/text", "/in/ws/7"])
async def test_origins_that_are_not_listed_open_no_websocket(
    origin: str | None, status: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers leave it to the server: a page of a site that is not listed is refused, also at a mounted app."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", "https://good.example, https://other.example")
    async with serving(_app()) as client:
        url = _url(client, path)
        origin = url.replace("ws:", "http:").removesuffix(path) if origin == "the server's own" else origin
        if status == 101:
            async with connect(url, origin=origin, proxy=None):  # type: ignore[arg-type] # a str will do
                return
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin=origin, proxy=None)  # type: ignore[arg-type] # a str will do
    assert refused.value.response.status_code == status
    assert b"origin is not allowed" in refused.value.response.body


async def test_cors_middleware_leaves_websockets_to_the_listed_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    """It decides for HTTP alone: no CORS middleware looks at a handshake."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", "https://good.example")
    app = _app()
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    async with serving(app) as client:
        with pytest.raises(InvalidStatus) as refused:
            await connect(_url(client, "/text"), origin="https://evil.example", proxy=None)  # type: ignore[arg-type] # a str will do
    assert refused.value.response.status_code == 403


FLOOD = """
from kvik import App

app = App()

@app.websocket("/flood")
async def flood(ctx):
    await ctx.websocket.accept()
    while True:
        await ctx.websocket.send_text("x")

if __name__ == "__main__":
    app.run()
"""


@pytest.mark.usefixtures("both_engines")
def test_a_handler_that_sends_on_and_on_lets_others_work(tmp_path: Path) -> None:
    """However fast its client reads, other requests are answered meanwhile."""
    (tmp_path / "main.py").write_text(FLOOD)
    with program(tmp_path / "main.py", tmp_path) as running, running.client() as client:
        with connect_in_thread(running.url.replace("http", "ws") + "/flood") as websocket:
            reader = threading.Thread(target=lambda: deque(websocket, maxlen=0))
            reader.start()
            for _ in range(3):
                assert client.get("/.well-known/alive", timeout=5).status_code == 200
        reader.join(END_TIMEOUT)
        assert running.terminate() == 0
