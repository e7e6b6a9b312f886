"""The facade that handlers get: what it checks, and what it makes of a driver's exceptions."""

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

import pytest

import kvik
from kvik import KV, KVStore, MemoryStore
from kvik.kv_errors import from_driver


class Failing:
    """A driver whose verbs raise what they are told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def get(self, key: str) -> str | None:
        raise self.error

    async def set(self, key: str, value: str) -> None:
        raise self.error

    async def delete(self, key: str) -> None:
        raise self.error

    async def health_check(self) -> Mapping[str, Any]:
        raise self.error

    async def connect(self) -> None:
        raise self.error

    async def close(self) -> None:
        raise self.error


class Plain:
    """A driver of plain `def` methods, whose delete gives an awaitable."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.threads: set[str] = set()

    def get(self, key: str) -> str | None:
        self.threads.add(threading.current_thread().name)
        return self.values.get(key)

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def delete(self, key: str) -> Any:
        async def later() -> None:
            self.values.pop(key, None)

        return later()

    def health_check(self) -> dict[str, Any]:
        return {"status": "UP", "details": {"threads": len(self.threads)}}


async def test_values_come_back_as_they_were_set() -> None:
    """What set stored is given by get; delete removes it, also twice."""
    kv = KV(MemoryStore())
    for key, value in {"a": "1", "a/b c😀\0": "", "k" * 2048: "é" * 1000}.items():
        await kv.set(key, value)
        assert await kv.get(key) == value
        await kv.delete(key)
        await kv.delete(key)
        assert await kv.get(key, default=None) is None


async def test_a_missing_key_is_an_error_without_a_default() -> None:
    """A missing key raises KeyNotFound, which is a LookupError and carries the key but does not print it."""
    kv = KV(MemoryStore(), name="sessions")
    with pytest.raises(kvik.KeyNotFound) as caught:
        await kv.get("secret")
    assert isinstance(caught.value, LookupError)
    assert (caught.value.key, caught.value.store, caught.value.operation) == ("secret", "sessions", "get")
    assert "secret" not in str(caught.value)
    assert await kv.get("secret", default="x") == "x"
    assert await kv.get("secret", "y") == "y"


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "key is empty"),
        (None, "key must be str, not NoneType"),
        (b"k", "key must be str, not bytes"),
        (1, "key must be str, not int"),
        ("\ud800", "key holds a lone surrogate, which UTF-8 cannot"),
        ("k" * 2049, "key is 2049 bytes of UTF-8; at most 2048 are possible"),
        ("é" * 1025, "key is 2050 bytes of UTF-8; at most 2048 are possible"),
    ],
    ids=["empty", "None", "bytes", "int", "surrogate", "long", "long in bytes"],
)
async def test_a_bad_key_never_reaches_the_driver(key: Any, problem: str) -> None:
    """A key that is not 1 to max_key_bytes bytes of UTF-8 is InvalidKey, readable by the client, at every verb."""
    kv = KV(MemoryStore())
    for call in (kv.get(key), kv.get(key, None), kv.set(key, "v"), kv.delete(key)):
        with pytest.raises(kvik.InvalidKey) as caught:
            await call
        assert (str(caught.value), caught.value.public_message) == (problem, problem)
        assert (caught.value.outcome, caught.value.status_code) == ("not_applied", 400)
    assert (await kv.health_check()).details == {"keys": 0}


@pytest.mark.parametrize("value", [None, b"v", 1, "\ud800"], ids=["None", "bytes", "int", "surrogate"])
async def test_a_bad_value_never_reaches_the_driver(value: Any) -> None:
    """A value that is not text is InvalidValue, naming the type."""
    kv = KV(MemoryStore())
    with pytest.raises(kvik.InvalidValue, match=r"value (must be str, not|holds a lone surrogate)"):
        await kv.set("k", value)
    assert await kv.get("k", None) is None


async def test_a_value_over_the_limit_is_refused_with_size_and_limit() -> None:
    """A value of more than max_value_bytes is ValueTooLarge; one of exactly that size is stored."""
    store = MemoryStore()
    kv = KV(store)
    limit = store.limits.max_value_bytes
    await kv.set("k", "v" * limit)
    with pytest.raises(kvik.ValueTooLarge) as caught:
        await kv.set("k", "v" * (limit + 1))
    assert (caught.value.size, caught.value.limit, caught.value.status_code) == (limit + 1, limit, 413)
    assert f"at most {limit} are possible" in caught.value.public_message


async def test_a_driver_without_limits_has_none() -> None:
    """A driver that states no limits gets keys and values of any length."""
    kv = KV(Plain())
    await kv.set("k" * 100_000, "v")
    assert await kv.get("k" * 100_000) == "v"
    await kv.close()


async def test_a_plain_driver_runs_in_threads() -> None:
    """Plain methods run in threads of the store's own, and an awaitable that they give is awaited."""
    plain = Plain()
    kv = KV(plain, name="plain")
    await kv.set("k", "v")
    assert await asyncio.gather(*(kv.get("k") for _ in range(40))) == ["v"] * 40
    await kv.delete("k")
    assert plain.values == {}
    assert {name.rpartition("_")[0] for name in plain.threads} == {"kvik-store-plain"}
    assert len(plain.threads) <= 16
    assert (await kv.health_check()).status == "UP"
    await kv.close()
    await asyncio.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kvik-store-plain")]


async def test_a_driver_that_gives_no_text_is_corrupt() -> None:
    """A value that is not str is Corrupt, not passed on."""
    plain = Plain()
    plain.values["k"] = b"v"  # type: ignore[assignment]  # the driver's mistake
    kv = KV(plain)
    with pytest.raises(kvik.Corrupt, match=r"Plain\.get gave bytes, not str"):
        await kv.get("k")
    await kv.close()


def _driver_error(**attributes: Any) -> Exception:
    error = Exception("what the backend said")
    vars(error).update(attributes)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "outcome"),
    [
        (_driver_error(code="invalid_key"), kvik.InvalidKey, "not_applied"),
        (_driver_error(code="invalid_value"), kvik.InvalidValue, "not_applied"),
        (_driver_error(code="value_too_large", size=5, limit=4), kvik.ValueTooLarge, "not_applied"),
        (_driver_error(code="conflict", current=("v", "1", None)), kvik.Conflict, "not_applied"),
        (_driver_error(code="conflict", outcome="unknown"), kvik.Conflict, "unknown"),
        (_driver_error(code="unsupported"), kvik.Unsupported, "not_applied"),
        (_driver_error(code="partial_failure"), kvik.PartialFailure, "unknown"),
        (_driver_error(code="throttled"), kvik.Throttled, "not_applied"),
        (_driver_error(code="deadline_exceeded"), kvik.DeadlineExceeded, "unknown"),
        (_driver_error(code="unavailable"), kvik.Unavailable, "unknown"),
        (_driver_error(code="unavailable", outcome="not_applied"), kvik.Unavailable, "not_applied"),
        (_driver_error(code="access_denied"), kvik.AccessDenied, "not_applied"),
        (_driver_error(code="misconfigured"), kvik.Misconfigured, "not_applied"),
        (_driver_error(code="corrupt"), kvik.Corrupt, "unknown"),
        (_driver_error(code="key_not_found"), kvik.KVError, "unknown"),
        (_driver_error(code="nonsense"), kvik.KVError, "unknown"),
        (_driver_error(code=404, status_code=404), kvik.KVError, "unknown"),
        (_driver_error(outcome="perhaps"), kvik.KVError, "unknown"),
        (TimeoutError("slow"), kvik.DeadlineExceeded, "unknown"),
        (ConnectionResetError("reset"), kvik.Unavailable, "unknown"),
        (OSError(5, "disk"), kvik.Unavailable, "unknown"),
        (KeyError("k"), kvik.KVError, "unknown"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
async def test_a_drivers_exception_becomes_the_error_it_stands_for(
    error: Exception, kind: type[kvik.KVError], outcome: str
) -> None:
    """The attributes decide the error, the original is its cause, and a failed read is never unknown."""
    kv = KV(Failing(error), name="db")
    for call, operation, expected in (
        (kv.set("k", "v"), "set", outcome),
        (kv.delete("k"), "delete", outcome),
        (kv.get("k"), "get", "not_applied"),
    ):
        with pytest.raises(kvik.KVError) as caught:
            await call
        assert type(caught.value) is kind
        assert caught.value.__cause__ is error
        assert (caught.value.store, caught.value.operation) == ("db", operation)
        assert caught.value.outcome == expected
        assert caught.value.status_code != 404


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1.5, 1.5),
        (2, 2.0),
        (0, 0.0),
        (-1, None),
        (float("nan"), None),
        (float("inf"), None),
        ("1", None),
        (True, None),
    ],
)
def test_retry_after_counts_only_as_finite_seconds(given: Any, kept: float | None) -> None:
    """A retry_after that is no usable number of seconds is as if it were absent."""
    error = from_driver(
        _driver_error(code="throttled", retry_after=given, reason="hot"), store="", operation="get", writes=False
    )
    assert isinstance(error, kvik.Throttled)
    assert (error.retry_after, error.reason, error.retryable) == (kept, "hot", True)


def test_the_extras_of_a_code_are_kept() -> None:
    """Size, limit, current, results, errors and retryable of a driver's exception reach the caller."""

    def made(**attributes: Any) -> Any:
        return from_driver(_driver_error(**attributes), store="", operation="set", writes=True)

    large = made(code="value_too_large", size=5, limit=True)
    assert (large.size, large.limit) == (5, None)
    assert made(code="conflict", current=("v", "1", None)).current == ("v", "1", None)
    assert made(code="conflict", current="v").current is None
    partial = made(code="partial_failure", results=["a"], errors={"b": OSError()})
    assert (partial.results, [*partial.errors]) == (["a"], ["b"])
    assert made(code="unavailable", retryable=False).retryable is False
    assert made(code="unavailable", retryable="no").retryable is True


async def test_cancellation_passes_untouched() -> None:
    """CancelledError is not a failure of the store."""
    with pytest.raises(asyncio.CancelledError):
        await KV(Failing(asyncio.CancelledError())).get("k")


async def test_an_operation_has_a_limit_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that hangs is given up: DeadlineExceeded, unknown for a write."""
    monkeypatch.setattr("kvik._kv.driver.OPERATION_TIMEOUT", 0.05)

    class Hanging(MemoryStore):
        async def set(self, key: str, value: str) -> None:
            await asyncio.Event().wait()

        async def get(self, key: str) -> str | None:
            await asyncio.Event().wait()
            return None

    with pytest.raises(kvik.DeadlineExceeded, match="Hanging gave no answer in time") as caught:
        await KV(Hanging()).set("k", "v")
    assert caught.value.outcome == "unknown"
    with pytest.raises(kvik.DeadlineExceeded) as caught:
        await KV(Hanging()).get("k")
    assert caught.value.outcome == "not_applied"


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        ({"status": "UP", "details": {"a": 1}}, kvik.Health("UP", {"a": 1})),
        ({"status": "DOWN"}, kvik.Health("DOWN", {})),
        ({"status": "UP", "details": 7}, kvik.Health("UP", {})),
        (kvik.Health("UP"), kvik.Health("UP")),
        ({"status": "fine"}, kvik.Health("DOWN", {"error": "the health check gave neither UP nor DOWN"})),
        (None, kvik.Health("DOWN", {"error": "the health check gave neither UP nor DOWN"})),
    ],
    ids=["up", "down", "bad details", "Health", "other word", "None"],
)
async def test_health_is_up_or_down(answer: Any, health: kvik.Health) -> None:
    """Whatever a driver's check answers, the facade's is UP or DOWN."""

    class Answering(MemoryStore):
        async def health_check(self) -> Any:
            return answer

    assert await KV(Answering()).health_check() == health


async def test_a_health_check_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that raises is DOWN with the class of its cause, one that hangs is DOWN with timeout."""
    failing = KV(Failing(ConnectionResetError("10.0.0.1")))
    assert await failing.health_check() == kvik.Health("DOWN", {"error": "unavailable"})
    monkeypatch.setattr("kvik.health.CHECK_TIMEOUT", 0.05)

    class Hanging(MemoryStore):
        async def health_check(self) -> Any:
            await asyncio.Event().wait()

    assert await KV(Hanging()).health_check() == kvik.Health("DOWN", {"error": "timeout"})


def test_the_protocol_tells_a_store() -> None:
    """KVStore is the type of every driver, also at run time."""
    store: KVStore = MemoryStore()
    assert isinstance(store, KVStore)
    assert not isinstance({}, KVStore)
    assert repr(KV(store, name="a")) == "KV(MemoryStore, name='a')"


async def test_closes_at_the_same_time_are_all_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The close that is through first does not take the thread away from the others."""
    monkeypatch.setattr("kvik._kv.driver.DRIVER_THREADS", 1)
    closes = 0

    class Closable(Plain):
        def connect(self) -> None:
            pass

        def close(self) -> None:
            nonlocal closes
            time.sleep(0.005)
            closes += 1

    kv = KV(Closable())
    await kv.connect()
    await asyncio.gather(*(kv.close() for _ in range(5)))
    assert closes == 5


async def test_what_waits_for_a_thread_when_the_store_closes_fails() -> None:
    """An operation of a plain driver that was never begun says closed; it is not taken for a cancellation."""
    go, begun = threading.Event(), threading.Semaphore(0)

    class Slow(Plain):
        def get(self, key: str) -> str | None:
            begun.release()
            go.wait(30)
            return "v"

    kv = KV(Slow())
    operations = [asyncio.create_task(kv.get("k")) for _ in range(20)]
    await asyncio.to_thread(lambda: [begun.acquire() for _ in range(16)])
    await kv.close()
    go.set()
    results = await asyncio.gather(*operations, return_exceptions=True)
    assert results.count("v") == 16
    errors = [result for result in results if isinstance(result, kvik.Unavailable)]
    assert len(errors) == 4
    assert "closed" in str(errors[0])


@pytest.mark.parametrize("kind", [ConnectionError, asyncio.CancelledError])
async def test_what_has_failed_is_freed_at_once(kind: type[BaseException]) -> None:
    """An operation's end leaves no cycle behind: what a caller held is freed without the garbage collector."""

    class Held:
        pass

    class Raising(MemoryStore):
        async def get(self, key: str) -> str | None:
            raise kind

    async def fail() -> "weakref.ref[Held]":
        held = Held()
        with contextlib.suppress(kvik.KVError, asyncio.CancelledError):
            await KV(Raising()).get("k")
        return weakref.ref(held)

    gc.collect()
    gc.disable()
    try:
        assert (await fail())() is None
    finally:
        gc.enable()
