"""Streams: who drives a source, when it is closed, and what a HEAD request makes of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kvik import App, Context, File, MemoryStore, Stream
from support import eventually, serving

pytestmark = pytest.mark.usefixtures("both_protocols")

Source = Callable[[Context], AsyncIterator[str]]

_seen: ContextVar[str] = ContextVar("seen", default="")


def _app(source: Source) -> App:
    """Serve the source in each way there is."""
    app = App()
    app.add_kv_store(MemoryStore())

    @app.get("/text")
    @app.post("/text")
    async def text(ctx: Context) -> Stream:
        return Stream(source(ctx))

    @app.get("/events")
    async def events(ctx: Context) -> Stream:
        return Stream(source(ctx), content_type="text/event-stream")

    @app.get("/starlette")
    async def starlettes(ctx: Context) -> StreamingResponse:
        return StreamingResponse(source(ctx))

    @app.get("/def")
    def plain(ctx: Context) -> Stream:
        return Stream(source(ctx))

    @app.get("/fine")
    async def fine(_: Context) -> str:
        return "fine"

    return app


WAYS = ["/text", "/events", "/starlette", "/def"]

each_way = pytest.mark.parametrize("path", WAYS)


async def _leave(client: httpx.AsyncClient, path: str, method: str = "GET", content: bytes = b"") -> None:
    """Read the first piece, and close the connection."""
    async with client.stream(method, path, content=content) as answer:
        await anext(answer.aiter_raw())


@each_way
async def test_one_task_and_one_context_drive_a_source(path: str) -> None:
    """A source may keep a deadline, a context variable or a task group open from one piece to the next."""
    tasks: set[Any] = set()

    async def source(ctx: Context) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(9), asyncio.TaskGroup():
                with ctx.kv_store.deadline(5), ctx.trace("stream"):
                    for each in ("a", "b", "c"):
                        tasks.add(asyncio.current_task())
                        _seen.set(_seen.get() + each)
                        yield each
        finally:
            tasks.add(asyncio.current_task())
            _seen.set(_seen.get() + "!")
            await asyncio.sleep(0)
            seen.append(_seen.get())

    seen: list[str] = []
    async with serving(_app(source)) as client:
        answer = await client.get(path)
    assert answer.text.replace("data: ", "").replace("\n", "") == "abc"
    assert len(tasks) == 1
    assert seen == ["abc!"]


@each_way
async def test_a_source_is_closed_at_once_when_its_client_leaves(path: str) -> None:
    """Its `finally` runs in the task that drove it, in the same context, and what it awaits there is awaited."""
    tasks: set[Any] = set()
    closed: list[str] = []

    async def source(_: Context) -> AsyncIterator[str]:
        _seen.set("source")
        tasks.add(asyncio.current_task())
        try:
            while True:
                yield "x"
                await asyncio.sleep(0.01)
        finally:
            tasks.add(asyncio.current_task())
            await asyncio.sleep(0.02)
            closed.append(_seen.get())

    async with serving(_app(source)) as client:
        await _leave(client, path)
        await asyncio.wait_for(eventually(lambda: closed), 2)
    assert closed == ["source"]
    assert len(tasks) == 1


@pytest.mark.parametrize("size", [3, 300_000])
async def test_a_client_that_leaves_is_noticed_whatever_it_has_sent(size: int) -> None:
    """Also where the handler has not read the request's body, if that has come."""
    closed = asyncio.Event()

    async def source(_: Context) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 1000
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    app = _app(source)

    @app.post("/read")
    async def read(ctx: Context) -> Stream:
        await ctx.body()
        return Stream(source(ctx))

    async with serving(app) as client:
        await _leave(client, "/text" if size < 65536 else "/read", "POST", b"x" * size)
        await asyncio.wait_for(closed.wait(), 2)


@pytest.mark.parametrize("size", [3, 300_000])
async def test_a_source_may_read_the_body_of_its_request(size: int) -> None:
    """An echo gets all that its client has sent, late and slowly as it may read."""

    async def source(ctx: Context) -> AsyncIterator[str]:
        await asyncio.sleep(0.3)  # by then the client is watched
        async for chunk in ctx.request.stream():
            yield chunk.decode()
            await asyncio.sleep(0)

    async with serving(_app(source)) as client:
        answer = await client.post("/text", content=b"x" * size)
    assert len(answer.text) == size


async def test_a_source_that_does_not_close_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a source awaits in its `finally`, it has a limit; then it is cancelled, and the request ends."""
    monkeypatch.setattr("kvik._requests.streaming.CLOSE_TIMEOUT", 0.05)
    ended: list[str] = []

    async def source(ctx: Context) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                if ctx.param("waits"):
                    await asyncio.sleep(0.01)
        finally:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cut")

    async with serving(_app(source)) as client:
        for path in ("/text?waits=1", "/events?waits=1", "/text"):
            ended.clear()
            await _leave(client, path)
            await asyncio.wait_for(eventually(lambda: ended), 2)


class _Rows:
    """An iterator that is not a generator, as of a database's client."""

    def __init__(self) -> None:
        self.closed = self.started = False

    def __aiter__(self) -> "_Rows":
        return self

    async def __anext__(self) -> str:
        self.started = True
        await asyncio.sleep(0.01)
        return "row"

    async def aclose(self) -> None:
        self.closed = True


@each_way
async def test_whatever_can_be_closed_is_closed(path: str) -> None:
    """Not generators alone: an iterator that has `aclose`, too."""
    rows = _Rows()
    async with serving(_app(lambda _: rows)) as client:
        await _leave(client, path)
        await asyncio.wait_for(eventually(lambda: rows.closed), 2)


@each_way
async def test_a_source_that_never_waits_lets_others_work(path: str) -> None:
    """Other requests are answered meanwhile, and the source ends when its client leaves."""
    closed = asyncio.Event()

    async def source(ctx: Context) -> AsyncIterator[str]:
        try:
            while True:
                yield await ctx.kv_store.get("k", default="x")
        finally:
            closed.set()

    async with serving(_app(source)) as client:
        async with client.stream("GET", path) as answer:
            await anext(answer.aiter_raw())
            assert (await client.get("/fine", timeout=5)).json() == {"data": "fine"}
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_mounted_application_that_never_waits_lets_others_work() -> None:
    """The same for Starlette's own applications."""
    pieces = itertools.count()

    async def endless() -> AsyncIterator[str]:
        while True:
            yield f"{next(pieces)} "

    async def page(_: Request) -> Response:
        return StreamingResponse(endless())

    app = _app(lambda _: _Rows())
    app.mount("/in", Starlette(routes=[Route("/page", page)]))
    async with serving(app) as client:
        async with client.stream("GET", "/in/page") as answer:
            await anext(answer.aiter_raw())
            assert (await client.get("/fine", timeout=5)).json() == {"data": "fine"}
        await asyncio.sleep(0.3)
        last = next(pieces)
        await asyncio.sleep(0.05)
        assert next(pieces) == last + 1


async def _one_connection(client: httpx.AsyncClient) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=1)
    return httpx.AsyncClient(base_url=client.base_url, trust_env=False, timeout=3, limits=limits)


async def _heads(app: App, *paths: str) -> None:
    """Ask for the heads on one connection, each followed by a GET that must get its own answer."""
    async with serving(app) as client, await _one_connection(client) as single:
        for path in paths:
            head = await single.head(path)
            assert (head.status_code, head.content) == (200, b""), path
            assert len(head.headers["x-correlation-id"]) == 32, path
            assert (await single.get("/fine")).json() == {"data": "fine"}, path


async def test_head_on_an_endless_stream_is_its_head(tmp_path: Path) -> None:
    """The answer ends with the head, on a connection that is kept, and no source ever starts."""
    sources: list[_Rows] = []

    def source(_: Context) -> _Rows:
        sources.append(_Rows())
        return sources[-1]

    (tmp_path / "page.txt").write_text("text")
    app = _app(source)
    app.add_static_files("/files", tmp_path)

    @app.get("/file")
    async def file(_: Context) -> File:
        return File(tmp_path / "page.txt")

    await _heads(app, *WAYS, "/file", "/files/page.txt")
    assert len(sources) == len(WAYS)
    assert all(each.closed and not each.started for each in sources)


class _Pieces(Response):
    """An answer of a user's own, which goes on and on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})


class _Around(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["X-Around"] = "yes"
        return response


@pytest.mark.parametrize("middleware", [None, GZipMiddleware, _Around])
async def test_head_on_whatever_streams_ends(middleware: Any) -> None:
    """Behind middleware, of a mounted application, of a response of a user's own: the head, then the end.

    What produces the body ends too, or the server would not stop.
    """

    async def endless() -> AsyncIterator[str]:
        while True:
            yield "x" * 1000
            await asyncio.sleep(0.01)

    async def page(_: Request) -> Response:
        return StreamingResponse(endless())

    app = _app(lambda _: _Rows())
    app.mount("/in", Starlette(routes=[Route("/page", page)]))

    @app.get("/pieces")
    async def pieces(_: Context) -> Response:
        return _Pieces()

    if middleware is not None:
        app.add_middleware(middleware)
    await _heads(app, *WAYS, "/in/page", "/pieces", "/fine")


async def test_the_background_of_starlettes_answer_outlives_its_client() -> None:
    """Once the answer is complete, its client may go: what Starlette runs behind it goes on."""
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.4)
        done.set()

    async def two(_: Context) -> AsyncIterator[str]:
        yield "1"
        yield "2"

    app = _app(two)

    @app.get("/x")
    async def handler(ctx: Context) -> StreamingResponse:
        return StreamingResponse(two(ctx), background=BackgroundTask(work))

    async with serving(app) as client:
        async with await _one_connection(client) as single:
            assert (await single.get("/x")).text == "12"
        await asyncio.wait_for(done.wait(), 3)


async def test_a_source_that_times_out_by_itself_breaks_its_connection() -> None:
    """A source's own TimeoutError is not taken for the stream's end."""

    async def source(_: Context) -> AsyncIterator[str]:
        yield "x"
        await asyncio.sleep(0.01)
        raise TimeoutError

    async with serving(_app(source)) as client:
        for path in WAYS:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(path, timeout=5)
