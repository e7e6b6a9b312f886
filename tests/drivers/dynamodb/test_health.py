"""What health_check says, and what it costs."""

import asyncio
from collections.abc import Callable

import pytest

from kvik_dynamodb import DynamoDB

from .conftest import Maker
from .faults import FaultProxy, answer, drop, stall
from .link import Link


async def test_up_names_table_and_region(db: DynamoDB, table: str) -> None:
    """A table that can be read is UP, whether or not the health key exists."""
    assert await db.health_check() == {"status": "UP", "details": {"table": table, "region": "eu-west-1"}}
    await db.set("kvik:health", "here")
    assert (await db.health_check())["status"] == "UP"


async def test_health_is_one_cheap_read(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Health reads its own key, eventually consistent, with nothing but the key in the answer."""
    async with behind_proxy(health_key="tenant/health") as db:
        await db.health_check()
    assert proxy.requests[-1] == {
        "TableName": repr(db).split("'")[1],
        "Key": {"pk": {"S": "tenant/health"}},
        "ConsistentRead": False,
        "ProjectionExpression": "#k",
        "ExpressionAttributeNames": {"#k": "pk"},
    }


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (answer("ResourceNotFoundException"), "no such table"),
        (answer("AccessDeniedException"), "access denied"),
        (answer("ExpiredTokenException"), "access denied"),
        (answer("InternalServerError", 500), "server error"),
    ],
)
async def test_down_names_the_class_of_the_cause(
    behind_proxy: Maker, proxy: FaultProxy, fault: Callable[..., object], cause: str
) -> None:
    """One failed attempt is DOWN with a word for its cause, and no text of the server."""
    async with behind_proxy() as db:
        proxy.script.append(fault)  # type: ignore[arg-type]  # each is a Fault
        seen = len(proxy.operations)
        health = await db.health_check()
        assert (health["status"], health["details"]["error"]) == ("DOWN", cause)
        assert set(health["details"]) == {"table", "region", "error"}
        assert len(proxy.operations) == seen + 1


async def test_down_when_connections_break(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A connection that breaks is the network's fault; only one that was kept from before is replaced once."""
    async with behind_proxy() as db:
        proxy.script.extend([drop, drop])
        assert (await db.health_check())["details"]["error"] == "network"


async def test_throttled_is_up(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A brown-out does not take the process out of rotation."""
    async with behind_proxy() as db:
        proxy.script.append(answer("ProvisionedThroughputExceededException"))
        health = await db.health_check()
    assert health["status"] == "UP"
    assert health["details"]["throttled"] is True


async def test_stalled_server_is_down_in_time(
    behind_proxy: Maker, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health has a time of its own, after which it knows enough."""
    async with behind_proxy() as db:
        monkeypatch.setattr("kvik_dynamodb._health._TIMEOUT", 0.1)
        proxy.script.extend([stall, stall])
        health = await db.health_check()
        assert (health["status"], health["details"]["error"]) == ("DOWN", "timeout")
        proxy.release()


async def test_up_after_a_black_out(
    new_driver: Maker, table: str, dynamodb_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that was kept for health has died without a word: it asks again over another one."""
    async with (
        Link(dynamodb_endpoint) as link,
        new_driver(table, "eu-west-1", link.url, connect_timeout=10.0, read_timeout=1.0, total_timeout=30.0) as db,
    ):
        await asyncio.gather(*map(db.get, "abc"))
        monkeypatch.setattr("kvik_dynamodb._health._TIMEOUT", 0.6)
        link.black_out()
        assert (await db.health_check())["status"] == "UP"


async def test_busy_pool_does_not_starve_health(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """With every ordinary connection held by a stalled call, health still reads."""
    async with behind_proxy(max_connections=2) as db:
        proxy.script.extend([stall] * 2)
        calls = [asyncio.create_task(db.get(f"k{number}")) for number in range(4)]
        for _ in range(2):
            await proxy.stalled.acquire()
        assert (await db.health_check())["status"] == "UP"
        assert not any(call.done() for call in calls)
        proxy.release()
        assert await asyncio.gather(*calls) == [None] * 4
