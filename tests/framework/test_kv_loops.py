"""Stores that outlive an event loop, as a module's do where each invocation is an `asyncio.run` of its own."""

import asyncio
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import kvik
from kvik import KV, MemoryStore
from kvik_sqlite import SQLite


class Slow(MemoryStore):
    """A store whose reads and health take as long as they are told."""

    seconds = 0.0

    async def get(self, key: str) -> str | None:
        await asyncio.sleep(self.seconds)
        return await super().get(key)

    async def health_check(self) -> Mapping[str, Any]:
        await asyncio.sleep(self.seconds)
        return await super().health_check()


class Plain:
    """A store of plain methods."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self.items.get(key)

    def set(self, key: str, value: str) -> None:
        self.items[key] = value

    def delete(self, key: str) -> None:
        del self.items[key]

    def health_check(self) -> Mapping[str, Any]:
        return {"status": "UP"}


def abandon(*operations: Any) -> None:
    """Begin the operations on a loop that ends without ending them, as no `asyncio.run` would."""
    with closing(asyncio.new_event_loop()) as loop:
        for each in operations:
            loop.create_task(each)
        loop.run_until_complete(asyncio.sleep(0.01))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own way to say so


@pytest.mark.parametrize("kind", ["memory", "plain", "sqlite"])
def test_a_store_is_good_on_every_loop(kind: str, tmp_path: Path) -> None:
    """Connected on one loop, a store reads, writes, tells its health, connects again and closes on others."""
    kv = KV({"memory": MemoryStore(), "plain": Plain(), "sqlite": SQLite(tmp_path / "a.db")}[kind])

    async def invoke(number: int, *, connect: bool) -> None:
        if connect:
            await kv.connect()
        await asyncio.gather(*(kv.set(f"{number}-{each}", str(each)) for each in range(10)))
        assert await kv.get(f"{number}-9") == "9"
        assert await kv.get_or_set(f"{number}-made", lambda: "made") == "made"
        assert (await kv.health_check()).status == "UP"

    asyncio.run(kv.connect())
    for number in range(4):
        asyncio.run(invoke(number, connect=number % 2 == 0))
    asyncio.run(kv.close())
    asyncio.run(kv.close())
    asyncio.run(invoke(9, connect=True))
    asyncio.run(kv.close())


def test_a_limit_in_time_holds_on_the_loop_after_one_that_was_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a loop left waiting when it ended does not disturb the limits of the next."""
    monkeypatch.setattr("kvik._kv.driver.OPERATION_TIMEOUT", 0.02)
    store = Slow()
    kv = KV(store)
    store.seconds = 60
    abandon(kv.get("k"))
    time.sleep(0.05)

    async def wait_in_vain() -> None:
        with pytest.raises(kvik.DeadlineExceeded):
            await kv.get("k")

    for _ in range(2):
        began = time.monotonic()
        asyncio.run(wait_in_vain())
        assert time.monotonic() - began < 2


def test_limits_in_time_hold_on_two_loops_at_once() -> None:
    """Loops of two threads that use one store each have their limits kept, whichever began last."""
    store = Slow()
    kv = KV(store)
    store.seconds = 5
    seconds: list[float] = []

    async def wait_in_vain(pause: float) -> None:
        await asyncio.sleep(pause)
        began = time.monotonic()
        with pytest.raises(kvik.DeadlineExceeded), kv.deadline(0.2):
            await kv.get("k")
        seconds.append(time.monotonic() - began)

    threads = [threading.Thread(target=asyncio.run, args=(wait_in_vain(pause),)) for pause in (0, 0.05)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seconds) == 2
    assert max(seconds) < 2


def test_what_an_abandoned_loop_was_making_is_made_again() -> None:
    """`get_or_set` does not wait for a maker whose loop is gone."""
    kv = KV(MemoryStore())

    async def make_for_ever() -> str:
        await asyncio.sleep(60)
        return "never"

    async def make() -> str:
        return await kv.get_or_set("k", lambda: "made")

    abandon(kv.get_or_set("k", make_for_ever))
    assert asyncio.run(make()) == "made"
    assert asyncio.run(make()) == "made"


def test_health_is_asked_again_after_a_loop_that_was_abandoned() -> None:
    """A health check that a loop left unanswered when it ended is none that others wait for."""
    store = Slow()
    kv = KV(store)
    store.seconds = 1
    abandon(kv.health_check())
    store.seconds = 0
    assert asyncio.run(kv.health_check()).status == "UP"
