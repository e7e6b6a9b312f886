"""Several keys at once, over drivers that can and drivers that cannot."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

import kvik
from kvik import KV, MemoryStore
from kvik.testing._conformance.blocking import _check_pulse
from support import Basic


class OneByOne:
    """A driver without a batch, which says how many calls run at once, and fails for some keys."""

    def __init__(self, **failing: Exception) -> None:
        self.inner = MemoryStore()
        self.failing = failing
        self.running = self.most = self.begun = self.ended = 0
        self.hold: asyncio.Event | None = None

    async def get(self, key: str) -> str | None:
        await self._pass(key)
        return await self.inner.get(key)

    async def set(self, key: str, value: str) -> None:
        await self._pass(key)
        await self.inner.set(key, value)

    async def delete(self, key: str) -> None:
        await self._pass(key)
        await self.inner.delete(key)

    async def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        await self._pass(key)
        await self.inner.set_expiring(key, value, expires_at)

    async def health_check(self) -> Mapping[str, Any]:
        return {"status": "UP"}

    async def _pass(self, key: str) -> None:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(0)
            if key in self.failing:
                raise self.failing[key]
        finally:
            self.running -= 1
            self.ended += 1


class Partial(MemoryStore):
    """A driver whose batches fail for the key `bad`."""

    async def get_many(self, keys: Any) -> dict[str, str]:
        raise self._failure(await super().get_many([key for key in keys if not key.endswith("bad")]))

    async def set_many(self, items: Any, expires_at: float | None = None) -> None:
        raise self._failure([key for key in items if not key.endswith("bad")])

    async def delete_many(self, keys: Any) -> None:
        raise self._failure([])

    @staticmethod
    def _failure(results: Any) -> Exception:
        error = Exception("some keys failed")
        throttled = Exception("slow down")
        vars(throttled).update(code="throttled", reason="hot")
        vars(error).update(code="partial_failure", results=results, errors={"t:bad": throttled})
        return error


@pytest.mark.parametrize("make_store", [MemoryStore, OneByOne], ids=["batch", "one by one"])
async def test_a_batch_gives_the_hits_alone(make_store: Any) -> None:
    """What is missing is left out, keys named twice count once, and nothing is nothing."""
    kv = KV(make_store())
    await kv.set_many({f"k{n}": str(n) for n in range(50)})
    found = await kv.get_many([f"k{n}" for n in range(-5, 5)] + ["k1", "k1"])
    assert found == {f"k{n}": str(n) for n in range(5)}
    await kv.delete_many(iter(["k1", "k2", "missing", "k1"]))
    assert await kv.get_many(("k0", "k1", "k2")) == {"k0": "0"}
    assert await kv.get_many([]) == {}
    await kv.set_many({})
    await kv.delete_many([])


@pytest.mark.parametrize("make_store", [MemoryStore, OneByOne], ids=["batch", "one by one"])
async def test_a_batch_with_a_ttl_expires(make_store: Any) -> None:
    """All keys of the batch get the same expiry."""
    store = make_store()
    inner: MemoryStore = getattr(store, "inner", store)
    kv = KV(store)
    await kv.set_many({"a": "1", "b": "2"}, ttl=3600)
    expiries = {(await KV(inner).entry(key)).expires_at for key in ("a", "b")}
    assert len(expiries) == 1
    assert None not in expiries


async def test_without_a_batch_sixteen_run_at_once() -> None:
    """The fallback is bounded, and asks for every key."""
    store = OneByOne()
    await KV(store).get_many([str(n) for n in range(100)])
    assert (store.most, store.begun) == (16, 100)


@pytest.mark.parametrize("bad", ["", "\ud800", None, b"k", 7])
async def test_a_bad_key_keeps_the_whole_batch_from_the_driver(bad: Any) -> None:
    """All keys and values are checked before the first is sent."""
    store = OneByOne()
    kv = KV(store)
    for call in (kv.get_many(["good", bad]), kv.delete_many(["good", bad]), kv.set_many({"good": "v", bad: "v"})):
        with pytest.raises(kvik.InvalidKey):
            await call
    if bad != "":
        with pytest.raises(kvik.InvalidValue):
            await kv.set_many({"good": "v", "other": bad})
    assert store.begun == 0


async def test_a_text_is_no_batch_of_keys() -> None:
    """A str would be read as its letters."""
    kv = KV(MemoryStore())
    with pytest.raises(TypeError, match="get_many takes several keys, not a str"):
        await kv.get_many("key")
    with pytest.raises(TypeError, match="delete_many takes several keys, not a str"):
        await kv.delete_many("key")


async def test_one_by_one_all_is_done_and_the_failures_are_told() -> None:
    """PartialFailure holds what succeeded, and the error of each other key, by the caller's keys."""
    tenant = KV(OneByOne(**{"t:bad": ConnectionError("gone"), "t:worse": TimeoutError("slow")})).namespace("t")
    with pytest.raises(kvik.PartialFailure, match=r"2 of 4 keys failed: deadline_exceeded, unavailable") as caught:
        await tenant.set_many({"a": "1", "bad": "2", "worse": "3", "b": "4"})
    assert sorted(caught.value.results) == ["a", "b"]
    assert {key: type(error) for key, error in caught.value.errors.items()} == {
        "bad": kvik.Unavailable,
        "worse": kvik.DeadlineExceeded,
    }
    assert (caught.value.outcome, caught.value.operation, caught.value.status_code) == ("unknown", "set_many", 503)
    with pytest.raises(kvik.PartialFailure) as caught:
        await tenant.get_many(["a", "bad", "missing"])
    assert (caught.value.results, [*caught.value.errors]) == ({"a": "1"}, ["bad"])
    assert caught.value.outcome == "not_applied"
    with pytest.raises(kvik.PartialFailure) as caught:
        await tenant.delete_many(["a", "bad"])
    assert caught.value.results == ["a"]


async def test_where_all_fail_alike_the_error_itself_is_raised() -> None:
    """A store that is down is Unavailable, also for a batch; different reasons are a PartialFailure."""
    failing = KV(OneByOne(a=ConnectionError("gone"), b=ConnectionError("gone"), c=TimeoutError()))
    for call in (failing.get_many(["a", "b"]), failing.delete_many(["a"]), failing.set_many({"a": "1", "b": "2"})):
        with pytest.raises(kvik.Unavailable):
            await call
    with pytest.raises(kvik.PartialFailure) as caught:
        await failing.get_many(["a", "c"])
    assert caught.value.results == {}
    with pytest.raises(kvik.PartialFailure):  # one key was read, although it is not there
        await failing.get_many(["a", "missing"])


async def test_a_drivers_partial_failure_is_told_by_the_callers_keys() -> None:
    """Results and errors of a driver's batch become the facade's."""
    store = Partial()
    tenant = KV(store).namespace("t")
    await tenant.set("a", "1")
    with pytest.raises(kvik.PartialFailure) as caught:
        await tenant.get_many(["a", "bad"])
    assert caught.value.results == {"a": "1"}
    error = caught.value.errors["bad"]
    assert isinstance(error, kvik.Throttled)
    assert (error.reason, error.operation) == ("hot", "get_many")
    with pytest.raises(kvik.PartialFailure) as caught:
        await tenant.set_many({"a": "1", "bad": "2"})
    assert caught.value.results == ["a"]
    with pytest.raises(kvik.Throttled):
        await tenant.delete_many(["bad"])


async def test_values_that_are_corrupt_fail_alone() -> None:
    """A typed read gives what it can, and names the rest."""
    kv = KV(MemoryStore())
    await kv.set_many({"a": "1", "b": "x"})
    with pytest.raises(kvik.PartialFailure) as caught:
        await kv.typed(int).get_many(["a", "b"])
    assert caught.value.results == {"a": 1}
    assert isinstance(caught.value.errors["b"], kvik.Corrupt)
    with pytest.raises(kvik.Corrupt):
        await kv.typed(int).get_many(["b"])


async def test_a_cancelled_batch_leaves_nothing_running() -> None:
    """Whoever cancels a batch finds all its operations ended."""
    store = OneByOne()
    store.hold = asyncio.Event()
    batch = asyncio.create_task(KV(store).delete_many([str(n) for n in range(40)]))
    while store.begun < 16:
        await asyncio.sleep(0)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert (store.begun, store.ended, store.running) == (16, 16, 0)


async def test_a_partial_failure_that_names_no_key_is_one_all_the_same() -> None:
    """A driver that says only that a batch failed is believed; what it found is in the results."""

    class Vague(MemoryStore):
        async def get_many(self, keys: Any) -> dict[str, str]:
            error = Exception("some keys failed")
            vars(error).update(code="partial_failure", results=await super().get_many(["a"]))
            raise error

    kv = KV(Vague())
    await kv.set("a", "1")
    with pytest.raises(kvik.PartialFailure) as caught:
        await kv.get_many(["a", "b"])
    assert (caught.value.results, caught.value.errors) == ({"a": "1"}, {})


@pytest.mark.parametrize("store", [MemoryStore(), Basic()], ids=["with a batch", "without one"])
@pytest.mark.parametrize("verb", ["set_many", "get_many", "delete_many"])
async def test_a_large_batch_does_not_block_the_loop(store: Any, verb: str) -> None:
    """However many keys there are, the loop stands still for at most 5 ms, also where the store never waits."""
    kv = KV(store).namespace("large").typed(int)
    items = {f"key-{number}": number for number in range(30_000)}
    await kv.set_many(items)

    async def prepare(_: int) -> Any:
        return lambda: getattr(kv, verb)(items)

    await _check_pulse(verb, prepare)


async def test_the_keys_of_a_batch_are_the_callers_own() -> None:
    """What the caller does to his collection while a batch is at work changes nothing."""
    kv = KV(MemoryStore())
    items = {f"key-{number}": "v" for number in range(30_000)}
    keys = set(items)
    writing = asyncio.create_task(kv.set_many(items))
    await asyncio.sleep(0)
    assert not writing.done()  # it is in the midst of it
    items.clear()
    await writing
    reading = asyncio.create_task(kv.get_many(keys))
    await asyncio.sleep(0)
    assert not reading.done()
    keys.clear()
    assert len(await reading) == 30_000
