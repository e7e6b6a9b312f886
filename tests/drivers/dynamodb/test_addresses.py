"""Names of which an address, or every one, leads nowhere."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias

import boto3
import pytest

from kvik_dynamodb import DynamoDBError

from .cancelling import cancel_at_every_await
from .conftest import PATIENT, EventLog, Maker
from .faults import FaultProxy

pytestmark = pytest.mark.usefixtures("nothing_leaks")

At: TypeAlias = Callable[..., Maker]


@pytest.fixture
def at(
    monkeypatch: pytest.MonkeyPatch, new_driver: Maker, table: str, proxy: FaultProxy, session: boto3.Session
) -> At:
    """Give a function that makes a maker of drivers to a name that has these addresses, on the proxy's port."""
    look_up = socket.getaddrinfo

    def call(*addresses: str) -> Maker:
        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
            if host == "table.example" and not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            hosts = addresses if host == "table.example" else [host]
            return [found for each in hosts for found in look_up(each, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        url = f"http://table.example:{proxy.port}"
        return partial(new_driver, table, "eu-west-1", url, session=session, **PATIENT)

    return call


@pytest.fixture(autouse=True)
def next_address_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try the next address after a fiftieth of a second instead of a quarter."""
    monkeypatch.setattr("kvik_dynamodb._wire.dialing._NEXT_ADDRESS_AFTER", 0.02)


@pytest.fixture
def black_hole(proxy: FaultProxy) -> Iterator[str]:
    """Give an address where connecting to the proxy's port never ends."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.3", proxy.port))
        full.listen(0)
        for _ in range(2):  # nobody takes them: the queue is full, and the system ignores the next
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(("127.0.0.3", proxy.port))
        yield "127.0.0.3"


async def test_an_address_that_refuses_is_passed_over(at: At) -> None:
    """A name's first address is dead and its second works: no call fails, and none is retried."""
    log, db = EventLog(), at("127.0.0.2", "127.0.0.1")()
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        assert await db.get("k") == "v"
    assert log.warnings == []


async def test_an_address_that_swallows_is_passed_over(at: At, black_hole: str) -> None:
    """A name's first address does not even refuse: the second is tried, and still within the attempt."""
    log, db = EventLog(), at(black_hole, "127.0.0.1")(connect_timeout=0.5)
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        assert await db.get("k") == "v"
    assert log.warnings == []


@pytest.mark.parametrize("transport", ["wire"])
@pytest.mark.parametrize("late", [False, True], ids=["waiting", "late"])
async def test_connecting_cancelled_at_any_await(at: At, black_hole: str, *, late: bool) -> None:
    """With several addresses under way at once: nothing of them is left."""
    async with at("127.0.0.2", black_hole, "127.0.0.1")(connect_timeout=1.0) as db:
        assert await cancel_at_every_await(lambda: db.set("k", "v"), late=late)
        assert await db.get("k") == "v"


async def test_a_name_whose_addresses_all_refuse(at: At, proxy: FaultProxy) -> None:
    """Nothing was sent, and the failure says that it cannot connect."""
    await fails_to_connect(at("127.0.0.2", "127.0.0.4")(), "network")
    assert proxy.requests == []


async def test_a_name_whose_addresses_all_swallow(at: At, proxy: FaultProxy, black_hole: str) -> None:
    """The time for connecting ends each attempt; nothing was sent."""
    await fails_to_connect(at(black_hole)(connect_timeout=0.05, total_timeout=10.0), "timeout")
    assert proxy.requests == []


async def test_a_deadline_that_ends_while_connecting(at: At, proxy: FaultProxy, black_hole: str) -> None:
    """The caller's time was too short, which says nothing about the server; nothing was sent."""
    db = at(black_hole)(connect_timeout=0.3, total_timeout=0.1)
    for call in (db.connect(), db.set("k", "v")):
        with pytest.raises(DynamoDBError) as caught:
            await call
        assert caught.value.code == "deadline_exceeded"
    await db.close()
    assert proxy.requests == []


async def test_a_name_that_nobody_knows(at: At, proxy: FaultProxy) -> None:
    """It may be known a moment later; nothing was sent."""
    await fails_to_connect(at()(), "network")
    assert proxy.requests == []


async def fails_to_connect(db: Any, cause: str) -> None:
    """Connect and write in vain."""
    for call in (db.connect(), db.set("k", "v")):
        with pytest.raises(DynamoDBError) as caught:
            await call
        assert (caught.value.code, caught.value.cause, caught.value.retryable) == ("unavailable", cause, True)
        assert caught.value.outcome == "not_applied"
    await db.close()
