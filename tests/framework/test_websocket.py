"""WebSockets over a real connection."""

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import kvik
from kvik import App, Context, MemoryStore
from support import serving


def _url(client: Any, path: str) -> str:
    return f"ws://{client.base_url.host}:{client.base_url.port}{path}"


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
