"""Background work, wherever there is a Context to start it from."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect

from kvik import App, Context, MemoryStore
from support import eventually, serving


def _app() -> App:
    app = App()
    app.add_kv_store(MemoryStore())
    return app


@pytest.mark.usefixtures("both_protocols")
async def test_a_websockets_handler_starts_it_at_once() -> None:
    """It does not wait for the connection's end, and outlives it."""
    app, done = _app(), []

    async def work() -> None:
        done.append("begun")
        await asyncio.sleep(0.1)
        done.append("ended")

    @app.websocket("/x")
    async def handler(ctx: Context) -> None:
        await ctx.websocket.accept()
        ctx.background(work)
        await ctx.websocket.receive_text()

    async with serving(app) as client, connect(f"ws://{client.base_url.host}:{client.base_url.port}/x"):
        await eventually(lambda: done == ["begun"])
    assert done == ["begun", "ended"]


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_hook_starts_it_at_once(kind: str) -> None:
    """Of a start hook and of a stop hook, whose work the stop waits for while the stores are open."""
    app, done = _app(), []

    def hook(name: str) -> Callable[[Context], Any]:
        async def work(ctx: Context) -> None:
            await asyncio.sleep(0.02)
            await ctx.kv_store.set("k", name)
            done.append(name)

        async def asynchronous(ctx: Context) -> None:
            ctx.background(work, ctx)

        def plain(ctx: Context) -> None:
            ctx.background(work, ctx)

        return plain if kind == "def" else asynchronous

    app.on_start(hook("start"))
    app.on_stop(hook("stop"))
    async with serving(app):
        await eventually(lambda: done)
    assert done == ["start", "stop"]


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_background_work_starts_more_of_it(kind: str) -> None:
    """Also at the stop, which waits for all that follows."""
    app, done = _app(), []

    async def asynchronous(ctx: Context, left: int) -> None:
        await asyncio.sleep(0.02)
        done.append(left)
        if left:
            ctx.background(asynchronous, ctx, left - 1)

    def plain(ctx: Context, left: int) -> None:
        done.append(left)
        if left:
            ctx.background(plain, ctx, left - 1)

    @app.get("/x")
    async def handler(ctx: Context) -> None:
        ctx.background(plain if kind == "def" else asynchronous, ctx, 3)

    async with serving(app) as client:
        await client.get("/x")
    assert done == [3, 2, 1, 0]


async def test_background_work_of_a_plain_handler_waits_as_the_handler_did() -> None:
    """`ctx.wait` is over with the handler's request only where that failed."""
    app, done = _app(), threading.Event()

    def work(ctx: Context) -> None:
        ctx.wait(ctx.kv_store.set("k", "background"))
        done.set()

    @app.get("/x")
    def handler(ctx: Context) -> str:
        ctx.background(work, ctx)
        return ctx.wait(ctx.kv_store.get("k", default="handler"))

    async with serving(app) as client:
        assert (await client.get("/x")).json() == {"data": "handler"}
        await eventually(done.is_set)
        assert (await client.get("/x")).json() == {"data": "background"}


async def test_it_is_refused_when_the_app_has_stopped() -> None:
    """Then the stores are closed: rather an error than work that cannot be done."""
    app = _app()
    kept: list[Any] = []

    @app.on_start
    async def start(ctx: Context) -> None:
        kept.append(ctx)

    async with serving(app):
        pass
    with pytest.raises(RuntimeError, match="the app has stopped"):
        kept[0].background(print)
    async with serving(app):
        kept[-1].background(lambda: kept.append("ran"))
    assert kept[-1] == "ran"
