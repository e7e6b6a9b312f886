"""The store in memory: its bounds, its clock, and what it costs; the conformance kit proves the rest."""

import asyncio
import math
from typing import Any

import pytest

import kvik
from kvik import KV, MemoryStore


class Clock:
    """A time that stands still until a test says otherwise."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def _keys(store: MemoryStore) -> set[str]:
    keys, cursor = await store.scan("", None, 1000)
    assert cursor is None
    return set(keys)


async def test_the_least_recently_used_key_goes_first() -> None:
    """Beyond max_entries, a write drops the key that was read or written the longest time ago."""
    store = MemoryStore(max_entries=3)
    for key in "abc":
        await store.set(key, "1")
    await store.get("a")
    await store.get_many(["b"])
    await store.set("d", "1")
    assert await _keys(store) == {"a", "b", "d"}
    await store.set("a", "2")
    await store.get_versioned("b")
    await store.set("e", "1")
    assert await _keys(store) == {"a", "b", "e"}


async def test_a_scan_is_no_use() -> None:
    """Looking at which keys there are does not make them recently used."""
    store = MemoryStore(max_entries=2)
    await store.set("a", "1")
    await store.set("b", "1")
    await store.scan("a", None, 10)
    await store.set("c", "1")
    assert await _keys(store) == {"b", "c"}


async def test_what_has_expired_goes_before_what_lives() -> None:
    """An expired key is dropped for a new one, though it was written last."""
    clock = Clock()
    store = MemoryStore(max_entries=3, clock=clock)
    await store.set("old", "1")
    await store.set_expiring("later", "1", clock.now + 60)
    await store.set_expiring("expired", "1", clock.now + 1)
    clock.now += 2
    await store.set("new", "1")
    assert await _keys(store) == {"old", "later", "new"}


async def test_keys_and_values_count_in_bytes_of_utf8() -> None:
    """max_bytes is of keys and values together, and what is replaced or deleted no longer counts."""
    store = MemoryStore(max_bytes=12)
    await store.set("é", "é")  # 4 bytes
    await store.set("ab", "123456")  # 8 bytes
    assert await _keys(store) == {"é", "ab"}
    await store.set("é", "éa")
    assert await _keys(store) == {"é"}
    await store.delete("é")
    await store.set("x", "1234567890a")
    assert await _keys(store) == {"x"}
    await store.set("x", "1")
    await store.set("y", "1")
    assert await _keys(store) == {"x", "y"}


async def test_an_entry_beyond_all_bytes_is_refused() -> None:
    """What can never fit is ValueTooLarge, and drops nothing."""
    store = MemoryStore(max_bytes=10)
    await store.set("a", "1")
    with pytest.raises(kvik.ValueTooLarge) as caught:
        await KV(store).set("b", "1234567890")
    assert (caught.value.size, caught.value.limit) == (11, 10)
    assert await _keys(store) == {"a"}


@pytest.mark.parametrize("bound", [0, -1, 1.5, True, "10"], ids=repr)
@pytest.mark.parametrize("name", ["max_entries", "max_bytes"])
def test_a_bound_is_a_whole_number_above_zero(name: str, bound: Any) -> None:
    """Anything else is a ValueError that names the argument."""
    with pytest.raises(ValueError, match=f"{name} is None or a whole number above 0, not {bound!r}"):
        MemoryStore(**{name: bound})


async def test_a_clock_may_be_given_at_any_time() -> None:
    """The clock of the moment counts, also for keys that were written by another."""
    store = MemoryStore()
    kv: KV = KV(store)
    await kv.set("key", "value", ttl=60)
    present = store.clock()
    store.clock = lambda: present + 59
    assert await kv.get("key") == "value"
    store.clock = lambda: present + 61
    assert not await kv.exists("key")


async def test_expired_keys_are_cleared_away_by_writes() -> None:
    """Keys that nobody reads again do not stay for ever."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    for number in range(1000):
        await store.set_expiring(f"key-{number}", "1", clock.now + number / 1000)
    clock.now += 1
    for number in range(300):
        await store.set(f"new-{number % 10}", "1")
    assert (await store.health_check())["details"] == {"keys": 10}


async def test_a_key_that_is_written_again_and_again_takes_no_more_room() -> None:
    """The notes of when keys expire are bounded by the number of keys, however often they are written."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    for number in range(10_000):
        await store.set_expiring(f"key-{number % 10}", "1", clock.now + 1000 + number)
    assert len(store._expiries) <= 100  # noqa: SLF001 - what it takes cannot be seen from outside
    clock.now += 1000 + 9_995
    assert await _keys(store) == {f"key-{number}" for number in range(6, 10)}


async def test_versions_differ_between_stores() -> None:
    """A version of another store is a conflict, also of one with the same history."""
    one, other = MemoryStore(), MemoryStore()
    version = await one.set_if("key", "value", None)
    assert await other.set_if("key", "value", None) != version
    with pytest.raises(kvik.Conflict):
        await other.set_if("key", "new", version)


def test_data_outlives_an_apps_restart() -> None:
    """A store without connect and close has nothing to lose between two runs of an app in a test."""
    app, store = kvik.App(), MemoryStore()
    app.add_kv_store(MemoryStore())

    @app.post("/visits")
    async def visit(ctx: kvik.Context) -> int:
        return await ctx.kv_store.increment("visits")

    for run in (1, 2):
        with app.testing(kv_store=store) as client:
            assert client.post("/visits").json() == {"data": run}


async def test_tasks_see_each_others_writes_at_once() -> None:
    """Each operation is one step: concurrent increments are as if one came after the other."""
    store = MemoryStore()
    sums = await asyncio.gather(*(store.increment("key", 1) for _ in range(100)))
    assert sums == list(range(1, 101))


async def test_one_str_is_not_a_list_of_keys() -> None:
    """`delete_many("us")` would delete u and s: it is a TypeError, and `get_many` likewise."""
    store = MemoryStore()
    await store.set_many({"u": "1", "s": "1"})
    for call in (
        store.delete_many("us"),
        store.get_many("us"),
        KV(store).delete_many("us"),
        KV(store).get_many("us"),
    ):
        with pytest.raises(TypeError, match="str"):
            await call
    assert await _keys(store) == {"u", "s"}


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, "60", True], ids=repr)
async def test_an_expiry_is_a_finite_number(moment: Any) -> None:
    """What has no place among moments is refused before anything is written, for later writes would fail on it."""
    store = MemoryStore()
    for call in (
        store.set_expiring("k", "1", moment),
        store.set_if("k", "1", None, moment),
        store.set_many({"k": "1"}, moment),
    ):
        with pytest.raises((kvik.InvalidValue, TypeError)):
            await call
    assert await _keys(store) == set()


async def test_a_moment_that_is_past_leaves_nothing() -> None:
    """A duration given as a moment, say 60, is a key that is gone at once, and takes no room."""
    store = MemoryStore()
    await store.set_expiring("k", "1", 60)
    assert await store.get("k") is None
    assert (await store.health_check())["details"] == {"keys": 0}


@pytest.mark.parametrize("limit", [0, -1, None, "10", 2.5, True], ids=repr)
async def test_a_limit_is_an_int_above_0(limit: Any) -> None:
    """A page of no keys, or of what is not a number of them, is a ValueError."""
    store = MemoryStore()
    await store.set("k", "1")
    with pytest.raises(ValueError, match="limit"):
        await store.scan("", None, limit)


async def test_delete_if_needs_a_version() -> None:
    """A forgotten version is a TypeError, also where nothing is there."""
    store = MemoryStore()
    version: Any = None
    with pytest.raises(TypeError, match="version"):
        await store.delete_if("k", version)


async def test_minus_zero_does_not_count() -> None:
    """Text that is not the number's shortest form is refused, as by every driver."""
    store = MemoryStore()
    await store.set("k", "-0")
    with pytest.raises(kvik.InvalidValue):
        await store.increment("k", 1)
    assert await store.get("k") == "-0"
