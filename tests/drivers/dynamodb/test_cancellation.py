"""Calls that are cancelled at any of their awaits: nothing is left of them, and the store goes on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from kvik_dynamodb import DynamoDB
from support import eventually

from .cancelling import cancel_at_every_await
from .conftest import Maker
from .faults import FaultProxy, answer, drop, forward, hold

pytestmark = [
    pytest.mark.usefixtures("nothing_leaks"),
    pytest.mark.parametrize("late", [False, True], ids=["waiting", "late"]),
]

TOKEN = "A" * 22

CALLS: dict[str, Callable[[DynamoDB], Coroutine[Any, Any, object]]] = {
    "get": lambda db: db.get("k"),
    "set": lambda db: db.set("k", "1"),
    "set_expiring": lambda db: db.set_expiring("k", "1", 4e9),
    "delete": lambda db: db.delete("k"),
    "get_versioned": lambda db: db.get_versioned("k"),
    "set_if": lambda db: db.set_if("k", "1", TOKEN),
    "delete_if": lambda db: db.delete_if("k", TOKEN),
    "increment": lambda db: db.increment("number", 1),
    "get_many": lambda db: db.get_many([f"k{number}" for number in range(250)]),
    "set_many": lambda db: db.set_many({f"k{number}": "1" for number in range(60)}),
    "delete_many": lambda db: db.delete_many([f"k{number}" for number in range(60)]),
    "scan": lambda db: db.scan("", None, 10),
    "health_check": lambda db: db.health_check(),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_cancelled_at_any_await(
    behind_proxy: Maker, proxy: FaultProxy, name: str, *, late: bool
) -> None:
    """Whatever it waits for, and also when that has just come: the one connection there is serves on."""
    async with behind_proxy(max_connections=1) as db:
        assert await cancel_at_every_await(lambda: CALLS[name](db), late=late)
        await serves(db)
        await eventually(lambda: proxy.open <= 2, "more connections are open than may be")


async def test_connect_cancelled_at_any_await(behind_proxy: Maker, *, late: bool) -> None:
    """It can be called again, and then it connects."""
    async with behind_proxy(max_connections=1) as db:
        await db.close()
        assert await cancel_at_every_await(db.connect, late=late)
        await serves(db)


async def test_a_retry_cancelled_at_any_await(behind_proxy: Maker, proxy: FaultProxy, *, late: bool) -> None:
    """Also in the pause before it, and on the connection that takes a dead one's place."""
    async with behind_proxy(max_connections=1) as db:
        assert await cancel_at_every_await(lambda: set_in_vain(db, proxy), late=late)
        await serves(db)


async def set_in_vain(db: DynamoDB, proxy: FaultProxy) -> None:
    """Write to a server that fails in each way of its own."""
    proxy.script.clear()
    await db.get("k")
    proxy.script.extend([drop, answer("InternalServerError", 500), drop, forward()])
    await db.set("k", "v")


async def test_waiting_for_a_place_cancelled(behind_proxy: Maker, proxy: FaultProxy, *, late: bool) -> None:
    """One who gives up in the queue takes nobody's turn."""
    async with behind_proxy(max_connections=1) as db:
        proxy.script.append(hold)
        first = asyncio.create_task(db.set("a", "1"))
        await proxy.stalled.acquire()
        waiting = [asyncio.create_task(db.set(key, "1")) for key in "bcd"]
        await asyncio.sleep(0)
        if late:
            first.add_done_callback(lambda _: waiting[1].cancel())
        else:
            waiting[1].cancel()
        proxy.release()
        await asyncio.gather(first, *waiting, return_exceptions=True)
        await serves(db)
        assert (await db.get_many(["a", "b", "d"])) == dict.fromkeys("abd", "1")


async def serves(db: DynamoDB) -> None:
    """Find that the store does its work, several calls at once too."""
    keys = [f"k{number}" for number in range(4)]
    await asyncio.gather(*(db.set(key, key) for key in keys))
    assert await asyncio.gather(*map(db.get, keys)) == keys
    assert (await db.health_check())["status"] == "UP"
