"""The caller's time: asked for once, and never exceeded."""

import asyncio

import pytest

from kvik_dynamodb import DynamoDB

from .conftest import Maker
from .faults import FaultProxy
from .test_lifecycle import every_verb, fails


async def test_every_verb_asks_once(db: DynamoDB) -> None:
    """Whatever it takes to do it."""
    asked: list[None] = []
    db.use_deadline(lambda: asked.append(None))
    for number, call in enumerate(every_verb(db), start=1):
        await asyncio.gather(call, return_exceptions=True)  # some find a conflict
        assert len(asked) == number


async def test_without_time_nothing_is_sent(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A deadline that has passed is an error that proves that nothing was done."""
    async with behind_proxy() as db:
        proxy.requests.clear()
        for left in (0.0, -1.0):
            db.use_deadline(lambda left=left: left)  # type: ignore[misc]  # mypy sees a default where a bound value is
            for call in every_verb(db):
                error = await fails(call)
                assert (error.code, error.outcome, error.retryable) == ("deadline_exceeded", "not_applied", True)
        assert proxy.requests == []


@pytest.mark.parametrize(("left", "total"), [(None, 30.0), (100.0, 30.0), (12.0, 12.0)])
async def test_the_shorter_time_counts(db: DynamoDB, left: float | None, total: float) -> None:
    """The caller's or the driver's own."""
    operations = db._operations  # noqa: SLF001 - to see the time without waiting for it
    db.use_deadline(lambda: left)
    assert total - 5 < operations.begin().seconds_left() <= total


async def test_time_that_runs_out_between_requests(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """An operation of several requests does not begin another when its time is over."""
    async with behind_proxy() as db:
        proxy.requests.clear()
        operation = db._operations.start(0.0)  # noqa: SLF001 - as above
        error = await fails(operation.read("GetItem", {}))
        assert (error.code, error.outcome) == ("deadline_exceeded", "not_applied")
        assert proxy.requests == []
