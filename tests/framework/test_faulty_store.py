"""The store that fails: at random from a seed, and as a test has scripted it."""

import asyncio
import threading
import time
from typing import Any

import pytest

import kvik
from kvik import KV, MemoryStore
from kvik.testing import Fault, FaultyStore, KVStoreConformance


class Plain:
    """A driver of plain methods that can do nothing more than it must."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.threads: set[int] = set()

    def get(self, key: str) -> str | None:
        self.threads.add(threading.get_ident())
        return self.values.get(key)

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    def health_check(self) -> dict[str, Any]:
        return {"status": "UP"}


class TestWithoutFaults(KVStoreConformance):
    """Wrapped without any fault, a store is what it was."""

    examples = 5

    @pytest.fixture
    def store(self) -> Any:
        return FaultyStore(MemoryStore())


async def _outcomes(store: FaultyStore) -> list[str]:
    kv: KV = KV(store)
    outcomes: list[str] = []
    for number in range(200):
        try:
            await kv.set(f"key-{number}", "value")
        except kvik.Unavailable as error:
            outcomes.append(error.outcome)
        else:
            outcomes.append("done")
    return outcomes


async def test_a_seed_gives_the_same_faults_again() -> None:
    """The same seed and calls fail the same way, another seed otherwise, at the rates that were asked for."""
    runs = [
        await _outcomes(FaultyStore(MemoryStore(), seed=seed, error_rate=0.2, lost_reply_rate=0.1))
        for seed in (7, 7, 8)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert 20 <= runs[0].count("not_applied") <= 60
    assert 5 <= runs[0].count("unknown") <= 35


async def test_an_error_writes_nothing_and_a_lost_reply_does() -> None:
    """What the outcome says is what happened: not_applied is not there, unknown is."""
    store = FaultyStore(MemoryStore(), seed=1, error_rate=0.3, lost_reply_rate=0.3)
    outcomes = await _outcomes(store)
    for number, outcome in enumerate(outcomes):
        is_there = await store.inner.get(f"key-{number}") is not None
        assert is_there == (outcome != "not_applied")


async def test_a_script_is_for_the_next_calls_of_a_method() -> None:
    """Scripted faults come one after another, then all is well, and other methods are left alone."""
    store = FaultyStore(MemoryStore())
    kv: KV = KV(store)
    store.script("set", Fault.throttled(retry_after=2, reason="hot"), Fault.unavailable())
    assert await kv.get("key", default=None) is None
    with pytest.raises(kvik.Throttled) as caught:
        await kv.set("key", "value")
    assert (caught.value.retry_after, caught.value.reason) == (2.0, "hot")
    with pytest.raises(kvik.Unavailable):
        await kv.set("key", "value")
    await kv.set("key", "value")
    assert await kv.get("key") == "value"
    assert store.calls == {"get": 2, "set": 3}


async def test_a_lost_reply_of_a_conditional_write() -> None:
    """The write is there, the caller is told unknown, and the version tells it on a second look."""
    store = FaultyStore(MemoryStore())
    kv: KV = KV(store)
    store.script("set_if", Fault.lost_reply())
    with pytest.raises(kvik.Unavailable) as caught:
        await kv.set("key", "value", if_absent=True)
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", True)
    assert (await kv.entry("key")).value == "value"


@pytest.mark.parametrize("applied", [True, False])
async def test_a_timeout_may_have_been_applied(*, applied: bool) -> None:
    """The caller cannot tell, the test can."""
    store = FaultyStore(MemoryStore())
    store.script("set", Fault.timeout(applied=applied))
    with pytest.raises(kvik.DeadlineExceeded) as caught:
        await KV(store).set("key", "value")
    assert caught.value.outcome == "unknown"
    assert (await store.inner.get("key") is not None) == applied


async def test_any_exception_can_be_scripted() -> None:
    """A driver's own error reaches the facade as it is."""
    store = FaultyStore(MemoryStore())
    error = OSError(28, "No space left on device")
    store.script("delete", Fault.raises(error))
    with pytest.raises(kvik.Unavailable) as caught:
        await KV(store).delete("key")
    assert caught.value.__cause__ is error


async def test_latency_and_slow_answers_are_waited_for() -> None:
    """Each call takes at least the latency; a slow one its own time besides; the answer is right."""
    store = FaultyStore(MemoryStore(), latency=(0.01, 0.02))
    store.script("get", Fault.slow(0.05))
    started = time.monotonic()
    assert await store.get("key") is None
    assert time.monotonic() - started >= 0.06
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await store.get("key")


async def test_health_and_lifecycle_fail_only_as_scripted() -> None:
    """Random faults let an app start; a scripted one is DOWN, and does not raise."""
    store = FaultyStore(MemoryStore(), error_rate=1.0)
    assert await store.health_check() == {"status": "UP", "details": {"keys": 0}}
    store.script("health_check", Fault.unavailable())
    assert await store.health_check() == {"status": "DOWN", "details": {"error": "unavailable"}}


async def test_it_can_do_what_the_wrapped_store_can() -> None:
    """Capabilities are those of the wrapped store, plain methods run in threads, and no others are there."""
    plain = Plain()
    store = FaultyStore(plain)
    kv: KV = KV(store)
    assert kv.capabilities == frozenset()
    assert not hasattr(store, "increment")
    assert not hasattr(store, "clock")
    await kv.set("key", "value")
    assert await kv.get("key") == "value"
    assert plain.threads.isdisjoint({threading.get_ident()})
    assert kvik.KV(FaultyStore(MemoryStore())).capabilities == KV(MemoryStore()).capabilities


def test_a_script_for_what_is_not_there_is_refused() -> None:
    """A method that the store lacks, or that is misspelt, is a ValueError that names those it has."""
    store = FaultyStore(Plain())
    with pytest.raises(ValueError, match=r"Plain has no 'increment'; it has delete, get, health_check, set"):
        store.script("increment", Fault.unavailable())


@pytest.mark.parametrize(
    "options",
    [{"error_rate": -0.1}, {"error_rate": 0.6, "lost_reply_rate": 0.6}, {"latency": (2, 1)}, {"latency": (-1, 1)}],
    ids=repr,
)
def test_what_cannot_be_is_refused(options: Any) -> None:
    """Rates are shares of all calls, latency is a range of seconds."""
    with pytest.raises(ValueError, match=r"error_rate and lost_reply_rate|latency is"):
        FaultyStore(MemoryStore(), **options)


def test_only_a_store_can_be_wrapped() -> None:
    """Anything else is a TypeError that says what is missing."""
    with pytest.raises(TypeError, match="is not a key-value store"):
        FaultyStore(object())
