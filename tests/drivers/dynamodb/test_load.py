"""Many calls at once: through few connections, and while the server goes away and comes back."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError
from support import eventually

from .conftest import Maker
from .faults import Exchange, FaultProxy, forward, reply_of, stall

pytestmark = pytest.mark.usefixtures("nothing_leaks")

DEADLINE = 3.0


async def its_own_name(exchange: Exchange) -> bytes:
    """Answer a GetItem with the key as the value, as a table would in which that is so."""
    key = json.loads(exchange.body)["Key"]
    return reply_of({"Item": {**key, "value": key["pk"]}})


async def test_a_thousand_calls_share_ten_connections(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Each gets the answer to its own question, and there are never more connections, but for health's own."""
    async with behind_proxy(max_connections=10) as db:
        proxy.requests.clear()
        proxy.otherwise = its_own_name
        names = [f"k{number}" for number in range(1000)]
        assert await asyncio.gather(*map(db.get, names)) == names
        assert len(proxy.requests) == 1000
        assert 10 <= proxy.most_open <= 11


async def test_a_thousand_calls_to_a_server_that_stalls(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Those that found no connection in their time say that they were never sent; the store serves on."""
    async with behind_proxy(max_connections=10) as db:
        proxy.requests.clear()
        proxy.otherwise = stall
        clock = asyncio.get_running_loop().time
        end = clock() + 0.3
        db.use_deadline(lambda: end - clock())
        in_doubt: set[str] = set()

        async def write(key: str) -> None:
            with pytest.raises(DynamoDBError) as caught:
                await db.set(key, "v")
            assert caught.value.code == "deadline_exceeded"
            if caught.value.outcome == "unknown":
                in_doubt.add(key)

        await asyncio.gather(*(write(f"k{number}") for number in range(1000)))
        proxy.release()
        proxy.otherwise = forward()
        assert {request["Item"]["pk"]["S"] for request in proxy.requests} <= in_doubt
        assert len(in_doubt) <= 20  # ten were sent; a thread that just ends may begin one more
        db.use_deadline(lambda: None)
        await db.set("k", "v")
        assert await db.get("k") == "v"


@dataclass
class Worker:
    """Count up a key of its own, and hold every answer against what it knows."""

    db: DynamoDB
    key: str
    acknowledged: int = 0
    in_doubt: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    async def run(self) -> None:
        while not self.stopped:
            await self.once()

    async def once(self) -> None:
        began = asyncio.get_running_loop().time()
        try:
            total = await self.db.increment(self.key, 1)
            self.acknowledged += 1
            self.check(total)
            self.check(int(await self.db.get(self.key) or 0))
        except DynamoDBError as error:
            self.in_doubt += error.outcome == "unknown"
            self.failures[error.code] += 1
        assert asyncio.get_running_loop().time() < began + 2 * DEADLINE + 5

    def check(self, total: int) -> None:
        assert self.acknowledged <= total <= self.acknowledged + self.in_doubt


async def test_a_restart_under_load(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Each call has the right answer or a typed error in its time; those that begin afterwards succeed."""
    async with behind_proxy(max_connections=4, total_timeout=DEADLINE) as db:
        workers = [Worker(db, f"k{number}") for number in range(8)]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        for _ in range(3):
            await progress(workers)
            await proxy.close()
            failed = failures(workers)
            await eventually(lambda failed=failed: failures(workers) != failed)  # type: ignore[misc] # mypy sees a default where a bound value is
            await proxy.listen()
        await progress(workers)
        for worker in workers:
            worker.stopped = True
        await asyncio.gather(*tasks)
        failed = failures(workers)
        await asyncio.gather(*(worker.once() for worker in workers))
        assert failures(workers) == failed
        assert failed.keys() <= {"unavailable", "conflict"}


def failures(workers: list[Worker]) -> Counter[str]:
    """Count all failures by their code."""
    return sum((worker.failures for worker in workers), Counter())


async def progress(workers: list[Worker]) -> None:
    """Wait until each has had success again."""
    goals = [worker.acknowledged + 2 for worker in workers]
    await eventually(lambda: all(worker.acknowledged >= goal for worker, goal in zip(workers, goals, strict=True)))
