"""What the driver tells a logger and metrics."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from kvik.metrics import Metrics
from kvik_dynamodb import DynamoDB

from .conftest import Maker
from .faults import FaultProxy, answer, drop, stall

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def metrics() -> Metrics:
    """Give the framework's metrics, as an app gives them to its stores."""
    return Metrics(structlog.get_logger())


@pytest.fixture
def watched(behind_proxy: Maker, metrics: Metrics) -> Callable[..., DynamoDB]:
    """Give a maker of drivers that count in these metrics."""

    def make(**options: Any) -> DynamoDB:
        db = behind_proxy(**options)
        db.use_metrics(metrics)
        return db

    return make


def recorded(metrics: Metrics, table: str) -> Samples:
    """Give every series, by its name and its labels but for the table, with its sum."""
    found = {}
    for family in metrics._families():
        for labels, values in family.series:
            assert ("table", table) in labels
            rest = tuple(value for name, value in labels if name != "table")
            found[family.name, rest] = values[-1]
    return found


@pytest.mark.usefixtures("quick_throttling")
async def test_retries_and_throttles_are_counted(
    watched: Maker, metrics: Metrics, proxy: FaultProxy, table: str
) -> None:
    """Each by operation and reason, a throttle also where it is not sent again."""
    async with watched() as db:
        proxy.script.extend([answer("ThrottlingException"), answer("InternalServerError", 500)])
        await db.set("k", "v")
        proxy.script.extend([answer("RequestLimitExceeded")] * 4)
        await asyncio.gather(db.get("k"), return_exceptions=True)
    counted = recorded(metrics, table)
    assert counted["dynamodb_retries", ("throttled", "PutItem", "ThrottlingException")] == 1
    assert counted["dynamodb_retries", ("unavailable", "PutItem", "InternalServerError")] == 1
    assert counted["dynamodb_retries", ("throttled", "GetItem", "RequestLimitExceeded")] == 3
    assert counted["dynamodb_throttles", ("PutItem", "ThrottlingException")] == 1
    assert counted["dynamodb_throttles", ("GetItem", "RequestLimitExceeded")] == 4


@pytest.mark.parametrize("transport", ["wire"], scope="session")
async def test_connections_are_counted(watched: Maker, metrics: Metrics, proxy: FaultProxy, table: str) -> None:
    """What was opened on demand, and what took the place of a connection that was found dead."""
    async with watched() as db:
        await db.set("k", "v")
        await db.set("k", "v")
        proxy.script.append(drop)
        await db.set("k", "w")
    counted = recorded(metrics, table)
    assert counted["dynamodb_connections", ("demand",)] == 2  # connect() has a lane of its own
    assert counted["dynamodb_connections", ("stale",)] == 1


@pytest.mark.parametrize("transport", ["wire"], scope="session")
async def test_waiting_for_a_connection_is_measured(
    watched: Maker, metrics: Metrics, proxy: FaultProxy, table: str
) -> None:
    """Only calls that found every connection busy, with the time that it took."""
    async with watched(max_connections=1) as db:
        proxy.script.append(stall)
        first = asyncio.create_task(db.set("a", "1"))
        await proxy.stalled.acquire()
        second = asyncio.create_task(db.set("b", "2"))
        await asyncio.sleep(0.05)
        proxy.release()
        await asyncio.gather(first, second)
    assert recorded(metrics, table)["dynamodb_pool_wait_seconds", ()] >= 0.05


async def test_capacity_is_reported_when_asked_for(watched: Maker, metrics: Metrics, table: str) -> None:
    """With report_capacity the units of every request are added up by operation."""
    async with watched(report_capacity=True) as db:
        await db.set("k", "v")
        await db.get("k")
        await db.get_many(["k", "l"])
        await db.scan("", None, 10)
    counted = recorded(metrics, table)
    operations = {labels[0] for name, labels in counted if name == "dynamodb_consumed_capacity_units"}
    assert operations == {"PutItem", "GetItem", "BatchGetItem", "Scan"}
    assert counted["dynamodb_consumed_capacity_units", ("PutItem",)] == 1


async def test_capacity_is_not_asked_for_by_itself(watched: Maker, proxy: FaultProxy) -> None:
    """Requests are as small as they can be."""
    async with watched() as db:
        await db.set("k", "v")
    assert all("ReturnConsumedCapacity" not in request for request in proxy.requests)


async def test_metrics_of_two_drivers_are_told_apart_by_table(
    new_driver: Maker, metrics: Metrics, table: str, dynamodb_endpoint: str
) -> None:
    """Two stores of one app declare the same metrics, which is fine."""
    for _ in range(2):
        db = new_driver(table, "eu-west-1", dynamodb_endpoint, report_capacity=True)
        db.use_metrics(metrics)
        async with db:
            await db.set("k", "v")
    assert recorded(metrics, table)["dynamodb_consumed_capacity_units", ("PutItem",)] == 2
