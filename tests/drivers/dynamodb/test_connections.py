"""Connections that are refused, reset, or closed while idle."""

import asyncio

import pytest

from kvik_dynamodb import DynamoDBError
from support import eventually

from .conftest import EventLog, Maker
from .faults import (
    Exchange,
    Fault,
    FaultProxy,
    answer,
    cut_reply,
    cut_reply_by_reset,
    drop,
    drop_by_reset,
    hold,
    lose_reply_by_reset,
)

pytestmark = pytest.mark.usefixtures("nothing_leaks")

RESETS = [drop_by_reset, lose_reply_by_reset, cut_reply_by_reset]


@pytest.mark.parametrize("fault", RESETS)
async def test_a_passing_reset_is_survived(behind_proxy: Maker, proxy: FaultProxy, fault: Fault) -> None:
    """Two resets in a row, after the request or in the middle of the answer: the right answer comes."""
    async with behind_proxy() as db:
        for number in ("1", "2"):
            proxy.script.extend([fault, fault])
            await db.set("k", number)
            proxy.script.extend([fault, fault])
            assert await db.get("k") == number
        proxy.script.extend([fault, fault])
        assert await db.increment("k", 5) == 7
        proxy.script.extend([fault, fault])
        await db.delete("k")
        assert await db.get("k") is None


@pytest.mark.parametrize("fault", RESETS)
async def test_lasting_resets_are_bounded(behind_proxy: Maker, proxy: FaultProxy, fault: Fault) -> None:
    """Four attempts, and one more for the connection kept from before, end in doubt whether all was written."""
    async with behind_proxy() as db:
        await db.get("k")
        proxy.requests.clear()
        proxy.script.extend([fault] * 9)
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        proxy.script.clear()
        assert (caught.value.code, caught.value.outcome) == ("unavailable", "unknown")
        assert len(proxy.requests) in {4, 5}


async def test_connections_reset_before_the_request(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A server that accepts and hangs up at once, as one that is starting does, is tried again."""
    async with behind_proxy() as db:
        await proxy.hang_up()
        proxy.resets = 2
        await db.set("k", "v")
        assert proxy.resets == 0
        assert await db.get("k") == "v"


async def test_refused_connections_changed_nothing(
    behind_proxy: Maker, proxy: FaultProxy, dynamodb_endpoint: str
) -> None:
    """While nothing listens, a write fails at once and was not applied; afterwards all is as before."""
    async with behind_proxy() as db:
        await db.set("k", "v")
        await proxy.close()
        with pytest.raises(DynamoDBError):
            await db.get("k")  # finds the kept connection dead
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "w")
        assert (caught.value.code, caught.value.cause) == ("unavailable", "network")
        assert (caught.value.outcome, caught.value.retryable) == ("not_applied", True)
        async with FaultProxy(dynamodb_endpoint, proxy.port):
            assert await db.get("k") == "v"


# Connections kept from before


async def test_a_connection_closed_while_idle_costs_nothing(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """The server has hung up meanwhile: the next call succeeds at the first attempt, which is no retry."""
    log, db = EventLog(), behind_proxy()
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        proxy.requests.clear()
        await proxy.hang_up()
        assert await db.get("k") == "v"
        assert len(proxy.requests) == 1
        assert log.warnings == []


@pytest.mark.parametrize("fault", [drop, drop_by_reset])
async def test_a_kept_connection_found_dead_costs_no_retry(
    wire_behind_proxy: Maker, proxy: FaultProxy, fault: Fault
) -> None:
    """A goodbye that crosses the request: it is sent again at once, on a new connection, and nobody is told."""
    log, db = EventLog(), wire_behind_proxy()
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        seen = proxy.accepted
        proxy.script.append(fault)
        assert await db.get("k") == "v"
        assert proxy.accepted == seen + 1
        assert log.warnings == []


async def test_a_new_connection_that_dies_is_a_retry(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Only what was kept is replaced for free: a server that drops every request sees four of them."""
    async with wire_behind_proxy() as db:
        proxy.requests.clear()
        proxy.script.extend([drop] * 9)
        with pytest.raises(DynamoDBError):
            await db.get("k")
        proxy.script.clear()
        assert len(proxy.requests) == 4


async def test_what_a_dead_connection_delivered_stays_in_doubt(
    wire_behind_proxy: Maker, proxy: FaultProxy
) -> None:
    """The request went out twice and only the second was refused: the first may have been applied."""
    async with wire_behind_proxy() as db:
        await db.set("k", "v")
        proxy.script.extend([lose_reply_by_reset, answer("AccessDeniedException")])
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "w")
        assert (caught.value.code, caught.value.outcome) == ("access_denied", "unknown")
        assert await db.get("k") == "w"


async def test_a_dead_connection_and_a_server_that_is_gone(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """That nobody listens any more does not prove that the dead connection delivered nothing."""

    async def vanish(exchange: Exchange) -> bytes:
        proxy.stop_listening()
        return await lose_reply_by_reset(exchange)

    async with wire_behind_proxy() as db:
        await db.set("k", "v")
        proxy.script.append(vanish)
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "w")
        assert (caught.value.code, caught.value.outcome) == ("unavailable", "unknown")
        await proxy.hang_up()
        await proxy.listen()
        assert await db.get("k") == "w"


async def test_a_kept_connection_that_dies_in_the_answer_is_a_retry(
    wire_behind_proxy: Maker, proxy: FaultProxy
) -> None:
    """It had not been dead before: the server is at fault, and somebody may want to know."""
    log, db = EventLog(), wire_behind_proxy()
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        proxy.script.append(cut_reply)
        assert await db.get("k") == "v"
    assert [event for event, _ in log.warnings] == ["dynamodb.retry"]


async def test_where_one_kept_connection_is_dead_all_are_replaced(
    wire_behind_proxy: Maker, proxy: FaultProxy
) -> None:
    """Each of the others would cost a call its free repetition: what stays is the new one, and health's."""
    async with wire_behind_proxy() as db:
        proxy.script.extend([hold] * 3)
        calls = [asyncio.create_task(db.set(key, "v")) for key in "abc"]
        for _ in range(3):
            await proxy.stalled.acquire()
        proxy.release()
        await asyncio.gather(*calls)
        assert proxy.open == 4
        proxy.script.append(drop)
        await db.get("k")
        await eventually(lambda: proxy.open == 2)


async def test_calls_in_turn_share_a_connection(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """One for them all, and one for health."""
    async with behind_proxy() as db:
        for number in range(10):
            await db.set("k", str(number))
            await db.get("k")
        assert proxy.accepted <= 2
