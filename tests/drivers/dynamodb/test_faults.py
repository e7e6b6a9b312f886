"""What happens when the server or the network fails, through a proxy that makes the faults."""

import asyncio

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import EventLog, Maker
from .faults import (
    Fault,
    FaultProxy,
    answer,
    cut_reply,
    cut_reply_without_crc,
    drop,
    lose_reply,
    stall,
    web_page,
    wrong_crc,
)

THROTTLE = answer("ProvisionedThroughputExceededException")


@pytest.mark.parametrize(
    "fault",
    [
        answer("InternalServerError", 500),
        answer("ServiceUnavailable", 503),
        drop,
        lose_reply,
        cut_reply,
        cut_reply_without_crc,
        wrong_crc,
        web_page,
    ],
)
async def test_a_passing_fault_is_survived(behind_proxy: Maker, proxy: FaultProxy, fault: Fault) -> None:
    """Two faults in a row are retried; the right answer comes, never a miss that is none."""
    async with behind_proxy() as db:
        for call in (db.set("k", "v"), db.get("k"), db.delete("k")):
            proxy.script.extend([fault, fault])
            assert await call in {None, "v"}
        proxy.script.extend([fault, fault])
        await db.set("k", "w")
        proxy.script.extend([fault, fault])
        assert await db.get("k") == "w"


@pytest.mark.parametrize("fault", [lose_reply, drop, cut_reply, wrong_crc, answer("InternalServerError", 500)])
async def test_a_lasting_fault_is_unavailable(behind_proxy: Maker, proxy: FaultProxy, fault: Fault) -> None:
    """Four failed attempts end the call: unavailable, and nobody knows whether the write was applied."""
    async with behind_proxy() as db:
        proxy.script.extend([fault] * 5)  # one more, for a kept connection that dies is replaced before it counts
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        error = caught.value
        assert (error.code, error.outcome, error.retryable) == ("unavailable", "unknown", True)
        assert error.__cause__ is not None


@pytest.mark.usefixtures("quick_throttling")
async def test_throttling_is_waited_out(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A table that throttles for a while is retried."""
    async with behind_proxy() as db:
        proxy.script.extend([THROTTLE] * 3)
        await db.set("k", "v")
        assert await db.get("k") == "v"


@pytest.mark.usefixtures("quick_throttling")
async def test_lasting_throttling_changed_nothing(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A table that goes on throttling is an error with the reason; nothing was written."""
    async with behind_proxy() as db:
        proxy.script.extend([THROTTLE] * 4)
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        error = caught.value
        assert (error.code, error.outcome) == ("throttled", "not_applied")
        assert error.reason == "ProvisionedThroughputExceededException"
        assert await db.get("k") is None


async def test_retry_after_reaches_the_caller(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A pause longer than the deadline is not waited for, and told."""
    async with behind_proxy() as db:
        proxy.script.append(answer("ThrottlingException", headers={"x-amz-retry-after": "60000"}))
        with pytest.raises(DynamoDBError) as caught:
            await db.get("k")
        assert caught.value.retry_after == 60.0


async def test_a_lost_reply_makes_a_later_refusal_unknown(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """The first attempt was applied, though the second was refused: the outcome is unknown."""
    async with behind_proxy() as db:
        proxy.script.extend([lose_reply, answer("AccessDeniedException")])
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        assert (caught.value.code, caught.value.outcome) == ("access_denied", "unknown")
        assert await db.get("k") == "v"


async def test_a_stalled_server_is_bounded_in_time(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A server that never answers costs the time that there is, and no more."""
    async with behind_proxy() as db:
        proxy.script.append(stall)
        db.use_deadline(lambda: 0.3)
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "unknown")
        proxy.release()


async def test_a_stalled_attempt_is_given_up_for_another(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """One attempt has the read timeout alone, so that the next still has time."""
    async with behind_proxy(read_timeout=1.0) as db:
        proxy.script.append(stall)
        await db.set("k", "v")
        assert await db.get("k") == "v"


async def test_waiting_for_a_connection_is_bounded_in_time(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A call that finds no connection free within its time was never sent, and says so."""
    async with behind_proxy(max_connections=1) as db:
        proxy.script.append(stall)
        sent = asyncio.create_task(db.set("a", "1"))
        await proxy.stalled.acquire()
        db.use_deadline(lambda: 0.1)
        with pytest.raises(DynamoDBError) as caught:
            await db.set("b", "2")
        assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "not_applied")
        assert "max_connections" in str(caught.value)
        db.use_deadline(lambda: None)
        proxy.release()
        await sent
        assert await db.get_many(["a", "b"]) == {"a": "1"}


async def test_cancelling_a_call_keeps_the_store_usable(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A cancelled call raises CancelledError at once; its connection serves others when it is free again."""
    async with behind_proxy(max_connections=1) as db:
        proxy.script.append(stall)
        task = asyncio.create_task(db.get("k"))
        await proxy.stalled.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.release()
        await db.set("k", "v")
        assert await db.get("k") == "v"


async def test_cancelling_at_any_moment_keeps_the_store_usable(db: DynamoDB) -> None:
    """Calls cancelled after any number of turns of the loop leave nothing behind."""
    for turns in range(30):
        task = asyncio.create_task(db.set("k", str(turns)))
        await asyncio.sleep(turns / 5000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await db.set("other", "v")
    assert await db.get("other") == "v"


async def test_more_calls_than_connections_all_succeed(db: DynamoDB) -> None:
    """Calls beyond the pool wait for their turn."""
    await asyncio.gather(*(db.set(f"k{number}", str(number)) for number in range(100)))
    values = await asyncio.gather(*(db.get(f"k{number}") for number in range(100)))
    assert values == [str(number) for number in range(100)]


async def test_a_waiting_call_does_not_block_the_loop(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """While a call waits for a stalled server, other tasks run: the server itself is one of them here."""
    async with behind_proxy() as db:
        proxy.script.append(stall)
        call = asyncio.create_task(db.get("k"))
        await proxy.stalled.acquire()
        assert not call.done()
        proxy.release()
        assert await call is None


async def test_retries_are_logged(behind_proxy: Maker, proxy: FaultProxy, table: str) -> None:
    """A retry is an event with fields, none of which holds a key or value."""
    log, db = EventLog(), behind_proxy()
    db.use_logger(log)
    async with db:
        proxy.script.append(answer("InternalServerError", 500))
        await db.set("k", "v")
    (event, fields), *others = log.warnings
    assert others == []
    assert fields.pop("pause_ms") <= 25
    assert (event, fields) == (
        "dynamodb.retry",
        {
            "operation": "PutItem",
            "table": table,
            "attempt": 1,
            "code": "unavailable",
            "reason": "InternalServerError",
        },
    )


@pytest.mark.parametrize("consistent", [True, False])
async def test_reads_are_as_consistent_as_configured(
    behind_proxy: Maker, proxy: FaultProxy, *, consistent: bool
) -> None:
    """ConsistentRead is on the request, since no local server shows the difference."""
    async with behind_proxy(consistent_reads=consistent) as db:
        await db.get("k")
    assert proxy.requests[-1]["ConsistentRead"] is consistent
