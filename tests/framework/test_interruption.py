"""Handlers whose time is over, whose client has gone, and work that goes on behind the answer."""

import asyncio
import json
import threading
import time
from typing import Any

import httpx
import pytest

from kvik import App, Context, MemoryStore
from support import eventually, serving

pytestmark = pytest.mark.usefixtures("both_protocols")


async def _leave(client: httpx.AsyncClient, method: str, begun: threading.Event, content: bytes = b"") -> None:
    """Ask for /x, and close the connection when the handler has begun."""
    asked = asyncio.create_task(client.request(method, "/x", content=content))
    await eventually(begun.is_set)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_a_handler_out_of_time_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After REQUEST_TIMEOUT the answer is 408, the handler is cancelled, and no task is left."""
    monkeypatch.setenv("REQUEST_TIMEOUT", "400ms")
    ended: list[str] = []
    app = App()

    @app.get("/x")
    async def handler(_: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("handler")

    @app.get("/own")
    async def own(_: Context) -> None:
        raise TimeoutError("the handler's own")

    @app.get("/quick")
    async def quick(_: Context) -> str:
        return "quick"

    async with serving(app) as client:
        tasks = asyncio.all_tasks()
        slow, own_error, fast = [await client.get(path) for path in ("/x", "/own", "/quick")]
        assert asyncio.all_tasks() <= tasks
    assert (slow.status_code, slow.json()) == (408, {"error": {"message": "request timed out"}})
    assert (own_error.status_code, fast.status_code) == (500, 200)
    assert ended == ["handler"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines if line["message"] == "request.rejected"] == [408]


async def test_a_plain_handler_out_of_time_is_answered_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `def` handler cut by REQUEST_TIMEOUT is answered 408 at once; its thread keeps its place until it ends."""
    monkeypatch.setenv("REQUEST_TIMEOUT", "400ms")
    monkeypatch.setenv("HANDLER_THREADS", "1")
    release = threading.Event()
    calls: list[str] = []
    app = App()

    @app.get("/x")
    def handler(_: Context) -> None:
        calls.append("begun")
        release.wait(60)
        calls.append("ended")

    async with serving(app) as client:
        first = await client.get("/x")
        second = await client.get("/x")
        assert calls == ["begun"]
        release.set()
        await eventually(lambda: "ended" in calls)
        third = await client.get("/x")
    assert [first.status_code, second.status_code, third.status_code] == [408, 408, 200]


async def test_what_a_plain_handler_waits_for_ends_with_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ctx.wait` of a request that timed out is cancelled, and refuses further work."""
    monkeypatch.setenv("REQUEST_TIMEOUT", "100ms")
    seen: list[str] = []
    app = App()

    @app.get("/x")
    def handler(ctx: Context) -> None:
        for _ in range(2):
            try:
                ctx.wait(asyncio.sleep(60))
            except asyncio.CancelledError:
                seen.append("cancelled")

    async with serving(app) as client:
        assert (await client.get("/x")).status_code == 408
        await eventually(lambda: len(seen) == 2)
    assert seen == ["cancelled", "cancelled"]


async def test_a_client_that_goes_away_cancels_its_handler(capsys: pytest.CaptureFixture[str]) -> None:
    """When the client leaves, the handler is cancelled; the access line says 499, and there is no ERROR."""
    begun = threading.Event()
    ended: list[str] = []
    app = App()

    @app.post("/x")
    async def handler(ctx: Context) -> None:
        await ctx.body()
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("handler")

    async with serving(app) as client:
        tasks = asyncio.all_tasks()
        await _leave(client, "POST", begun, b"abc")
        await eventually(lambda: ended == ["handler"])
        await eventually(lambda: asyncio.all_tasks() <= tasks)
        out, err = capsys.readouterr()
    assert '"response":499' in out
    assert err == ""


async def test_a_plain_handler_is_let_finish_when_its_client_goes_away() -> None:
    """A `def` handler goes on without its client."""
    begun, release = threading.Event(), threading.Event()
    ended: list[str] = []
    app = App()

    @app.get("/x")
    def handler(_: Context) -> None:
        begun.set()
        release.wait(60)
        ended.append("handler")

    async with serving(app) as client:
        await _leave(client, "GET", begun)
        release.set()
        await eventually(lambda: ended == ["handler"])


async def test_a_slow_reader_of_its_body_is_not_disturbed() -> None:
    """The watch for the client's leaving does not take pieces of a body that the handler reads slowly."""
    app = App()

    @app.post("/x")
    async def handler(ctx: Context) -> int:
        size = 0
        async for chunk in ctx.request.stream():
            size += len(chunk)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        return size

    async def chunks() -> Any:
        for _ in range(8):
            yield b"x" * 1000
            await asyncio.sleep(0.04)

    async with serving(app) as client:
        assert (await client.post("/x", content=chunks())).json() == {"data": 8000}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_empty_body_can_be_read_late(method: str) -> None:
    """A request without a body has an empty one, also for a handler that asks for it after a while."""
    app = App()

    @app.route("/x", methods=["GET", "POST"])
    async def handler(ctx: Context) -> str:
        await asyncio.sleep(0.3)
        return (await ctx.body()).decode()

    async with serving(app) as client:
        assert (await client.request(method, "/x")).json() == {"data": ""}


async def test_a_strangers_cancellation_is_not_swallowed() -> None:
    """A handler that is cancelled by somebody else ends as cancelled, not as an answer."""
    app = App()
    tasks: list[asyncio.Task[Any]] = []

    @app.get("/x")
    async def handler(_: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        task.get_loop().call_soon(task.cancel)
        await asyncio.sleep(30)

    async with serving(app) as client:
        answer = await client.get("/x")
    assert answer.status_code == 500
    assert tasks[0].done()


async def test_background_work_runs_behind_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Functions of both kinds run after the answer; what they raise is logged with the trace id."""
    journal: list[Any] = []
    app = App()
    app.add_kv_store(MemoryStore())

    async def asynchronous(word: str) -> None:
        await asyncio.sleep(0.05)
        journal.append(word)

    def plain() -> None:
        journal.append(threading.current_thread() is threading.main_thread())

    def failing() -> None:
        raise ValueError("no")

    @app.get("/x")
    async def handler(ctx: Context) -> str:
        ctx.background(asynchronous, "done")
        ctx.background(plain)
        ctx.background(failing)
        journal.append("returned")
        return "x"

    @app.get("/refuse")
    async def refuse(ctx: Context) -> None:
        ctx.background(asynchronous, "never")
        raise ValueError

    async with serving(app) as client:
        answer = await client.get("/x")
        await client.get("/refuse")
        await eventually(lambda: len(journal) == 3)
    assert journal[0] == "returned"
    assert set(journal[1:]) == {False, "done"}
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = (line for line in lines if line["message"] == "background.failed")
    assert line["trace_id"] == answer.headers["x-correlation-id"]
    assert "failing" in line["function"]


async def test_background_work_outlives_its_client_and_is_awaited_at_the_stop() -> None:
    """Background work goes on when the client has left, and the app's stop waits for it."""
    journal: list[str] = []
    app = App()

    async def work() -> None:
        await asyncio.sleep(0.3)
        journal.append("worked")

    @app.get("/x")
    async def handler(ctx: Context) -> None:
        ctx.background(work)

    @app.on_stop
    async def stop(_: Context) -> None:
        journal.append("stop hook")

    async with serving(app) as client:
        await client.get("/x")
    assert journal == ["worked", "stop hook"]


async def test_background_work_without_end_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Background work that outlasts SHUTDOWN_GRACE_PERIOD is cancelled and logged."""
    monkeypatch.setenv("SHUTDOWN_GRACE_PERIOD", "100ms")
    app = App()

    @app.get("/x")
    async def handler(ctx: Context) -> None:
        ctx.background(asyncio.sleep, 60)

    async with serving(app) as client:
        await client.get("/x")
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (line["message"], line["tasks"]) == ("background.cut", 1)


class PlainStore:
    """A store of plain methods that take a while."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        time.sleep(0.02)
        return self.values.get(key)

    def set(self, key: str, value: str) -> None:
        time.sleep(0.02)
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    def health_check(self) -> dict[str, str]:
        return {"status": "UP"}


async def test_40_plain_handlers_over_a_plain_store_do_not_block_each_other() -> None:
    """Handler threads and store threads are not the same: as many handlers as threads still reach the store."""
    app = App()
    app.add_kv_store(PlainStore())

    @app.get("/x/{key}")
    def handler(ctx: Context) -> str:
        key = ctx.path_param("key")
        ctx.wait(ctx.kv_store.set(key, key))
        return ctx.wait(ctx.kv_store.get(key))

    async with serving(app) as client:
        answers = await asyncio.wait_for(asyncio.gather(*(client.get(f"/x/{n}") for n in range(60))), 60)
    assert [answer.json() for answer in answers] == [{"data": str(n)} for n in range(60)]
