"""The four methods that every driver has, and that it says of itself what is true."""
# ruff: noqa: S101 - tests assert

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from ..._kv.driver import Driver
from ..._kv.store import OPTIONAL
from ...kv import KV
from ...kv_errors import KeyNotFound, Unsupported
from .fixtures import StoreFixtures, refused


class BasicTests(StoreFixtures):
    """Get, set, delete, health_check."""

    async def test_get_gives_what_set_stored(self, driver: Driver) -> None:
        """A value comes back as it was set."""
        await driver.set("key", "value")
        assert await driver.get("key") == "value", "get gives what set stored"

    async def test_a_missing_key_is_none(self, driver: Driver) -> None:
        """None means that there is no such key."""
        assert await driver.get("missing") is None, "get gives None for a missing key"

    async def test_set_replaces(self, driver: Driver) -> None:
        """The last of several writes stays."""
        for number in range(10):
            await driver.set("key", str(number))
            assert await driver.get("key") == str(number), "get sees the last write at once"

    async def test_set_leaves_other_keys_alone(self, driver: Driver) -> None:
        """A write is of one key."""
        await driver.set("one", "1")
        await driver.set("two", "2")
        await driver.delete("three")
        assert (await driver.get("one"), await driver.get("two")) == ("1", "2"), "a write is of one key"

    async def test_verbs_give_nothing(self, driver: Driver) -> None:
        """The methods set and delete return None: a failure is an exception, never a value."""
        assert await _answer(driver.store.set("key", "value")) is None, "set returns None"
        assert await _answer(driver.store.delete("key")) is None, "delete returns None"

    async def test_delete_removes(self, driver: Driver) -> None:
        """A deleted key is missing, and can be set again."""
        await driver.set("key", "value")
        await driver.delete("key")
        assert await driver.get("key") is None, "a deleted key is missing"
        await driver.set("key", "again")
        assert await driver.get("key") == "again", "a deleted key can be set again"

    async def test_delete_of_a_missing_key_is_no_error(self, driver: Driver) -> None:
        """Deleting what is not there succeeds, also twice."""
        await driver.delete("missing")
        await driver.set("key", "value")
        await driver.delete("key")
        await driver.delete("key")

    async def test_many_callers_at_once(self, driver: Driver) -> None:
        """Concurrent calls do not mix up each other's keys and values."""
        numbers = range(50)
        await asyncio.gather(*(driver.set(f"key-{number}", f"value-{number}") for number in numbers))
        values = await asyncio.gather(*(driver.get(f"key-{number}") for number in numbers))
        assert values == [f"value-{number}" for number in numbers], "concurrent calls keep keys and values apart"

    async def test_concurrent_writes_to_a_key_leave_one_of_them(self, driver: Driver) -> None:
        """Of concurrent writes one stays, whole."""
        values = [str(number) * 100 for number in range(10)]
        await asyncio.gather(*(driver.set("key", value) for value in values))
        assert await driver.get("key") in values, "one of the concurrent writes stays, whole"

    async def test_the_facade_tells_a_missing_key(self, kv: KV) -> None:
        """Through the facade a missing key is KeyNotFound, or the default."""
        await refused(KeyNotFound, kv.get("missing"), "a missing key is KeyNotFound")
        assert await kv.get("missing", default=None) is None
        assert await kv.exists("missing") is False

    async def test_health_is_up(self, driver: Driver) -> None:
        """A connected store is UP, with details in a mapping."""
        health = await health_of(driver.store)
        assert health["status"] == "UP", f"the health of a connected store is UP; details: {health.get('details')}"

    async def test_health_can_be_asked_by_many_at_once(self, driver: Driver) -> None:
        """Health checks do not disturb each other, nor what else goes on."""
        answers = await asyncio.gather(
            *(health_of(driver.store) for _ in range(5)), *(driver.set(f"key-{n}", "v") for n in range(5))
        )
        assert {answer["status"] for answer in answers[:5] if answer} == {"UP"}, "health is UP while busy"

    @pytest.mark.parametrize("capability", OPTIONAL)
    async def test_a_capability_is_declared_by_all_of_its_methods_or_none(
        self, driver: Driver, kv: KV, capability: str
    ) -> None:
        """What is declared is there as a whole; what is not is absent, and the facade says so."""
        there = [name for name in OPTIONAL[capability] if hasattr(driver.store, name)]
        if capability in driver.capabilities:
            assert there == list(OPTIONAL[capability]), f"{capability}: all of its methods are there"
        else:
            assert there == [], f"{capability}: what is not declared is absent, also as something not callable"
            await _is_absent(driver, kv, capability)

    async def test_limits_are_whole_numbers_above_zero(self, driver: Driver) -> None:
        """Limits, where they are stated, are numbers that a key or value can keep."""
        limits = getattr(driver.store, "limits", None)
        for name in ("max_key_bytes", "max_value_bytes"):
            limit = getattr(limits, name, None)
            assert limit is None or (type(limit) is int and limit > 0), f"limits.{name} is None or an int above 0"
        granularity = getattr(limits, "ttl_granularity", 0.0)
        assert granularity >= 0, "limits.ttl_granularity is seconds, 0 or more"


async def health_of(store: Any) -> Mapping[str, Any]:
    """Ask the driver itself, and check the form of its answer."""
    __tracebackhide__ = True
    try:
        health = await _answer(
            await asyncio.to_thread(store.health_check) if _is_plain(store) else store.health_check()
        )
    except Exception as error:  # noqa: BLE001 - any exception breaks the rule
        pytest.fail(f"health_check never raises; it raised {type(error).__name__}: {error}")
    assert isinstance(health, Mapping), f"health_check gives a mapping, not {type(health).__name__}"
    assert health.get("status") in {"UP", "DOWN"}, f"health is exactly UP or DOWN, not {health.get('status')!r}"
    assert isinstance(health.get("details", {}), Mapping), "the details of health are a mapping"
    return health


def _is_plain(store: Any) -> bool:
    return not inspect.iscoroutinefunction(store.health_check)


async def _answer(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given


async def _is_absent(driver: Driver, kv: KV, capability: str) -> None:
    """Ask the facade for what the driver does not declare."""
    operations: dict[str, Callable[[], Awaitable[object]]] = {
        "expiry": lambda: kv.set("key", "value", ttl=60),
        "conditional": lambda: kv.set("key", "value", if_absent=True),
        "scan": lambda: anext(kv.scan()),
        "counter": lambda: kv.increment("key"),
    }
    operation = operations.get(capability)
    if operation is None or (capability == "counter" and "conditional" in driver.capabilities):
        await _works_without(kv, capability)
        return
    error = await refused(Unsupported, operation(), f"without {capability} the facade says so")
    assert driver.driver_name in str(error), "Unsupported names the driver"
    assert capability in str(error) or capability == "counter", "Unsupported names the capability"


async def _works_without(kv: KV, capability: str) -> None:
    """Use what the facade does by itself where the driver does not."""
    if capability == "batch":
        await kv.set_many({"a": "1", "b": "2"})
        assert await kv.get_many(["a", "b", "c"]) == {"a": "1", "b": "2"}
        await kv.delete_many(["a", "b"])
        assert await kv.get_many(["a", "b"]) == {}
    if capability == "counter":
        assert (await kv.increment("n", 2), await kv.increment("n", 3)) == (2, 5)
