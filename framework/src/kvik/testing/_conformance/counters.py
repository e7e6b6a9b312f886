"""Numbers are ordinary values that can be added to, atomically."""
# ruff: noqa: S101, PLR2004 - tests assert, and their numbers are their subject

import asyncio
from typing import Final

import pytest

from ..._kv.driver import Driver
from ...kv_errors import InvalidValue
from .clock import StoreClock
from .fixtures import StoreFixtures, needs, refused, versioned

LARGEST: Final = 2**63 - 1
SMALLEST: Final = -(2**63)

NO_NUMBERS: Final = [
    "abc", "", " ", "1.0", "1e3", "+1", "-0", "01", "-01", " 1", "1 ", "1\n", "1\0", "--1", "-", "1_000", "0x1",
    "٣", "\uff11", "²", "True", "9223372036854775808", "-9223372036854775809", "99999999999999999999",
]  # fmt: skip
"""Texts that are no signed 64-bit number in canonical decimal."""


class CounterTests(StoreFixtures):
    """Method increment."""

    @needs("counter")
    async def test_a_missing_number_starts_at_zero(self, driver: Driver) -> None:
        """The first increment gives its delta."""
        assert await driver.increment("a", 5) == 5, "increment starts at 0"
        assert await driver.increment("b", -5) == -5, "increment starts at 0, also downwards"
        assert await driver.increment("c", 0) == 0, "increment by 0 is a write too"
        assert await driver.get("c") == "0", "increment by 0 creates the key"

    @needs("counter")
    async def test_increments_add_up(self, driver: Driver) -> None:
        """Each gives the sum, through zero and back."""
        sums = [await driver.increment("key", delta) for delta in (10, -3, -10, 0, 4)]
        assert sums == [10, 7, -3, -3, 1], "increment gives the sum"

    @needs("counter")
    async def test_a_number_is_an_ordinary_value(self, driver: Driver) -> None:
        """Get reads the sum as canonical decimal text, and what set stored is added to."""
        await driver.increment("key", 7)
        assert await driver.get("key") == "7", "get reads what increment wrote"
        await driver.set("key", "-41")
        assert await driver.increment("key", -1) == -42, "increment adds to what set wrote"
        assert await driver.get("key") == "-42", "numbers are stored as canonical decimal text"

    @pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: ascii(text)[1:-1] or "empty")
    @needs("counter")
    async def test_what_is_no_number_is_refused(self, driver: Driver, text: str) -> None:
        """Text that is not canonical decimal of 64 bits is InvalidValue, and stays as it is."""
        await driver.set("key", text)
        error = await refused(InvalidValue, driver.increment("key", 1), "increment refuses what is no number")
        assert error.outcome == "not_applied", "an invalid value proves that nothing was written"
        assert await driver.get("key") == text, "a refused increment changes nothing"

    @pytest.mark.parametrize(
        ("start", "delta"),
        [(LARGEST, 1), (SMALLEST, -1), (1, LARGEST), (-2, SMALLEST + 1), (LARGEST, LARGEST), (SMALLEST, SMALLEST)],
    )
    @needs("counter")
    async def test_a_sum_beyond_64_bits_is_refused(self, driver: Driver, start: int, delta: int) -> None:
        """Overflow is InvalidValue at both ends, and nothing is written."""
        await driver.set("key", str(start))
        await refused(InvalidValue, driver.increment("key", delta), "increment refuses a sum beyond 64 bits")
        assert await driver.get("key") == str(start), "a refused increment changes nothing"

    @needs("counter")
    async def test_all_of_64_bits_can_be_used(self, driver: Driver) -> None:
        """The smallest and the largest number are exact, as delta, as value and as sum."""
        assert await driver.increment("a", LARGEST) == LARGEST, "the largest number is exact"
        assert await driver.increment("a", SMALLEST) == -1, "the smallest delta is exact"
        assert await driver.increment("b", SMALLEST) == SMALLEST, "the smallest number is exact"
        assert await driver.get("b") == str(SMALLEST), "numbers are stored as canonical decimal text"
        await driver.set("c", str(2**53))
        assert await driver.increment("c", 1) == 2**53 + 1, "numbers do not become floats"

    @needs("counter", "expiry")
    async def test_an_increment_keeps_the_expiry(self, driver: Driver, clock: StoreClock) -> None:
        """A number that is added to expires when it would have."""
        expires_at = clock.soon()
        await driver.set_expiring("key", "1", expires_at)
        await driver.increment("key", 1)
        await clock.pass_expiry(expires_at)
        assert await driver.get("key") is None, "increment keeps the expiry"

    @needs("counter", "conditional")
    async def test_an_increment_makes_a_new_version(self, driver: Driver) -> None:
        """Every increment is a write, also by 0."""
        await driver.set("key", "1")
        seen = {(await versioned(driver, "key"))[1]}
        for delta in (1, -1, 0):
            await driver.increment("key", delta)
            seen.add((await versioned(driver, "key"))[1])
        assert len(seen) == 4, "increment makes a new version"

    @needs("counter")
    async def test_no_increment_is_lost(self, driver: Driver) -> None:
        """Concurrent increments all count, and no two give the same sum."""
        sums = await asyncio.gather(*(driver.increment("key", 1) for _ in range(20)))
        assert sorted(sums) == list(range(1, 21)), "increment is atomic"
        assert await driver.get("key") == "20", "increment is atomic"
