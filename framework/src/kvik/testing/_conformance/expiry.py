"""An expired key is missing at once, on every path, and never earlier."""
# ruff: noqa: S101 - tests assert

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from ..._kv.driver import Driver
from ...kv import KV
from ...kv_errors import Conflict, KeyNotFound
from .clock import StoreClock
from .fixtures import StoreFixtures, needs, refused, versioned

Write = Callable[[Driver, str, str, float], Awaitable[None]]


async def _set_expiring(driver: Driver, key: str, value: str, expires_at: float) -> None:
    await driver.set_expiring(key, value, expires_at)


async def _set_if(driver: Driver, key: str, value: str, expires_at: float) -> None:
    await driver.set_if(key, value, None, expires_at)


async def _set_many(driver: Driver, key: str, value: str, expires_at: float) -> None:
    await driver.set_many({key: value, key + "-other": value}, expires_at)


async def _set_expiring_again(driver: Driver, key: str, value: str, expires_at: float) -> None:
    await driver.set_expiring(key, "other", expires_at + 1000)
    await driver.set_expiring(key, value, expires_at)


WRITES: Final[dict[str, tuple[str | None, Write]]] = {
    "set_expiring": (None, _set_expiring),
    "set_if": ("conditional", _set_if),
    "set_many": ("batch", _set_many),
    "twice": (None, _set_expiring_again),
}
"""The ways to write a key that expires, with the capability that each needs besides expiry."""


class ExpiryTests(StoreFixtures):
    """Absolute expiry, by the driver's clock if it has one."""

    @needs("expiry")
    async def test_a_key_lives_until_it_expires(self, driver: Driver, clock: StoreClock) -> None:
        """A key that has time left is there, and says the value that it was given."""
        await driver.set_expiring("key", "value", clock.later())
        assert await driver.get("key") == "value", "a key with time left is there"

    @pytest.mark.parametrize("write", WRITES)
    @needs("expiry")
    async def test_an_expired_key_is_missing(self, driver: Driver, clock: StoreClock, write: str) -> None:
        """However it was written, get gives None from the expiry on."""
        await written(driver, clock, write)
        assert await driver.get("key") is None, f"an expired key is missing for get, written by {write}"

    @needs("expiry")
    async def test_expiry_is_of_one_key(self, driver: Driver, clock: StoreClock) -> None:
        """Keys that expire later, or never, stay."""
        await driver.set("never", "value")
        await driver.set_expiring("later", "value", clock.later())
        await written(driver, clock, "set_expiring")
        assert (await driver.get("never"), await driver.get("later")) == ("value", "value"), "other keys stay"

    @needs("expiry")
    async def test_a_moment_that_is_past_expires_at_once(self, driver: Driver, clock: StoreClock) -> None:
        """A key that is written with an expiry in the past is missing, also where it was there before."""
        await driver.set("key", "value")
        await driver.set_expiring("key", "other", clock.now() - clock.granularity - 1)
        assert await driver.get("key") is None, "an expiry in the past leaves no key, not the old value either"

    @pytest.mark.parametrize("fraction", [0.001, 0.25, 0.499, 0.5, 0.999])
    @needs("expiry")
    async def test_rounding_never_shortens_a_life(
        self, driver: Driver, clock: StoreClock, fraction: float
    ) -> None:
        """Until the very moment the key is there; it may live longer by ttl_granularity, no more."""
        if not clock.is_set_by_hand:
            await _lives_its_time(driver, fraction)
            return
        expires_at = float(int(clock.now()) + 10) + fraction
        await driver.set_expiring("key", "value", expires_at)
        clock.set(expires_at - 0.0008)
        assert await driver.get("key") == "value", "rounding never shortens a life"
        clock.set(expires_at + clock.granularity)
        assert await driver.get("key") is None, "a life is longer by ttl_granularity at most"

    @needs("expiry", "conditional")
    async def test_the_expiry_is_told(self, driver: Driver, clock: StoreClock) -> None:
        """get_versioned tells the moment, not earlier than what was asked for, None where there is none."""
        expires_at = float(int(clock.now())) + 1000.4567
        await driver.set_expiring("key", "value", expires_at)
        told = (await versioned(driver, "key"))[2]
        assert told is not None, "get_versioned tells when the key expires"
        assert expires_at - 1e-6 <= told <= expires_at + clock.granularity + 1e-6, (
            "it tells the moment, rounded up"
        )
        await driver.set("key", "value")
        assert (await versioned(driver, "key"))[2] is None, "a key without expiry tells None"

    @needs("expiry")
    async def test_set_clears_the_expiry(self, driver: Driver, clock: StoreClock) -> None:
        """A key that is set without an expiry lives on."""
        expires_at = clock.soon()
        await driver.set_expiring("key", "value", expires_at)
        await driver.set("key", "other")
        await clock.pass_expiry(expires_at)
        assert await driver.get("key") == "other", "set clears the expiry"

    @needs("expiry", "batch")
    async def test_set_many_clears_the_expiry(self, driver: Driver, clock: StoreClock) -> None:
        """A batch without an expiry clears that of its keys."""
        expires_at = clock.soon()
        await driver.set_expiring("key", "value", expires_at)
        await driver.set_many({"key": "other", "new": "value"})
        await clock.pass_expiry(expires_at)
        assert await driver.get("key") == "other", "set_many without expires_at clears the expiry"

    @needs("expiry", "conditional")
    async def test_set_if_clears_or_sets_the_expiry(self, driver: Driver, clock: StoreClock) -> None:
        """A conditional write has the expiry that it is given, and none if it is given none."""
        expires_at, later = clock.soon(), clock.later()
        await driver.set_expiring("key", "value", expires_at)
        version = await driver.set_if("key", "other", (await versioned(driver, "key"))[1])
        assert (await versioned(driver, "key"))[2] is None, "set_if without expires_at clears the expiry"
        await driver.set_if("key", "third", version, later)
        assert (await versioned(driver, "key"))[2] is not None, "set_if sets the expiry that it is given"
        await clock.pass_expiry(expires_at)
        assert await driver.get("key") == "third", "the last write's expiry counts"

    @needs("expiry", "batch")
    async def test_an_expired_key_is_no_hit_of_a_batch(self, driver: Driver, clock: StoreClock) -> None:
        """get_many leaves out what has expired."""
        await driver.set("other", "value")
        await written(driver, clock, "set_expiring")
        assert await driver.get_many(["key", "other"]) == {"other": "value"}, (
            "an expired key is missing for get_many"
        )

    @needs("expiry", "scan")
    async def test_an_expired_key_is_not_scanned(self, driver: Driver, clock: StoreClock) -> None:
        """A scan leaves out what has expired."""
        await driver.set("other", "value")
        await written(driver, clock, "set_expiring")
        keys, _ = await driver.scan("", None, 10)
        assert "key" not in keys, "an expired key is missing for scan"

    @needs("expiry", "conditional")
    async def test_an_expired_key_has_no_version(self, driver: Driver, clock: StoreClock) -> None:
        """get_versioned gives None for what has expired."""
        await written(driver, clock, "set_expiring")
        assert await driver.get_versioned("key") is None, "an expired key is missing for get_versioned"

    @needs("expiry", "conditional")
    async def test_an_expired_key_counts_as_absent(self, driver: Driver, clock: StoreClock) -> None:
        """A write on the condition that the key is absent succeeds where it has expired."""
        await written(driver, clock, "set_expiring")
        try:
            await driver.set_if("key", "new", None)
        except Conflict as error:
            pytest.fail(f"a write to an expired key succeeds as to an absent one: {error}")
        found = await versioned(driver, "key")
        assert (found[0], found[2]) == ("new", None), "a write to an expired key takes nothing over from it"

    @needs("expiry", "conditional")
    async def test_an_expired_keys_version_is_a_conflict(self, driver: Driver, clock: StoreClock) -> None:
        """Conditional writes with the version that has expired are conflicts with nothing."""
        expires_at = clock.soon()
        version = await driver.set_if("key", "value", None, expires_at)
        await clock.pass_expiry(expires_at)
        for write in (lambda: driver.set_if("key", "new", version), lambda: driver.delete_if("key", version)):
            error = await refused(Conflict, write(), "an expired key's version is a conflict")
            assert error.current is None, "Conflict.current of an expired key is None"

    @needs("expiry", "counter")
    async def test_an_expired_number_starts_again(self, driver: Driver, clock: StoreClock) -> None:
        """An increment counts from 0 where the number has expired, and does not expire again."""
        expires_at = clock.soon()
        await driver.set_expiring("key", "41", expires_at)
        await clock.pass_expiry(expires_at)
        assert await driver.increment("key", 1) == 1, "an expired key is missing for increment"
        assert await driver.get("key") == "1", "an expired key's expiry is not taken over by increment"

    @needs("expiry")
    async def test_an_expired_key_can_be_written_and_deleted(self, driver: Driver, clock: StoreClock) -> None:
        """Delete of an expired key is no error, and a new write lives by its own expiry."""
        await written(driver, clock, "set_expiring")
        await driver.delete("key")
        await driver.set_expiring("key", "new", clock.later())
        assert await driver.get("key") == "new", "a write to an expired key succeeds as to an absent one"

    @needs("expiry")
    async def test_an_expired_key_set_again_stays(self, driver: Driver, clock: StoreClock) -> None:
        """A plain set over an expired key has no expiry."""
        await written(driver, clock, "set_expiring")
        await driver.set("key", "new")
        assert await driver.get("key") == "new", "set over an expired key stays"

    @needs("expiry")
    async def test_a_time_to_live_through_the_facade(self, driver: Driver, kv: KV, clock: StoreClock) -> None:
        """A ttl counts from the store's present."""
        await kv.set("key", "value", ttl=3600)
        assert await kv.get("key") == "value"
        ttl = clock.soon() - clock.now()
        await kv.set("key", "value", ttl=ttl)
        await clock.pass_expiry(clock.now() + ttl)
        await refused(KeyNotFound, kv.get("key"), f"a ttl ends the key in {driver.driver_name}")
        assert not await kv.exists("key"), "an expired key does not exist"


async def written(driver: Driver, clock: StoreClock, write: str) -> None:
    """Write `key` so that it expires, and let that time pass."""
    capability, function = WRITES[write]
    if capability is not None and capability not in driver.capabilities:
        pytest.skip(f"{driver.driver_name} does not declare the capability {capability!r}")
    expires_at = clock.soon()
    await function(driver, "key", "value", expires_at)
    await clock.pass_expiry(expires_at)


async def _lives_its_time(driver: Driver, fraction: float) -> None:
    """Read in real time until the expiry: whatever is read before it must be the value."""
    expires_at = time.time() + 0.2 + fraction / 10
    await driver.set_expiring("key", "value", expires_at)
    while True:
        value = await driver.get("key")
        if time.time() >= expires_at:
            return
        assert value == "value", "rounding never shortens a life"
        await asyncio.sleep(0.002)
