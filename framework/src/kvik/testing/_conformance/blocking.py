"""No driver may stop the event loop: every other request of the process would wait for it."""

import asyncio
import contextlib
import functools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import pytest

from ..._kv.driver import Driver
from .basics import health_of
from .fixtures import StoreFixtures
from .verbs import VERBS, Call, prepared, skip_without_verb

LIMIT: Final = 0.005
"""Seconds for which the loop may be blocked, at the best of TRIES."""

TRIES: Final = 5

ROUNDS: Final = 3

_BEAT: Final = 0.001
_SLOWER: Final = 3.0
_LONGEST: Final = 0.05
_SWITCH: Final = 0.0005
_LARGE: Final = 256 * 1024


class BlockingTests(StoreFixtures):
    """Feel the loop's pulse while a verb is at work."""

    @pytest.mark.parametrize("verb", VERBS)
    async def test_a_verb_does_not_block_the_loop(self, driver: Driver, verb: str) -> None:
        """From connect on, the loop stands still for at most 5 ms, at the best of five tries."""
        skip_without_verb(driver.store, verb)
        await _check_pulse(verb, lambda number: prepared(driver, verb, f"key-{number}"))

    async def test_large_values_do_not_block_the_loop(self, driver: Driver) -> None:
        """Nor does it where the values are large."""
        value = "v" * min(_LARGE, driver.max_value_bytes or _LARGE)

        async def write(_: int) -> Call:
            return lambda: driver.set("key", value)

        async def read(_: int) -> Call:
            return lambda: driver.get("key")

        await _check_pulse("set of a large value", write)
        await _check_pulse("get of a large value", read)

    async def test_health_does_not_block_the_loop(self, driver: Driver) -> None:
        """Nor does a health check."""

        async def check(_: int) -> Call:
            return lambda: health_of(driver.store)

        await _check_pulse("health_check", check)


async def _check_pulse(verb: str, prepare: Callable[[int], Awaitable[Call]]) -> None:
    """Call until the loop was not blocked once; where it always was, ask whether the machine is to blame.

    A busy machine stops any process for longer than LIMIT now and then. So each round compares with what the loop
    feels while a thread computes for as long as the verb took, which blocks nothing.
    """
    for first in range(0, ROUNDS * TRIES, TRIES):
        best, took = await _best([await prepare(first + number) for number in range(TRIES)])
        if best <= LIMIT:
            return
        idle, _ = await _best([functools.partial(asyncio.to_thread, _compute, took)] * TRIES)
        if best <= _SLOWER * idle:
            return
    pytest.fail(
        f"{verb} blocks the event loop: for {best * 1000:.1f} ms at the best of {TRIES} tries; 5 ms may be"
    )


async def _best(calls: list[Call]) -> tuple[float, float]:
    """Give the shortest of the calls' longest standstills, and the seconds that the quickest call took."""
    best = quickest = float("inf")
    for call in calls:
        before = time.perf_counter()
        async with _pulse() as standstills:
            await call()
        quickest = min(quickest, time.perf_counter() - before)
        best = min(best, max(standstills))
        if best <= LIMIT:
            break
    return best, quickest


def _compute(seconds: float) -> None:
    end = time.perf_counter() + min(seconds, _LONGEST)
    while time.perf_counter() < end:
        pass


@contextlib.asynccontextmanager
async def _pulse() -> AsyncIterator[list[float]]:
    """Note how late each beat of the loop comes, the first after the block included."""
    standstills: list[float] = []
    beaten = asyncio.Event()

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_BEAT)
            standstills.append(max(0.0, time.perf_counter() - before - _BEAT))
            beaten.set()

    with _quick_switches():
        heart = asyncio.create_task(beat())
        await beaten.wait()
        standstills.clear()
        try:
            yield standstills
            beaten.clear()
            await beaten.wait()
        finally:
            heart.cancel()
            await asyncio.wait({heart})


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    """Let threads take turns quickly: that one computes is not to count as the loop standing still."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
