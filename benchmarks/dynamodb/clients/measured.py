"""What every client program does with its client: load it, and print the CPU time that an operation took.

The process's whole CPU time is counted, that of its threads and of the kernel too, from the end of the start-up.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import uvloop

from dynamodb.items import VALUE

Call = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Client:
    """Be a client under measurement: two operations, each on the key of a number."""

    get: Call
    put: Call


Opened = Callable[[str], contextlib.AbstractAsyncContextManager[Client]]


def main(opened: Opened) -> None:
    """Open a client of the endpoint that the options name, measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", required=True, help="URL of the server")
    parser.add_argument("--seconds", type=float, required=True, help="seconds of each measurement")
    parser.add_argument("--in-flight", type=int, nargs="+", required=True, help="operations at once")
    options = parser.parse_args()
    print(json.dumps(uvloop.run(_measure_all(opened, options))))


async def _measure_all(opened: Opened, options: argparse.Namespace) -> list[dict[str, object]]:
    async with opened(options.endpoint) as client:
        await client.put(0)
        value = await client.get(0)
        if value != VALUE:
            sys.exit(f"the client reads {value!r} where {VALUE!r} is stored")
        return [
            {"operation": name, "in_flight": in_flight, **await _measure(call, in_flight, options.seconds)}
            for name, call in (("GetItem", client.get), ("PutItem", client.put))
            for in_flight in options.in_flight
        ]


async def _measure(call: Call, in_flight: int, seconds: float) -> dict[str, float]:
    await _load(call, in_flight, seconds / 4)  # opens the connections; counts for nothing
    before, begun = _cpu_seconds(), time.perf_counter()
    operations = await _load(call, in_flight, seconds)
    cpu, elapsed = _cpu_seconds() - before, time.perf_counter() - begun
    return {"cpu_us": 1e6 * cpu / operations, "operations_per_second": operations / elapsed}


async def _load(call: Call, in_flight: int, seconds: float) -> int:
    numbers, end = itertools.count(), time.perf_counter() + seconds

    async def one_after_the_other() -> None:
        while time.perf_counter() < end:
            await call(next(numbers))

    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    return next(numbers)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
