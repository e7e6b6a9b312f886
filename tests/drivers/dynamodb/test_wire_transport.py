"""The wire transport's beginning and end."""

import asyncio
import threading

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError
from kvik_dynamodb._aws import AWSConfig, read_config
from kvik_dynamodb._options import Options
from kvik_dynamodb._wire import transport
from support import eventually

from .conftest import Maker
from .faults import FaultProxy, stall

pytestmark = pytest.mark.usefixtures("nothing_leaks")


async def test_closed_while_it_looks_for_the_server(
    wire_behind_proxy: Maker, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health had begun to look, since connect had found nothing: it ends without a request."""
    db = wire_behind_proxy()
    monkeypatch.setattr(transport, "read_config", lambda *_: 1 / 0)
    with pytest.raises(DynamoDBError):
        await db.connect()
    looking, go_on = threading.Event(), threading.Event()

    def read_later(options: Options) -> AWSConfig:
        looking.set()
        go_on.wait()
        return read_config(options)

    monkeypatch.setattr(transport, "read_config", read_later)
    health = asyncio.create_task(db.health_check())
    await eventually(looking.is_set)
    await db.close()
    go_on.set()
    assert (await health)["details"]["error"] == "closed"
    assert proxy.requests == []


async def test_closed_before_boto3_takes_its_place(
    wire_behind_proxy: Maker, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close that comes while the wire finds out that it cannot serve ends the connect, and nothing is opened."""
    looking, go_on = threading.Event(), threading.Event()

    def why_not_wire(*_: object) -> str:
        looking.set()
        go_on.wait()
        return "a test wants boto3"

    monkeypatch.setattr(transport, "why_not_wire", why_not_wire)
    db = wire_behind_proxy(transport="auto")
    connecting = asyncio.create_task(db.connect())
    await eventually(looking.is_set)
    await db.close()
    go_on.set()
    with pytest.raises(DynamoDBError, match="closed"):
        await connecting
    with pytest.raises(DynamoDBError, match="closed"):
        await db.get("k")
    assert proxy.requests == []


async def test_closed_while_calls_stall(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Close waits for them as long as one attempt may take, and then ends their connections."""
    db = wire_behind_proxy(connect_timeout=0.1, read_timeout=0.1, max_connections=2)
    await db.connect()
    proxy.otherwise = stall
    calls = [asyncio.create_task(db.set(key, "v")) for key in "abcd"]
    await proxy.stalled.acquire()
    await db.close()
    proxy.release()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, DynamoDBError)
        assert result.code in {"deadline_exceeded", "unavailable"}


async def test_a_configured_name_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS could not have it: the failure is that of any name which leads nowhere."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://{'a' * 64}.example")
    db = DynamoDB("my-table", "eu-west-1", transport="wire")
    with pytest.raises(DynamoDBError) as caught:
        await db.connect()
    assert (caught.value.code, caught.value.cause) == ("unavailable", "network")
    assert caught.value.outcome == "not_applied"
    await db.close()
