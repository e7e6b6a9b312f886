"""Gets of one turn of the event loop share a request, and each caller keeps what is its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import EventLog, Maker
from .faults import FaultProxy, answer, stall

FACTORIES = [None, *filter(None, [getattr(asyncio, "eager_task_factory", None)])]
"""Ways to make tasks: those of Python 3.12 may begin before whoever makes them goes on."""


@pytest.fixture(params=FACTORIES, ids=["lazy", "eager"][: len(FACTORIES)], autouse=True)
async def task_factory(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Let every promise of this module be kept with either."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(request.param)
    yield
    loop.set_task_factory(None)


@pytest.fixture
async def db(behind_proxy: Maker, proxy: FaultProxy) -> AsyncIterator[DynamoDB]:
    """Give a connected driver behind the proxy, which has forgotten how it was connected."""
    async with behind_proxy() as driver:
        proxy.operations.clear()
        proxy.requests.clear()
        yield driver


@pytest.fixture
async def together(behind_proxy: Maker, proxy: FaultProxy) -> AsyncIterator[DynamoDB]:
    """Give one that makes one request of several keys."""
    async with behind_proxy(batch_reads=True) as driver:
        await driver.set_many({"a": "1", "b": "2"})
        proxy.operations.clear()
        proxy.requests.clear()
        yield driver


async def test_gets_of_one_key_share_a_request(db: DynamoDB, proxy: FaultProxy) -> None:
    """A hundred callers that want the same key at once cost one read."""
    await db.set("k", "v")
    assert await asyncio.gather(*(db.get("k") for _ in range(100))) == ["v"] * 100
    assert proxy.operations == ["PutItem", "GetItem"]


async def test_gets_of_several_keys_do_not(db: DynamoDB, proxy: FaultProxy) -> None:
    """Without batch_reads each key is read by itself, for which GetItem's permission is enough."""
    assert await asyncio.gather(*(db.get(key) for key in "ab")) == [None, None]
    assert proxy.operations == ["GetItem", "GetItem"]


async def test_a_get_joins_nothing_that_was_sent(db: DynamoDB, proxy: FaultProxy) -> None:
    """A read on its way may be older than a write that was acknowledged meanwhile, so it is not shared."""
    proxy.script.append(stall)
    old = asyncio.create_task(db.get("k"))
    await proxy.stalled.acquire()
    await db.set("k", "new")
    assert await db.get("k") == "new"
    proxy.release()
    assert await old == "new"
    assert proxy.operations.count("GetItem") == 3  # the old one was dropped, and sent again


async def test_a_shared_get_is_as_consistent_as_others(together: DynamoDB, proxy: FaultProxy) -> None:
    """One request for several keys is a strongly consistent one too."""
    await asyncio.gather(together.get("a"), together.get("b"))
    (request,) = proxy.requests
    ((part),) = request["RequestItems"].values()
    assert part["ConsistentRead"] is True


async def test_gets_of_several_keys_become_one_request(together: DynamoDB, proxy: FaultProxy) -> None:
    """With batch_reads each caller gets the value of its key, or None."""
    found = await asyncio.gather(*(together.get(key) for key in ("a", "b", "a", "missing")))
    assert found == ["1", "2", "1", None]
    assert proxy.operations == ["BatchGetItem"]


async def test_every_key_of_many_gets_is_found(together: DynamoDB, proxy: FaultProxy) -> None:
    """However many callers there are, none is answered before it has asked."""
    keys = [f"k{number}" for number in range(20)]
    await together.set_many({key: key for key in keys})
    proxy.operations.clear()
    assert await asyncio.gather(*map(together.get, keys)) == keys
    assert proxy.operations == ["BatchGetItem"]


async def test_one_get_alone_is_no_batch(together: DynamoDB, proxy: FaultProxy) -> None:
    """Nobody to share with: the usual request."""
    assert await together.get("a") == "1"
    assert await asyncio.gather(*(together.get("a") for _ in range(2))) == ["1", "1"]
    assert proxy.operations == ["GetItem", "GetItem"]


async def test_callers_share_no_exception(db: DynamoDB, proxy: FaultProxy) -> None:
    """Each has an instance of its own, which says the same, so that nobody adds to another's traceback."""
    proxy.script.append(answer("AccessDeniedException"))
    errors = await asyncio.gather(db.get("k"), db.get("k"), return_exceptions=True)
    first, second = errors
    assert isinstance(first, DynamoDBError)
    assert isinstance(second, DynamoDBError)
    assert first is not second
    assert (first.code, str(first), first.__cause__) == (second.code, str(second), second.__cause__)
    assert first.__cause__ is not None


async def test_a_key_that_fails_fails_alone(together: DynamoDB, table: str, raw: Any, proxy: FaultProxy) -> None:
    """Where one key's item is not ours to read, the others' callers have their values."""
    raw.put_item(TableName=table, Item={"pk": {"S": "odd"}, "value": {"N": "1"}})
    odd, a, missing = await asyncio.gather(
        *(together.get(key) for key in ("odd", "a", "missing")), return_exceptions=True
    )
    assert isinstance(odd, DynamoDBError)
    assert (odd.code, a, missing) == ("corrupt", "1", None)
    assert proxy.operations == ["BatchGetItem"]


async def test_a_caller_that_leaves_takes_nothing_from_others(db: DynamoDB, proxy: FaultProxy) -> None:
    """Whoever is cancelled, first or last, the others get their value."""
    await db.set("k", "v")
    for leaving in range(3):
        calls = [asyncio.create_task(db.get("k")) for _ in range(3)]
        await asyncio.sleep(0)
        calls[leaving].cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [value for value in found if value == "v"] == ["v", "v"]
    assert proxy.operations == ["PutItem", *["GetItem"] * 3]


async def test_the_last_to_leave_ends_the_request(db: DynamoDB, proxy: FaultProxy) -> None:
    """When nobody wants it any more the request is given up, and its task with it."""
    before = asyncio.all_tasks()
    proxy.script.append(stall)
    calls = [asyncio.create_task(db.get("k")) for _ in range(2)]
    await proxy.stalled.acquire()
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await asyncio.sleep(0)
    ours = [task for task in asyncio.all_tasks() - before if "_Group" in repr(task.get_coro())]
    assert ours == []
    proxy.release()
    await db.set("k", "v")
    assert await db.get("k") == "v"


async def test_each_caller_keeps_its_own_time(db: DynamoDB, proxy: FaultProxy) -> None:
    """The hurried one gives up in time, and the patient one waits on."""
    await db.set("k", "v")
    times = iter([0.2, 20.0])
    db.use_deadline(lambda: next(times))
    proxy.script.append(stall)
    hurried, patient = (asyncio.create_task(db.get("k")) for _ in range(2))
    with pytest.raises(DynamoDBError) as caught:
        await hurried
    assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "not_applied")
    assert not patient.done()
    proxy.release()
    assert await patient == "v"


async def test_a_wrong_key_joins_nobody(db: DynamoDB, proxy: FaultProxy) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(DynamoDBError) as caught:
        await db.get("")
    assert caught.value.code == "invalid_key"
    assert proxy.operations == []


async def test_a_retry_of_a_shared_get_is_one_retry(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """What is sent for several callers is retried once for all of them."""
    log, db = EventLog(), behind_proxy()
    db.use_logger(log)
    async with db:
        proxy.script.append(answer("InternalServerError", 500))
        assert await asyncio.gather(*(db.get("k") for _ in range(10))) == [None] * 10
    assert [event for event, _ in log.warnings] == ["dynamodb.retry"]
