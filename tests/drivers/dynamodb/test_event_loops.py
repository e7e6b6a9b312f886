"""One driver on several event loops, one after the other or at once."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from kvik_dynamodb import DynamoDB, DynamoDBError
from support import eventually

from .conftest import PATIENT, Maker, threads_of_drivers
from .faults import FaultProxy

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def store(new_driver: Maker, table: str, dynamodb_endpoint: str) -> DynamoDB:
    """Return a driver that is not connected, as a module has one."""
    return new_driver(table, "eu-west-1", dynamodb_endpoint, **PATIENT)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_loop_for_each_invocation(store: DynamoDB, run: Run) -> None:
    """Connecting begins anew each time, and what a loop has left open at its end is closed with it."""

    async def invoke(value: str) -> str | None:
        await store.connect()
        before = await store.get("k")
        await asyncio.gather(store.set("k", value), store.increment("n", 1), store.increment("n", 1))
        return before

    assert [run(invoke(value)) for value in "abc"] == [None, "a", "b"]
    gc.collect()  # a socket that nobody has closed would fail the test

    async def end() -> None:
        assert (await store.health_check())["details"]["error"] == "another event loop"
        await store.close()
        await store.close()

    run(end())
    assert threads_of_drivers() == []


CALLS: dict[str, Callable[[DynamoDB], Coroutine[Any, Any, object]]] = {
    "get": lambda db: db.get("k"),
    "set": lambda db: db.set("k", "v"),
    "set_if": lambda db: db.set_if("k", "v", None),
    "increment": lambda db: db.increment("n", 1),
    "get_many": lambda db: db.get_many(["a", "b"]),
    "scan": lambda db: db.scan("", None, 10),
}


def test_a_call_on_a_loop_that_has_not_connected(store: DynamoDB) -> None:
    """It says so, and what to do; nothing was sent."""

    async def call(name: str) -> None:
        with pytest.raises(DynamoDBError, match="another event loop: await connect") as caught:
            await CALLS[name](store)
        assert (caught.value.code, caught.value.outcome) == ("misconfigured", "not_applied")

    asyncio.run(store.connect())
    for name in CALLS:
        asyncio.run(call(name))
    asyncio.run(store.close())


def test_a_loop_that_ended_in_the_middle_of_a_call(store: DynamoDB) -> None:
    """What was under way is gone, and the next loop waits for nothing of it."""

    async def leave() -> None:
        await store.connect()
        calls: list[Coroutine[Any, Any, object]] = [store.get("k"), store.get("k")]
        calls += [store.increment("n", 1), store.increment("n", 1)]
        _ = asyncio.gather(*calls)
        await asyncio.sleep(0)

    async def go_on() -> None:
        async with store:
            assert await store.get("k") is None
            assert await store.increment("n", 1) >= 1

    asyncio.run(leave())
    asyncio.run(go_on())


@pytest.fixture
async def elsewhere() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """Return a loop that runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()


async def test_the_loop_that_connected_last_is_served(
    behind_proxy: Maker, proxy: FaultProxy, elsewhere: asyncio.AbstractEventLoop
) -> None:
    """The one before still runs: its calls are refused, and its connections closed."""

    def there(call: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, elsewhere))

    db = behind_proxy()
    await there(db.connect())
    await there(db.set("k", "v"))
    await db.connect()
    assert await db.get("k") == "v"
    await eventually(lambda: proxy.open <= 2, "the other loop's connections are still open")
    with pytest.raises(DynamoDBError, match="another event loop"):
        await there(db.get("k"))
    await there(db.close())
    await eventually(lambda: gc.collect() >= 0 and not proxy.open, "a connection is still open")
    assert threads_of_drivers() == []
