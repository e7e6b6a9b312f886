"""Tasks that begin before whoever makes them goes on: asyncio.eager_task_factory, of Python 3.12."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvik import KV, App, Context, MemoryStore
from kvik.testing.conformance import KVStoreConformance
from kvik_sqlite import SQLite
from support import Basic, serving

FACTORY = getattr(asyncio, "eager_task_factory", None)
"""None before Python 3.12, where everything here holds as well."""


@pytest.fixture(autouse=True)
async def eager_tasks() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(FACTORY)
    yield
    loop.set_task_factory(None)


async def test_one_maker_for_a_key() -> None:
    """Concurrent callers of get_or_set share what the first makes."""
    kv, made = KV(MemoryStore()), 0

    async def make() -> str:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        return "made"

    assert await asyncio.gather(*(kv.get_or_set("k", make) for _ in range(20))) == ["made"] * 20
    assert made == 1


async def test_a_batch_of_a_store_without_one() -> None:
    """Every key is written and read, once."""
    kv = KV(Basic())
    items = {f"k{number}": str(number) for number in range(100)}
    await kv.set_many(items)
    assert await kv.get_many(items) == items
    await kv.delete_many(items)
    assert await kv.get_many(items) == {}


async def test_sqlite_answers_all(tmp_path: Path) -> None:
    """Reads and writes that are asked for at once each have their answer."""
    kv = KV(SQLite(tmp_path / "kv.db"))
    await kv.connect()
    keys = [f"k{number}" for number in range(50)]
    await asyncio.gather(*(kv.set(key, key) for key in keys))
    assert await asyncio.gather(*map(kv.get, keys)) == keys
    await kv.close()


async def test_health_is_asked_once() -> None:
    """Concurrent callers share one call of a check."""

    class Counting(Basic):
        asked = 0

        async def health_check(self) -> dict[str, str]:
            self.asked += 1
            await asyncio.sleep(0.01)
            return {"status": "UP"}

    store = Counting()
    kv = KV(store)
    answers = await asyncio.gather(*(kv.health_check() for _ in range(10)))
    assert {health.status for health in answers} == {"UP"}
    assert store.asked == 1


@pytest.mark.usefixtures("both_protocols")
async def test_requests_in_a_pipeline() -> None:
    """Hundreds at once on one connection, waiting or not: all are answered in order, and the server stops."""
    app = App()

    @app.get("/now/{number}")
    async def now(ctx: Context) -> str:
        return str(ctx.path_param("number"))

    @app.get("/later/{number}")
    async def later(ctx: Context) -> str:
        await asyncio.sleep(0)
        return str(ctx.path_param("number"))

    async with serving(app) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        paths = [f"/{'now' if number % 3 else 'later'}/{number}" for number in range(600)]
        writer.write(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        for path in paths:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length))["data"] == path.rpartition("/")[2]
        writer.close()


class TestMemoryStore(KVStoreConformance):
    """MemoryStore passes the kit."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
