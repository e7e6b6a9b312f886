"""What would end a thread, a task or the program, raised where a service has to go on."""

import asyncio
import concurrent.futures
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import kvik
from kvik import KV, App, Context, MemoryStore, Stream
from support import Basic, eventually, serving

both_protocols = pytest.mark.usefixtures("both_protocols")

EXITS: list[type[BaseException]] = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
REFUSED_BY_FUTURES: list[type[BaseException]] = [StopIteration, concurrent.futures.CancelledError]

each_exit = pytest.mark.parametrize("raised", EXITS, ids=lambda raised: raised.__name__)
each_in_a_thread = pytest.mark.parametrize(
    "raised", EXITS + REFUSED_BY_FUTURES, ids=lambda raised: f"{raised.__module__}.{raised.__name__}"
)


def _raise(raised: type[BaseException]) -> Any:
    raise raised


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    return [json.loads(line) for line in (captured.err + captured.out).splitlines()]


async def _is_an_enveloped_500(client: httpx.AsyncClient, path: str) -> None:
    """Ask for the path, and for another one to see that the service goes on."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (500, {"error": {"message": "Internal Server Error"}})
    assert len(answer.headers["x-correlation-id"]) == 32
    assert (await client.get("/fine")).json() == {"data": "fine"}


def _app() -> App:
    app = App()

    @app.get("/fine")
    async def fine(_: Context) -> str:
        return "fine"

    return app


@each_in_a_thread
@both_protocols
async def test_a_plain_handler_that_raises_it_is_a_500(
    raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a `def` handler raises in its thread, the answer is an enveloped 500, logged with its cause."""
    app = _app()
    app.get("/x")(lambda _: _raise(raised))
    async with serving(app) as client:
        await _is_an_enveloped_500(client, "/x")
    [failed] = [line for line in _lines(capsys) if line["message"] == "request.failed"]
    assert raised.__name__ in failed["error"]


@each_exit
@both_protocols
async def test_an_async_handler_that_raises_it_is_a_500(
    raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same in an `async def` handler, and the access line says 500, too."""
    app = _app()

    @app.get("/x")
    async def handler(_: Context) -> None:
        raise raised

    async with serving(app) as client:
        await _is_an_enveloped_500(client, "/x")
    access = [line["response"] for line in _lines(capsys) if line["message"] == "request"]
    assert access == [500, 200]


@both_protocols
@pytest.mark.parametrize("kind", ["a task of its own", "a future", "ctx.wait"])
async def test_a_cancellation_that_nobody_asked_for_is_a_500(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handler that awaits something cancelled by others is an enveloped 500, with its id, and counted as one."""
    app = _app()

    async def await_cancelled() -> None:
        future: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(9))
        if kind == "a future":
            future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    @app.get("/x")
    async def handler(_: Context) -> None:
        await await_cancelled()

    @app.get("/y")
    def plain(ctx: Context) -> None:
        ctx.wait(await_cancelled())

    async with serving(app) as client:
        await _is_an_enveloped_500(client, "/y" if kind == "ctx.wait" else "/x")
    access = [line["response"] for line in _lines(capsys) if line["message"] == "request"]
    assert access == [500, 200]


async def test_a_handler_that_cancels_itself_is_a_500_on_the_direct_protocol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the request's task is its own, nobody else can have asked for the cancellation."""
    monkeypatch.setattr("support.PROTOCOL", "kvik")
    app = _app()

    @app.get("/x")
    async def handler(_: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(9)

    async with serving(app) as client:
        await _is_an_enveloped_500(client, "/x")


@each_exit
@both_protocols
async def test_a_source_that_raises_it_breaks_its_connection_alone(
    raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """A client of a stream whose source raises it sees a broken connection; it is logged, the service goes on."""
    app = _app()

    @app.get("/x")
    async def handler(_: Context) -> Stream:
        async def source() -> AsyncIterator[str]:
            yield "first"
            await asyncio.sleep(0)
            raise raised

        return Stream(source())

    @app.get("/events")
    async def events(ctx: Context) -> Stream:
        return Stream((await handler(ctx)).source, content_type="text/event-stream")

    async with serving(app) as client:
        for path in ("/x", "/events"):
            with pytest.raises(httpx.RemoteProtocolError):
                await asyncio.wait_for(client.get(path), 5)
        assert (await client.get("/fine")).json() == {"data": "fine"}
    failed = [line["error"] for line in _lines(capsys) if line["message"] == "request.failed"]
    assert len(failed) == 2
    assert all(raised.__name__ in error for error in failed)


@each_exit
@both_protocols
async def test_a_middleware_that_raises_it_is_a_500(raised: type[BaseException]) -> None:
    """Middleware is a user's code as well."""
    app = _app()

    class Raising:
        def __init__(self, app: Callable[..., Any]) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] == "/x":
                raise raised
            await self.app(scope, receive, send)

    app.add_middleware(Raising)
    async with serving(app) as client:
        await _is_an_enveloped_500(client, "/x")


@each_in_a_thread
@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_background_work_that_raises_it_is_logged(
    kind: str, raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """Background work raises it: one line of the log, and the service goes on."""
    if kind == "async def" and raised in REFUSED_BY_FUTURES:
        return  # a coroutine raises them as any other exception
    app = _app()

    async def work() -> None:
        raise raised

    def plain_work() -> None:
        raise raised

    @app.get("/x")
    async def handler(ctx: Context) -> None:
        ctx.background(work if kind == "async def" else plain_work)

    async with serving(app) as client:
        assert (await client.get("/x")).status_code == 200
        await asyncio.sleep(0.05)
        assert (await client.get("/fine")).status_code == 200
    failed = [line for line in _lines(capsys) if line["message"] == "background.failed"]
    assert [raised.__name__ in line["exception"] for line in failed] == [True]


@each_in_a_thread
async def test_a_check_that_raises_it_is_down(raised: type[BaseException]) -> None:
    """A health check, `async def` or `def`, is DOWN at once with the name of what it raised."""
    app = _app()

    async def check() -> None:
        raise raised

    app.add_health_check("plain", lambda: _raise(raised))
    if raised in EXITS:
        app.add_health_check("async", check)
    async with serving(app) as client:
        answer = await client.get("/.well-known/health", timeout=1)
        assert (await client.get("/fine")).status_code == 200
    checks = {name: value for name, value in answer.json()["data"].items() if name in {"plain", "async"}}
    down = {"status": "DOWN", "details": {"error": raised.__name__}}
    assert checks == dict.fromkeys(checks, down)


class _Exiting(Basic):
    """A driver that raises what it was given, `async def`."""

    def __init__(self, raised: type[BaseException]) -> None:
        super().__init__()
        self.raised = raised

    async def get(self, key: str) -> str | None:
        raise self.raised

    async def health_check(self) -> Mapping[str, Any]:
        raise self.raised


class _PlainExiting:
    """The same, `def`."""

    def __init__(self, raised: type[BaseException]) -> None:
        self.raised = raised

    def get(self, key: str) -> str | None:
        raise self.raised

    def set(self, key: str, value: str) -> None:
        pass

    def delete(self, key: str) -> None:
        pass

    def health_check(self) -> Mapping[str, Any]:
        raise self.raised

    def use_logger(self, _: Any) -> None:
        raise self.raised


@each_in_a_thread
async def test_a_plain_driver_that_raises_it_has_failed(raised: type[BaseException]) -> None:
    """A `def` method that raises it is a KVError, alone and in a batch; the driver's health is DOWN."""
    app = _app()
    app.add_kv_store(_PlainExiting(raised))

    @app.get("/x")
    async def handler(ctx: Context) -> str:
        with pytest.raises(kvik.KVError, match=raised.__name__):
            await ctx.kv_store.get("k")
        with pytest.raises(kvik.KVError, match=raised.__name__):
            await ctx.kv_store.get_many(["a", "b"])
        return "failed"

    async with serving(app) as client:
        assert (await client.get("/x")).json() == {"data": "failed"}
        health = (await client.get("/.well-known/health", timeout=1)).json()["data"]
    assert health["kv-store"]["status"] == "DOWN"


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_no_key_of_a_batch_is_lost_with_it(raised: type[BaseException]) -> None:
    """Where an `async def` method raises it, a batch fails; it does not go on as if the key were missing."""
    with pytest.raises(kvik.KVError, match=raised.__name__):
        await KV(_Exiting(raised)).get_many(["a", "b"])
    if raised is not asyncio.CancelledError:  # which passes, as every cancellation does
        with pytest.raises(kvik.KVError, match=raised.__name__):
            await KV(_Exiting(raised)).get("a")


@each_in_a_thread
@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_stop_hook_that_raises_it_does_not_keep_the_others(
    kind: str, raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """The hook is logged as failed, the next one runs."""
    if kind == "async def" and raised in REFUSED_BY_FUTURES:
        return
    app, ran = _app(), []

    @app.on_stop
    async def first(_: Context) -> None:
        raise raised

    if kind == "def":
        app._lifecycle.stop_hooks[:] = [lambda _: _raise(raised)]  # noqa: SLF001 - the same in a thread

    @app.on_stop
    async def second(_: Context) -> None:
        ran.append("second")

    async with serving(app):
        pass
    assert ran == ["second"]
    assert [line["message"] for line in _lines(capsys)].count("stop_hook.failed") == 1


@each_exit
def test_a_start_hook_that_raises_it_ends_the_start_in_order(
    raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is logged, and what had started is stopped: a hook's sys.exit() leaves no store open."""
    app, ran = _app(), []

    @app.on_start
    async def start(_: Context) -> None:
        raise raised

    @app.on_stop
    async def stop(_: Context) -> None:
        ran.append("stop")

    with pytest.raises(RuntimeError, match="did not start"), app.testing():
        pass
    assert ran == ["stop"]
    assert "start.failed" in [line["message"] for line in _lines(capsys)]


@each_exit
@both_protocols
async def test_a_websockets_handler_that_raises_it_closes_its_connection_alone(
    raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the handshake it is a 500, behind it the close code 1011; both are logged."""
    app = _app()

    @app.websocket("/x")
    async def handler(ctx: Context) -> None:
        if ctx.param("accept"):
            await ctx.websocket.accept()
        raise raised

    async with serving(app) as client:
        url = f"ws://{client.base_url.host}:{client.base_url.port}/x"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        async with connect(f"{url}?accept=1") as websocket:
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
        assert (await client.get("/fine")).status_code == 200
    assert refused.value.response.status_code == 500
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    assert [line["message"] for line in _lines(capsys)].count("request.failed") == 2


def test_the_test_client_gets_the_answers_of_production() -> None:
    """Also from handlers that exit, in a thread and on the loop."""
    app = _app()
    app.add_kv_store(MemoryStore())

    @app.get("/async")
    async def handler(_: Context) -> None:
        sys.exit(3)

    app.get("/stop")(lambda _: next(iter([])))
    app.get("/exit")(lambda _: sys.exit(3))
    with app.testing() as client:
        for path in ("/async", "/stop", "/exit"):
            assert client.get(path).status_code == 500
        assert client.get("/fine").status_code == 200


async def test_a_cancelled_request_is_still_cancelled() -> None:
    """A cancellation that was asked for, by a middleware's time limit say, is not taken for an error."""
    app = _app()

    class Limit:
        def __init__(self, app: Callable[..., Any]) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                async with asyncio.timeout(0.05):
                    await self.app(scope, receive, send)
            except TimeoutError:
                await send({"type": "http.response.start", "status": 504, "headers": []})
                await send({"type": "http.response.body", "body": b""})

    app.add_middleware(Limit)
    ended = asyncio.Event()

    @app.get("/x")
    async def handler(_: Context) -> None:
        try:
            await asyncio.sleep(9)
        finally:
            ended.set()

    async with serving(app) as client:
        assert (await client.get("/x")).status_code == 504
        await eventually(ended.is_set)


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_a_store_that_raises_it_is_tried_again_and_does_not_keep_the_others(
    raised: type[BaseException], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start it is a store that cannot be reached, at the stop one that cannot be closed: others can."""
    monkeypatch.setattr("kvik._stores._FIRST_RETRY", 0.01)
    calls: list[str] = []

    class Store(Basic):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def connect(self) -> None:
            calls.append(f"connect {self.name}")
            if self.name == "bad" and calls.count("connect bad") < 3:
                raise raised

        async def close(self) -> None:
            calls.append(f"close {self.name}")
            if self.name == "bad":
                raise raised

    app = _app()
    for name in ("good", "bad"):
        app.add_kv_store(Store(name), name=name)
    async with serving(app):
        await eventually(lambda: calls.count("connect bad") == 3)
        await asyncio.sleep(0.05)
    assert calls == ["connect good", "connect bad", "connect bad", "connect bad", "close bad", "close good"]
    messages = [line["message"] for line in _lines(capsys)]
    assert messages.count("store.unavailable") == messages.count("store.close_failed") == 1


@pytest.mark.parametrize("raised", EXITS, ids=lambda raised: raised.__name__)
@both_protocols
async def test_what_a_plain_handler_waits_for_may_raise_it(raised: type[BaseException]) -> None:
    """`ctx.wait` hands it on to the handler's thread, and the loop goes on."""
    app = _app()

    async def work() -> None:
        await asyncio.sleep(0)
        raise raised

    @app.get("/x")
    def handler(ctx: Context) -> None:
        ctx.wait(work())

    async with serving(app) as client:
        await _is_an_enveloped_500(client, "/x")
