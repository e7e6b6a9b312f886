"""A hundred thousand operations and more through random faults: every answer is right, and so is every error."""

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from kvik_dynamodb import DynamoDB
from support import eventually

from .soak.history import Violation, check, check_counter
from .soak.proxy import SoakProxy
from .soak.workload import COUNTERS, Workload

OPERATIONS = int(os.environ.get("SOAK_OPERATIONS", "200000"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1_000_000)  # noqa: S311 - no secret
ROUNDS = 10
"""Each on a new table, and short enough for the limit of a test's time."""

TIMES: dict[str, Any] = {"connect_timeout": 1.0, "read_timeout": 0.3, "total_timeout": 2.0}
WORKERS = {"wire": 28, "wire, batch_reads": 16, "boto3": 2}
EXPECTED = {"ok", "cancelled", "conflict", "deadline_exceeded", "partial_failure", "throttled", "unavailable"}


class Totals:
    """What all rounds did."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()
        self.longest = 0.0
        self.began = time.monotonic()

    def __str__(self) -> str:
        rows = [f"{verb:14} {outcome:32} {count:8}" for (verb, outcome), count in sorted(self.outcomes.items())]
        rows += [f"{'fault':14} {kind:32} {count:8}" for kind, count in sorted(self.faults.items())]
        seconds, calls = time.monotonic() - self.began, self.outcomes.total()
        whole = f"{calls} calls, {self.faults.total()} faults, {seconds:.0f} s, seed {SEED}"
        return "\n".join(["", *rows, f"{whole}, the longest call took {self.longest:.2f} s", ""])


@pytest.fixture(scope="module")
def totals() -> Iterator[Totals]:
    """Print at the end what was done."""
    totals = Totals()
    yield totals
    sys.stdout.write(str(totals))


@pytest.fixture(scope="module")
def server(other_dynamodbs: list[str]) -> Iterator[str]:
    """Give the first of DYNAMODB_ENDPOINT, else Dynoxide as the benchmarks have it; moto would take an hour."""
    if other_dynamodbs:
        yield other_dynamodbs[0]
        return
    sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
    import dynoxide  # noqa: PLC0415 - it is no module of the tests

    with dynoxide.running() as url:
        yield url


@pytest.mark.soak
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_random_faults_break_no_promise(server: str, table_name: str, totals: Totals, number: int) -> None:
    """No acknowledged write is lost, no read is stale, not_applied is true, counters count, nothing hangs."""
    tasks = asyncio.all_tasks()
    async with SoakProxy(server, SEED + number) as proxy:
        async with DynamoDB(table_name, "eu-west-1", server, create_table=True):
            pass
        work = Workload(proxy.histories, OPERATIONS // ROUNDS, random.Random(SEED + number))  # noqa: S311 - as above
        async with AsyncExitStack() as stack:
            drivers = [await stack.enter_async_context(driver) for driver in _drivers(table_name, proxy.url)]
            await work.run([drivers[index] for index, count in enumerate(WORKERS.values()) for _ in range(count)])
        await proxy.finish()
        await eventually(lambda: not proxy.clients)
        assert proxy.failures == []
    totals.outcomes += work.outcomes
    totals.faults += proxy.faults
    totals.longest = max(totals.longest, work.longest)
    broken = [violation for key in work.histories for violation in _check(work, key)]
    assert not broken, _report(work, broken)
    assert {outcome.partition(",")[0] for _, outcome in work.outcomes} <= EXPECTED
    assert work.longest < TIMES["total_timeout"] + 1
    assert asyncio.all_tasks() == tasks


def _drivers(table: str, url: str) -> list[DynamoDB]:
    return [
        DynamoDB(table, "eu-west-1", url, max_connections=12, transport="wire", **TIMES),
        DynamoDB(table, "eu-west-1", url, transport="wire", batch_reads=True, **TIMES),
        DynamoDB(table, "eu-west-1", url, transport="boto3", **TIMES),
    ]


def _check(work: Workload, key: str) -> list[Violation]:
    return (check_counter if key in COUNTERS else check)(work.histories[key])


def _report(work: Workload, broken: list[Violation]) -> str:
    lines = [f"{len(broken)} promises were broken, with seed {SEED}; the first of them:"]
    for each in broken[:3]:
        history = work.histories[each.key].around(each.event.start - 0.5, each.event.end + 0.5)
        lines += ["", str(each), *history[:60]]
    return "\n".join(lines)
