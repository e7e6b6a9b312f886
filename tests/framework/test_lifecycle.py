"""Start, stop and health of an app in this process: stores, hooks, reconnection."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from kvik import App, Context, Health, MemoryStore
from support import eventually, serving


class Recording(MemoryStore):
    """A store that writes down when it is connected and closed, and that can be out of order."""

    def __init__(self, name: str, journal: list[str], *, broken: int = 0) -> None:
        super().__init__()
        self.name = name
        self.journal = journal
        self.broken = broken
        self.attempts = 0

    async def connect(self) -> None:
        self.attempts += 1
        if self.attempts <= self.broken:
            raise ConnectionRefusedError("nobody listens; start the server")
        self.journal.append(f"connect {self.name}")

    async def close(self) -> None:
        self.journal.append(f"close {self.name}")

    async def health_check(self) -> Mapping[str, Any]:
        return {"status": "UP" if self.attempts > self.broken else "DOWN", "details": {"b": 1, "a": 2}}


async def test_stores_and_hooks_start_in_order_and_stop_in_reverse() -> None:
    """Stores connect in order of adding, then start hooks run; stop hooks run, then stores close in reverse."""
    journal: list[str] = []
    app = App()
    app.add_kv_store(Recording("one", journal))
    app.add_kv_store(Recording("two", journal), name="two")

    @app.on_start
    async def start(ctx: Context) -> None:
        await ctx.kv_store.set("seed", "1")
        journal.append("start hook")

    @app.on_start
    def second(ctx: Context) -> None:
        journal.append(f"second start hook {ctx.wait(ctx.kv_store.get('seed'))} {ctx.param('x')!r}")

    @app.on_stop
    async def stop(ctx: Context) -> None:
        journal.append(f"stop hook {await ctx.kv_store.get('seed')} {await ctx.body()!r}")

    async with serving(app):
        journal.append("serving")
    assert journal == [
        "connect one",
        "connect two",
        "start hook",
        "second start hook 1 ''",
        "serving",
        "stop hook 1 b''",
        "close two",
        "close one",
    ]


async def test_an_unreachable_store_is_logged_once_and_reconnected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The app starts without its store, is not ready, and recovers by itself."""
    monkeypatch.setattr("kvik._stores._FIRST_RETRY", 0.02)
    monkeypatch.setattr("kvik.health._KEEP_DOWN", 0.0)
    journal: list[str] = []
    app = App()
    store = Recording("db", journal, broken=10**9)
    app.add_kv_store(store)
    async with serving(app) as client:
        down = await client.get("/.well-known/ready")
        await eventually(lambda: store.attempts >= 3)
        store.broken = store.attempts
        await eventually(lambda: journal)
        up = await client.get("/.well-known/ready")
    assert (down.status_code, up.status_code) == (503, 200)
    assert down.json()["data"]["status"] == "DEGRADED"
    out, err = capsys.readouterr()
    (line,) = (json.loads(line) for line in err.splitlines() if "store" in line)
    assert (line["message"], line["code"]) == ("store.unavailable", "unavailable")
    assert line["error"] == "nobody listens; start the server"
    assert out.count("store.connected") == 1
    assert journal == ["connect db", "close db"]


async def test_stopping_while_reconnecting_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that stops while a store is out of reach ends its attempts."""
    monkeypatch.setattr("kvik._stores._FIRST_RETRY", 0.01)
    app = App()
    store = Recording("db", [], broken=10**9)
    app.add_kv_store(store)
    before = asyncio.all_tasks()
    async with serving(app):
        await eventually(lambda: store.attempts >= 2)
    assert asyncio.all_tasks() <= before


async def test_a_start_hook_that_raises_ends_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    """The server does not start, the stores are closed, the log has the stack."""
    journal: list[str] = []
    app = App()
    app.add_kv_store(Recording("db", journal))

    @app.on_start
    def start(_: Context) -> None:
        raise ValueError("no seed")

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.failed"]
    assert journal == ["connect db", "close db"]
    assert '"message":"start.failed"' in (err := capsys.readouterr().err)
    assert "no seed" in err


async def test_a_stop_hook_that_raises_does_not_keep_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """A failing stop hook is logged by its name, and the rest is stopped."""
    journal: list[str] = []
    app = App()
    app.add_kv_store(Recording("db", journal))

    @app.on_stop
    async def failing(_: Context) -> None:
        raise ValueError("no")

    @app.on_stop
    async def other(_: Context) -> None:
        journal.append("other")

    async with serving(app):
        pass
    assert journal == ["connect db", "other", "close db"]
    assert "failing" in capsys.readouterr().err


async def test_stop_hooks_and_closing_are_limited_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stop hook or a store that hangs is left behind, and the others are stopped."""
    monkeypatch.setattr("kvik._lifecycle.STOP_HOOKS_TIMEOUT", 0.05)
    monkeypatch.setattr("kvik._stores.CLOSE_TIMEOUT", 0.05)
    journal: list[str] = []

    class Hanging(Recording):
        async def close(self) -> None:
            await asyncio.Event().wait()

    class Failing(Recording):
        async def close(self) -> None:
            raise ValueError("cannot")

    app = App()
    app.add_kv_store(Recording("db", journal))
    app.add_kv_store(Hanging("hanging", []), name="hanging")
    app.add_kv_store(Failing("failing", []), name="failing")

    @app.on_stop
    async def stop(_: Context) -> None:
        await asyncio.Event().wait()

    async with serving(app):
        pass
    assert journal == ["connect db", "close db"]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == [
        "stop_hooks.timeout",
        "store.close_failed",
        "store.close_failed",
    ]
    assert [line.get("store") for line in lines] == [None, "failing", "hanging"]


async def test_health_has_gofrs_shape() -> None:
    """The report names the app, its version, its status, and each store with sorted details."""
    app = App()
    app.add_kv_store(Recording("db", []))
    async with serving(app) as client:
        alive, health = await client.get("/.well-known/alive"), await client.get("/.well-known/health")
    assert alive.content == b'{"data":{"status":"UP"}}\n'
    assert health.content == (
        b'{"data":{"kv-store":{"status":"UP","details":{"a":2,"b":1}},'
        b'"name":"kvik-app","status":"UP","version":"dev"}}\n'
    )


async def test_health_without_a_store_has_no_store() -> None:
    """An app without stores reports itself alone."""
    async with serving(App()) as client:
        answer = await client.get("/.well-known/health")
    assert answer.json() == {"data": {"name": "kvik-app", "status": "UP", "version": "dev"}}


async def test_a_storm_of_probes_is_one_check() -> None:
    """Concurrent probes share one check, and its answer is kept for a moment."""
    checks = 0

    class Counting(MemoryStore):
        async def health_check(self) -> Mapping[str, Any]:
            nonlocal checks
            checks += 1
            await asyncio.sleep(0.05)
            return {"status": "UP"}

    app = App()
    app.add_kv_store(Counting())
    async with serving(app) as client:
        await asyncio.gather(*(client.get("/.well-known/health") for _ in range(20)))
        await client.get("/.well-known/health")
    assert checks == 1


async def test_checks_run_at_once_and_a_hanging_one_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose check hangs is DOWN with the cause, and keeps no other from answering."""
    monkeypatch.setattr("kvik.health.CHECK_TIMEOUT", 0.2)
    at_once = most_at_once = 0

    class Hanging(MemoryStore):
        async def health_check(self) -> Mapping[str, Any]:
            nonlocal at_once, most_at_once
            at_once += 1
            most_at_once = max(at_once, most_at_once)
            try:
                await asyncio.Event().wait()
            finally:
                at_once -= 1
            return {}

    app = App()
    app.add_kv_store(MemoryStore())
    for name in "abcdefgh":
        app.add_kv_store(Hanging(), name=name)
    async with serving(app) as client:
        answer = (await client.get("/.well-known/health")).json()["data"]
    assert most_at_once == 8
    assert answer["kv-store"]["status"] == "UP"
    assert answer["kv-store:h"] == {"status": "DOWN", "details": {"error": "timeout"}}


async def test_health_is_what_a_handler_gets_too() -> None:
    """`ctx.kv_store.health_check()` can be returned as it is."""
    app = App()
    app.add_kv_store(MemoryStore())

    @app.get("/health")
    async def health(ctx: Context) -> Health:
        return await ctx.kv_store.health_check()

    async with serving(app) as client:
        assert (await client.get("/health")).content == b'{"data":{"status":"UP","details":{"keys":0}}}\n'
