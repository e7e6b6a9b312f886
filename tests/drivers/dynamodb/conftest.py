"""What the driver's tests share: tables on a real server, and drivers on them."""

import asyncio
import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
import pytest
from botocore.loaders import Loader, create_loader

from kvik_dynamodb import DynamoDB
from kvik_dynamodb._options import TransportName
from support import eventually

from .faults import FaultProxy
from .sources import Guard, Issuer, Surroundings

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

PATIENT: dict[str, Any] = {"connect_timeout": 10.0, "read_timeout": 10.0, "total_timeout": 30.0}
"""Options for calls that are to succeed, on a slow machine as well."""

MOTO_ITEM_BYTES = 405_000
"""What moto takes, where AWS and DynamoDB Local take 409 600."""


Maker: TypeAlias = Callable[..., DynamoDB]


class EventLog:
    """A logger that keeps the warnings: each event with its fields."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, /, **fields: Any) -> None:
        self.warnings.append((event, fields))

    def debug(self, event: str, /, **fields: Any) -> None:
        """Leave it: what is usual is no subject here."""


class Clock:
    """A time that moves when told."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def raw(dynamodb_endpoint: str) -> "Iterator[DynamoDBClient]":
    """Give a plain boto3 client, to see what the driver really did."""
    client = boto3.Session().client("dynamodb", region_name="eu-west-1", endpoint_url=dynamodb_endpoint)
    yield client
    client.close()


@pytest.fixture(scope="session")
def is_moto(dynamodb_endpoint: str) -> bool:
    """Tell moto from a real server: it is slower, and has limits of its own."""
    try:
        with urlopen(f"{dynamodb_endpoint}/moto-api/data.json") as page:  # noqa: S310 - a local server
            page.read()
    except HTTPError as error:
        error.close()
        return False
    return True


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """Give one session to many drivers: each of its own would read botocore's data again."""
    return boto3.Session()


@pytest.fixture
def table(table_name: str, raw: "DynamoDBClient") -> str:
    """Give the name of an empty table with the partition key pk."""
    raw.create_table(
        TableName=table_name,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return table_name


@pytest.fixture(scope="session", params=["wire", "boto3"])
def transport(request: pytest.FixtureRequest) -> TransportName:
    """Name the transport that the drivers of a test use."""
    name: TransportName = request.param
    return name


@pytest.fixture
def new_driver(transport: TransportName) -> Maker:
    """Give a maker of drivers, not connected, with the driver's own defaults."""
    return partial(DynamoDB, transport=transport)


@pytest.fixture
async def db(
    new_driver: Maker, table: str, dynamodb_endpoint: str, session: boto3.Session
) -> AsyncIterator[DynamoDB]:
    """Give a connected driver on an empty table."""
    async with new_driver(table, "eu-west-1", dynamodb_endpoint, session=session, **PATIENT) as driver:
        yield driver


@pytest.fixture
def clock(db: DynamoDB) -> Clock:
    """Give the connected driver a clock, and the test its hands."""
    db.clock = clock = Clock()
    return clock


@pytest.fixture
async def proxy(dynamodb_endpoint: str) -> AsyncIterator[FaultProxy]:
    """Give a proxy to the server that makes faults by its script."""
    async with FaultProxy(dynamodb_endpoint) as running:
        yield running


@pytest.fixture
def behind_proxy(new_driver: Maker, table: str, proxy: FaultProxy, session: boto3.Session) -> Maker:
    """Give a maker of drivers, not connected, that reach their empty table through the proxy."""
    return partial(new_driver, table, "eu-west-1", proxy.url, session=session, **PATIENT)


@pytest.fixture
def wire_behind_proxy(table: str, proxy: FaultProxy, session: boto3.Session) -> Maker:
    """Give a maker as of behind_proxy, for what the wire alone does."""
    return partial(DynamoDB, table, "eu-west-1", proxy.url, session=session, transport="wire", **PATIENT)


def threads_of_drivers() -> list[str]:
    """Name the worker threads that are still alive, after giving them a moment to end."""
    for _ in range(500):
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("kvik-dynamodb")]
        if not names:
            break
        time.sleep(0.02)
    return names


def other_tasks() -> set[asyncio.Task[Any]]:
    """Give the tasks of this loop that are not the test runner's own."""
    return {task for task in asyncio.all_tasks() if "TestRunner" not in repr(task.get_coro())}


@pytest.fixture
async def nothing_leaks(proxy: FaultProxy) -> AsyncIterator[None]:
    """Demand that a test's drivers, once closed, have left no connection, task or thread."""
    before = other_tasks()
    yield

    def is_closed() -> bool:
        if proxy.open:
            gc.collect()  # urllib3 closes connections once nothing refers to them, and failures do so in circles
        return not proxy.open

    await eventually(is_closed, "a connection is still open")
    await eventually(lambda: not other_tasks() - before, "a task still runs")
    assert threads_of_drivers() == []


@pytest.fixture(autouse=True)
def patient_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give health more than its second, on a slow machine."""
    monkeypatch.setattr("kvik_dynamodb._health._TIMEOUT", 10.0)


@pytest.fixture
def quick_throttling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pause after a throttled attempt from a second to a hundredth."""
    monkeypatch.setattr("kvik_dynamodb._retry._THROTTLED_BASE", 0.01)


@pytest.fixture(scope="session")
def loader() -> Loader:
    """Give one reader of botocore's data to many sessions, for each would read it again."""
    return create_loader()


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loader: Loader) -> Iterator[Surroundings]:
    """Shut the machine's own AWS configuration out, and give another one, with no credentials in it."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr("botocore.session.create_loader", lambda _: loader)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0.01)
    with Issuer() as issuer:
        yield Surroundings(monkeypatch, tmp_path, issuer)


@pytest.fixture
def guard(proxy: FaultProxy) -> Guard:
    """Give the one who sees at the proxy by whose keys each request is signed."""
    return Guard(proxy)


@pytest.fixture
def guarded(
    new_driver: Maker,
    table: str,
    guard: Guard,
    surroundings: Surroundings,  # noqa: ARG001 - it is there
) -> Maker:
    """Give a maker of drivers that reach their table past the guard, with the credentials that a test provides."""
    return partial(new_driver, table, "eu-west-1", guard.url, **PATIENT)
