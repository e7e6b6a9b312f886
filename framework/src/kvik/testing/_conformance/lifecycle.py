"""Connecting, closing, and what a driver says before and after."""
# ruff: noqa: S101 - tests assert

import asyncio
from typing import Any

import pytest

from ..._kv.driver import Driver
from ...kv_errors import DeadlineExceeded, KVError
from .basics import health_of
from .fixtures import StoreFixtures, needs, refused
from .verbs import CAPABILITY, VERBS, Call, call_of, skip_without_verb

_NO_HURRY = 30.0


class LifecycleTests(StoreFixtures):
    """Methods connect and close, health at any time, and the deadline's hook."""

    @needs("lifecycle")
    async def test_connect_twice_is_fine(self, driver: Driver) -> None:
        """A second connect does nothing, least of all lose what is stored."""
        await driver.set("key", "value")
        await driver.connect()
        assert await driver.get("key") == "value", "connect is idempotent"

    @needs("lifecycle")
    async def test_close_twice_is_fine(self, driver: Driver) -> None:
        """A second close does nothing, also one at the same time."""
        await asyncio.gather(driver.close(), driver.close())
        await driver.close()

    @needs("lifecycle")
    async def test_close_without_connect_is_fine(self, store: Any) -> None:
        """A driver that was never connected can be closed."""
        await Driver(store).close()

    @needs("lifecycle")
    async def test_a_closed_store_can_be_connected_again(self, driver: Driver) -> None:
        """After close and connect the store works, twice over."""
        for _ in range(2):
            await driver.close()
            await driver.connect()
            await driver.set("key", "value")
            assert await driver.get("key") == "value", "a closed store can be connected again"

    @pytest.mark.parametrize("verb", VERBS)
    @needs("lifecycle")
    async def test_use_after_close_says_closed(self, driver: Driver, verb: str) -> None:
        """Every verb of a closed store raises an error whose text says so."""
        skip_without_verb(driver.store, verb)
        await driver.set("key", "1")
        await driver.close()
        error = await refused(KVError, call_of(driver, verb, "key", "version")(), f"{verb} after close raises")
        assert "closed" in str(error).lower(), f"the error of {verb} after close says 'closed', not: {error}"

    async def test_health_never_raises_before_connect(self, store: Any) -> None:
        """Health is UP or DOWN before connect too."""
        await health_of(store)

    async def test_health_never_raises_after_close(self, driver: Driver) -> None:
        """Health is UP or DOWN after close too."""
        await driver.close()
        await health_of(driver.store)

    async def test_a_driver_asks_for_the_time_left(self, store: Any) -> None:
        """A driver with use_deadline asks once per operation, on the loop, before it goes to any thread."""
        driver, asked = await _with_deadline(store, _NO_HURRY)
        for verb in VERBS:
            if CAPABILITY[verb] is None or CAPABILITY[verb] in driver.capabilities:
                version = await _version(driver)
                asked.clear()
                await call_of(driver, verb, "key", version)()
                assert len(asked) == 1, f"{verb} asks for the time left once per operation, not {len(asked)} times"
                assert asked == [True], f"{verb} asks for the time left before it goes to a thread"
        await driver.close()

    async def test_without_time_left_an_operation_is_given_up(self, store: Any) -> None:
        """Once the deadline is over, get and set raise deadline_exceeded, and the store stays usable."""
        driver, asked = await _with_deadline(store, 0.0)
        calls: tuple[Call, ...] = (lambda: driver.get("key"), lambda: driver.set("key", "value"))
        for call in calls:
            await refused(DeadlineExceeded, call(), "without time left an operation is given up")
        asked.left = _NO_HURRY
        await driver.set("key", "value")
        assert await driver.get("key") == "value", "a store is usable after a deadline was exceeded"
        await driver.close()


class _Asked(list[bool]):
    """The calls of `remaining`: for each, whether it came from the loop's thread."""

    left = _NO_HURRY

    def remaining(self) -> float:
        self.append(asyncio._get_running_loop() is not None)  # noqa: SLF001 - the public one raises where there is none
        return self.left


async def _with_deadline(store: Any, left: float) -> tuple[Driver, _Asked]:
    """Connect the store with a deadline of the test's, given as an app gives its own: before connect."""
    if not hasattr(store, "use_deadline"):
        pytest.skip(f"{type(store).__name__} has no use_deadline")
    asked = _Asked()
    driver = Driver(store)
    driver.offer("use_deadline", asked.remaining)
    await driver.connect()
    asked.left = left
    return driver, asked


async def _version(driver: Driver) -> str:
    """Write a number under `key`, and give its version where there is one."""
    await driver.set("key", "1")
    found = await driver.get_versioned("key") if "conditional" in driver.capabilities else None
    return found[1] if found else ""
