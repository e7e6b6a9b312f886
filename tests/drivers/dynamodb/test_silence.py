"""Connections that say nothing any more, those that say it slowly, and those that take long to be made."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import boto3
import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError
from support import eventually

from .conftest import EventLog, Maker
from .faults import JSON, Exchange, Fault, FaultProxy, hold, reply_of
from .link import Link

pytestmark = pytest.mark.usefixtures("nothing_leaks")

LARGE = "v" * 300_000
IMPATIENT: dict[str, Any] = {"connect_timeout": 10.0, "read_timeout": 0.3, "total_timeout": 20.0}


@pytest.fixture
async def link(proxy: FaultProxy) -> AsyncIterator[Link]:
    """Give a link to the proxy."""
    async with Link(proxy.url) as running:
        yield running


@pytest.fixture
def over_link(new_driver: Maker, table: str, link: Link, session: boto3.Session) -> Maker:
    """Give a maker of drivers that reach their table over the link, and wait for 0.3 s of silence."""
    return partial(new_driver, table, "eu-west-1", link.url, session=session, **IMPATIENT)


@pytest.fixture
def wire_over_link(table: str, link: Link, session: boto3.Session) -> Maker:
    """Give a maker as of over_link, for what the wire alone does."""
    return partial(DynamoDB, table, "eu-west-1", link.url, session=session, transport="wire", **IMPATIENT)


def always(reply: JSON) -> Fault:
    """Answer at once, whatever was asked, so that only the link takes time."""

    async def fault(_: Exchange) -> bytes:
        return reply_of(reply)

    return fault


async def connect_four(db: DynamoDB, proxy: FaultProxy) -> None:
    """Have four connections at rest."""
    proxy.script.extend([hold] * 4)
    calls = [asyncio.create_task(db.get(f"k{number}")) for number in range(4)]
    for _ in calls:
        await proxy.stalled.acquire()
    proxy.release()
    await asyncio.gather(*calls)


async def test_a_black_out_costs_one_silence(over_link: Maker, link: Link, proxy: FaultProxy) -> None:
    """One kept connection is found silent: the next attempt, and every later call, goes over new ones."""
    log, db = EventLog(), over_link()
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        await connect_four(db, proxy)
        log.warnings.clear()
        link.black_out()
        for _ in range(5):
            assert await db.get("k") == "v"
        assert [event for event, _ in log.warnings] == ["dynamodb.retry"]


async def test_calls_that_a_black_out_met_all_succeed(over_link: Maker, link: Link, proxy: FaultProxy) -> None:
    """Each waits for a silence on its own connection, and goes on over another."""
    async with over_link() as db:
        await connect_four(db, proxy)
        link.black_out()
        values = {f"k{number}": "v" for number in range(4)}
        await asyncio.gather(*(db.set(key, "v") for key in values))
        assert await db.get_many([*values]) == values


async def test_an_answer_may_take_as_long_as_it_flows(over_link: Maker, link: Link, proxy: FaultProxy) -> None:
    """A large value over a slow link takes twice read_timeout, and one request."""
    proxy.otherwise = always({"Item": {"pk": {"S": "k"}, "value": {"S": LARGE}}})
    async with over_link() as db:
        proxy.operations.clear()
        link.rate = 500_000
        began = time.monotonic()
        assert await db.get("k") == LARGE
        assert time.monotonic() - began > 0.5
        assert proxy.operations == ["GetItem"]


async def test_a_request_may_take_as_long_as_it_flows(
    wire_over_link: Maker, link: Link, proxy: FaultProxy
) -> None:
    """The same for a large value on its way to the server; boto3 waits from when the system has taken it."""
    proxy.otherwise = always({})
    async with wire_over_link() as db:
        proxy.operations.clear()
        link.rate = 500_000
        began = time.monotonic()
        await db.set("k", LARGE)
        assert time.monotonic() - began > 0.5
        assert proxy.operations == ["PutItem"]


async def test_a_request_that_stops_flowing_ends(wire_over_link: Maker, link: Link) -> None:
    """A large request that nobody takes is given up after a silence, not at the call's end."""
    log, db = EventLog(), wire_over_link(total_timeout=0.6)
    db.use_logger(log)
    async with db:
        link.rate = 100.0
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", LARGE)
        assert (caught.value.cause, caught.value.outcome) == ("timeout", "unknown")
        assert {fields["reason"] for _, fields in log.warnings} == {"read_timeout"}


# Making connections


class Names:
    """Look-ups of the proxy's name, slow ones on demand."""

    def __init__(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.delay = 0.0
        self._port = port
        self._lookup = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._late)

    def _late(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if port == self._port:
            time.sleep(self.delay)
        return self._lookup(host, port, *args, **options)


@pytest.fixture
def names(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(proxy.port, monkeypatch)


async def test_connecting_goes_on_when_a_call_is_over(
    behind_proxy: Maker, proxy: FaultProxy, names: Names
) -> None:
    """With less time than a connection takes, the first calls fail, and not all for ever."""
    async with behind_proxy() as db:
        await proxy.hang_up()
        names.delay = 0.15
        accepted = proxy.accepted
        db.use_deadline(lambda: 0.1)
        failures = []
        for _ in range(5):
            try:
                await db.set("k", "v")
            except DynamoDBError as error:
                failures.append(error.code)
                continue
            break
        assert 1 <= len(failures) <= 2
        assert set(failures) == {"deadline_exceeded"}
        assert proxy.accepted <= accepted + 2


async def test_a_connection_that_nobody_waits_for_comes_to_rest(
    wire_behind_proxy: Maker, proxy: FaultProxy, names: Names
) -> None:
    """Whoever calls later finds it; a caller that was cancelled leaves one too, and there are never more."""
    async with wire_behind_proxy(max_connections=2) as db:
        await proxy.hang_up()
        names.delay = 0.15
        accepted = proxy.accepted
        for _ in range(3):
            calls = [asyncio.create_task(db.get(key)) for key in "ab"]
            await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
        await eventually(lambda: proxy.accepted == accepted + 2, "no connection was made")
        names.delay = 10.0
        assert await asyncio.gather(*map(db.get, "ab")) == [None, None]
        assert proxy.accepted == accepted + 2


async def test_close_ends_what_is_being_connected(
    wire_behind_proxy: Maker, proxy: FaultProxy, names: Names
) -> None:
    """It waits for nobody's connection, and leaves none."""
    async with wire_behind_proxy() as db:
        await proxy.hang_up()
        names.delay = 0.2
        db.use_deadline(lambda: 0.01)
        with pytest.raises(DynamoDBError):
            await db.get("k")
        accepted = proxy.accepted
    await asyncio.sleep(0.25)
    assert proxy.accepted == accepted
