"""Several keys at once."""
# ruff: noqa: S101 - tests assert

import asyncio

from ..._kv.driver import Driver
from ...kv import KV
from .clock import StoreClock
from .fixtures import StoreFixtures, needs
from .keys import KEYS
from .values import VALUES

MANY = 250
"""More than any backend takes in one request."""


class BatchTests(StoreFixtures):
    """get_many, set_many, delete_many."""

    @needs("batch")
    async def test_get_many_gives_the_hits(self, driver: Driver) -> None:
        """Keys that are there come with their values, others not at all."""
        await driver.set("a", "1")
        await driver.set("b", "")
        found = await driver.get_many(["a", "missing", "b"])
        assert found == {"a": "1", "b": ""}, "get_many gives hits only, the empty value is one"

    @needs("batch")
    async def test_get_many_of_nothing_but_missing_keys(self, driver: Driver) -> None:
        """No hit is an empty dict."""
        assert await driver.get_many(["a", "b"]) == {}, "get_many gives hits only"

    @needs("batch")
    async def test_a_batch_of_no_keys(self, driver: Driver) -> None:
        """No keys are no error, and do nothing."""
        await driver.set("a", "1")
        assert await driver.get_many([]) == {}, "a batch of no keys is no error"
        await driver.set_many({})
        await driver.delete_many([])
        assert await driver.get("a") == "1", "a batch of no keys does nothing"

    @needs("batch")
    async def test_keys_may_come_twice(self, driver: Driver) -> None:
        """A key that is asked for twice is found once; one that is deleted twice is gone."""
        await driver.set("a", "1")
        assert await driver.get_many(["a", "a", "b", "a"]) == {"a": "1"}, "a key may come twice in get_many"
        await driver.delete_many(["a", "b", "a"])
        assert await driver.get("a") is None, "a key may come twice in delete_many"

    @needs("batch")
    async def test_set_many_writes_all(self, driver: Driver) -> None:
        """All items are stored, new ones and replaced ones, also where their values are the same."""
        await driver.set("a", "before")
        await driver.set_many({"a": "same", "b": "same", "c": "same"})
        values = [await driver.get(key) for key in "abc"]
        assert values == ["same", "same", "same"], "set_many writes all of its items"

    @needs("batch")
    async def test_delete_many_deletes_those_and_no_others(self, driver: Driver) -> None:
        """Missing keys are no error, and what was not named stays."""
        await driver.set_many({"a": "1", "b": "2", "c": "3"})
        await driver.delete_many(["a", "missing", "c"])
        assert await driver.get_many(["a", "b", "c"]) == {"b": "2"}, "delete_many deletes what is named"

    @needs("batch")
    async def test_a_batch_may_be_large(self, driver: Driver) -> None:
        """A few hundred keys are written, read and deleted without one being forgotten."""
        items = {f"key-{number:03}": f"value {number}" for number in range(MANY)}
        await driver.set_many(items)
        assert await driver.get_many(list(items)) == items, "a batch may be of any number of keys"
        await driver.delete_many(list(items)[1:])
        assert await driver.get_many(list(items)) == {"key-000": "value 0"}, "a batch may be of any number of keys"

    @needs("batch")
    async def test_keys_and_values_of_a_batch_are_taken_as_they_are(self, driver: Driver) -> None:
        """Keys that look alike and values of every kind come through a batch as through set and get."""
        keys = [key for group in KEYS.values() for key in group]
        values = list(VALUES.values())
        items = {key: f"{number} {values[number % len(values)]}" for number, key in enumerate(keys)}
        await driver.set_many(items)
        found = await driver.get_many(keys)
        alone = dict(zip(keys, await asyncio.gather(*map(driver.get, keys)), strict=True))
        for key, value in items.items():
            assert found.get(key) == value, f"a key of a batch is taken as it is: {key!r}"
            assert alone[key] == value, f"a key of a batch is the same as that of get: {key!r}"
        await driver.delete_many(keys[:-1])
        assert await driver.get_many(keys) == {keys[-1]: items[keys[-1]]}, "delete_many takes keys as they are"

    @needs("batch", "expiry")
    async def test_set_many_has_one_expiry(self, driver: Driver, clock: StoreClock) -> None:
        """All keys of a batch expire when it says so."""
        expires_at = clock.soon()
        keys = [f"key-{number}" for number in range(40)]
        await driver.set_many(dict.fromkeys(keys, "value"), expires_at)
        if clock.is_set_by_hand:
            assert len(await driver.get_many(keys)) == len(keys), "keys of a batch live until they expire"
        await clock.pass_expiry(expires_at)
        assert await driver.get_many(keys) == {}, "set_many gives its expiry to all keys"

    @needs("batch")
    async def test_the_facade_gives_the_hits(self, driver: Driver, kv: KV) -> None:
        """The facade's verbs for several keys do the same."""
        await kv.set_many({"a": "1", "b": "2"})
        assert await kv.get_many(["a", "b", "c"]) == {"a": "1", "b": "2"}
        await kv.delete_many(["a", "c"])
        assert await driver.get_many(["a", "b"]) == {"b": "2"}
