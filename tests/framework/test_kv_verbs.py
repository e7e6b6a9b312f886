"""What handlers do with one key: conditions, expiry, read-and-write verbs, views."""

import asyncio
import functools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvik
from kvik import KEEP, KV, MemoryStore
from support import Basic


class Rival(MemoryStore):
    """A store in which somebody else writes a key just before the first few conditional writes."""

    def __init__(self, times: int, value: str | None = "theirs") -> None:
        super().__init__()
        self.times = times
        self.value = value

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        await self._interfere(key)
        return await super().set_if(key, value, version, expires_at)

    async def delete_if(self, key: str, version: str) -> None:
        await self._interfere(key)
        await super().delete_if(key, version)

    async def _interfere(self, key: str) -> None:
        if self.times > 0:
            self.times -= 1
            await (self.delete(key) if self.value is None else self.set(key, self.value))


class Refusing(MemoryStore):
    """A store whose conditional writes all end in the same conflict."""

    def __init__(self, *, current: Any = None, outcome: Literal["not_applied", "unknown"] = "not_applied") -> None:
        super().__init__()
        self.current = current
        self.outcome = outcome
        self.calls = 0

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        self.calls += 1
        raise kvik.Conflict("refused", current=self.current, outcome=self.outcome)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=lambda: 1000.0)


@pytest.fixture
def kv(store: MemoryStore) -> KV:
    return KV(store)


# Conditions


async def test_if_absent_writes_once_and_gives_the_version(kv: KV) -> None:
    """The first gets a version, the second a Conflict that tells what is there."""
    version = await kv.set("k", "first", if_absent=True)
    with pytest.raises(kvik.Conflict) as caught:
        await kv.set("k", "second", if_absent=True)
    assert caught.value.current == kvik.Entry("k", "first", version, None)
    assert (caught.value.outcome, caught.value.status_code) == ("not_applied", 409)
    assert await kv.get("k") == "first"


async def test_if_version_writes_only_that_version(kv: KV) -> None:
    """A version is good for one write."""
    await kv.set("k", "1")
    entry = await kv.entry("k")
    second = await kv.set("k", "2", if_version=entry.version)
    with pytest.raises(kvik.Conflict) as caught:
        await kv.set("k", "3", if_version=entry.version)
    assert caught.value.current == kvik.Entry("k", "2", second, None)
    with pytest.raises(kvik.Conflict):
        await kv.delete("k", if_version=entry.version)
    await kv.delete("k", if_version=second)
    with pytest.raises(kvik.Conflict) as caught:
        await kv.delete("k", if_version=second)
    assert caught.value.current is None


@pytest.mark.parametrize("version", [None, 1, b"v"])
async def test_a_forgotten_version_is_no_unconditional_write(kv: KV, version: Any) -> None:
    """An if_version that is no str is a TypeError, and nothing is written or deleted."""
    await kv.set("k", "kept")
    with pytest.raises(TypeError, match="if_version must be the version of an entry"):
        await kv.set("k", "lost", if_version=version)
    with pytest.raises(TypeError, match="if_version must be the version of an entry"):
        await kv.delete("k", if_version=version)
    assert await kv.get("k") == "kept"


async def test_both_conditions_at_once_are_refused(kv: KV) -> None:
    """Absent and of a version cannot both be."""
    with pytest.raises(ValueError, match="exclude each other"):
        await kv.set("k", "v", if_absent=True, if_version="1")  # type: ignore[call-overload]  # what is refused


# Expiry


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), timedelta(0), timedelta(seconds=-1)])
async def test_a_ttl_that_is_no_time_is_refused(kv: KV, ttl: Any) -> None:
    """A time to live is finite and above 0, for every verb that takes one; nothing is written."""
    for call in (
        kv.set("k", "v", ttl=ttl),
        kv.set("k", "v", ttl=ttl, if_absent=True),
        kv.set_many({"k": "v"}, ttl=ttl),
        kv.update("k", lambda _: "v", ttl=ttl),
        kv.touch("k", ttl),
        kv.get_or_set("k", lambda: "v", ttl=ttl),
    ):
        with pytest.raises(ValueError, match="ttl must be finite and above 0 seconds"):
            await call
    assert not await kv.exists("k")


@pytest.mark.parametrize("ttl", ["60", True, b"1"])
async def test_a_ttl_of_another_type_is_refused(kv: KV, ttl: Any) -> None:
    """A text is no time to live."""
    with pytest.raises(TypeError, match=f"not {type(ttl).__name__}"):
        await kv.set("k", "v", ttl=ttl)


async def test_a_ttl_counts_from_the_stores_clock(kv: KV, store: MemoryStore) -> None:
    """Seconds and timedelta are the same; the key is gone when its time is over; touch gives it another."""
    await kv.set("k", "v", ttl=60)
    assert (await kv.entry("k")).expires_at == 1060
    assert await kv.ttl("k") == timedelta(seconds=60)
    await kv.touch("k", timedelta(minutes=2))
    assert await kv.ttl("k") == timedelta(minutes=2)
    store.clock = lambda: 1119.999
    assert await kv.get("k") == "v"
    store.clock = lambda: 1120.0
    assert not await kv.exists("k")
    for verb in (kv.get, kv.entry, kv.ttl, kv.pop):
        with pytest.raises(kvik.KeyNotFound):
            await verb("k")
    with pytest.raises(kvik.KeyNotFound):
        await kv.touch("k", 5)


async def test_a_key_without_a_ttl_lives_for_ever(kv: KV) -> None:
    """Set clears an expiry, touch with None does too."""
    await kv.set("k", "v", ttl=60)
    await kv.set("k", "v")
    assert await kv.ttl("k") is None
    await kv.touch("k", 60)
    await kv.touch("k", None)
    assert await kv.ttl("k") is None


# Read and write


async def test_update_makes_the_new_value_of_the_old(kv: KV) -> None:
    """The function gets None for a missing key, else the value; it may be async; the entry is what is stored."""

    async def longer(old: str | None) -> str:
        return (old or "") + "x"

    assert (await kv.update("k", longer)).value == "x"
    entry = await kv.update("k", lambda old: f"{old}y")
    assert entry == await kv.entry("k")
    assert entry.value == "xy"


async def test_update_keeps_clears_or_sets_the_expiry(kv: KV) -> None:
    """KEEP is the default."""
    await kv.set("k", "v", ttl=60)
    assert (await kv.update("k", lambda _: "w")).expires_at == 1060
    assert (await kv.update("k", lambda _: "w", ttl=KEEP)).expires_at == 1060
    assert (await kv.update("k", lambda _: "w", ttl=5)).expires_at == 1005
    assert (await kv.update("k", lambda _: "w", ttl=None)).expires_at is None


async def test_update_loses_nobodys_write() -> None:
    """It starts again with what somebody else wrote meanwhile."""
    seen: list[str | None] = []

    def make(old: str | None) -> str:
        seen.append(old)
        return f"{old} and mine"

    entry = await KV(Rival(times=2)).update("k", make)
    assert (seen, entry.value) == ([None, "theirs", "theirs"], "theirs and mine")


async def test_update_gives_up_after_its_attempts() -> None:
    """The last Conflict is raised, and nothing of ours is stored."""
    kv = KV(Rival(times=99))
    with pytest.raises(kvik.Conflict) as caught:
        await kv.update("k", lambda _: "mine", attempts=3)
    assert caught.value.current.value == "theirs"
    assert await kv.get("k") == "theirs"
    with pytest.raises(ValueError, match="attempts must be at least 1"):
        await kv.update("k", lambda _: "mine", attempts=0)


async def test_update_does_not_repeat_what_may_have_been_done() -> None:
    """A Conflict of unknown outcome is raised at once."""
    store = Refusing(outcome="unknown")
    with pytest.raises(kvik.Conflict):
        await KV(store).update("k", lambda _: "v")
    assert store.calls == 1


async def test_concurrent_updates_all_count(kv: KV) -> None:
    """Forty tasks that add one make forty."""

    async def one_more(old: str | None) -> str:
        await asyncio.sleep(0)
        return str(int(old or 0) + 1)

    await asyncio.gather(*(kv.update("n", one_more, attempts=1000) for _ in range(40)))
    assert await kv.get("n") == "40"


async def test_pop_gives_the_value_to_one_alone() -> None:
    """Of many who pop, one gets the value; the others find nothing."""
    kv = KV(MemoryStore())
    await kv.set("k", "v")
    assert sorted(await asyncio.gather(*(kv.pop("k", "") for _ in range(10)))) == [""] * 9 + ["v"]
    with pytest.raises(kvik.KeyNotFound):
        await kv.pop("k")
    rival = KV(Rival(times=1))
    await rival.set("k", "mine")
    assert await rival.pop("k") == "theirs"
    deleted = KV(Rival(times=1, value=None))
    await deleted.set("k", "mine")
    assert await deleted.pop("k", None) is None


async def test_touch_keeps_what_somebody_else_wrote() -> None:
    """It starts again, and the value that it touches is theirs."""
    kv = KV(Rival(times=1))
    await kv.set("k", "mine")
    await kv.touch("k", 60)
    assert (await kv.entry("k")).value == "theirs"
    assert await kv.ttl("k") is not None


# Make if missing


@pytest.mark.parametrize("make_store", [MemoryStore, Basic], ids=["conditional", "basic"])
async def test_get_or_set_makes_a_missing_value_once(make_store: Any) -> None:
    """However many ask at the same time, one makes it, and it is stored."""
    kv = KV(make_store())
    made: list[int] = []

    async def make() -> str:
        made.append(1)
        await asyncio.sleep(0.01)
        return "value"

    assert await asyncio.gather(*(kv.get_or_set("k", make) for _ in range(20))) == ["value"] * 20
    assert await kv.get_or_set("k", lambda: "other") == "value"
    assert (len(made), await kv.get("k")) == (1, "value")


async def test_get_or_set_counts_the_ttl(kv: KV) -> None:
    """The value that was made expires."""
    await kv.get_or_set("k", lambda: "v", ttl=60)
    assert await kv.ttl("k") == timedelta(seconds=60)


async def test_get_or_set_keeps_no_error() -> None:
    """Who waited gets the maker's exception; who asks later makes it again."""
    kv = KV(MemoryStore())

    async def fail() -> str:
        await asyncio.sleep(0.01)
        raise LookupError("no source")

    results = await asyncio.gather(*(kv.get_or_set("k", fail) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 3
    assert await kv.get_or_set("k", lambda: "v") == "v"


async def test_get_or_set_goes_on_when_its_maker_is_cancelled() -> None:
    """Another of those who wait makes the value; a maker whose deadline is over counts as such."""
    kv = KV(MemoryStore())
    began = asyncio.Event()

    async def hang() -> str:
        began.set()
        await asyncio.Event().wait()
        return "never"

    first = asyncio.create_task(kv.get_or_set("k", hang))
    await began.wait()
    second = asyncio.create_task(kv.get_or_set("k", lambda: "second"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "second"
    with pytest.raises(asyncio.CancelledError):
        await first

    async def late() -> str:
        await asyncio.sleep(0)
        raise kvik.DeadlineExceeded("mine, not yours")

    results = await asyncio.gather(
        kv.get_or_set("late", late), kv.get_or_set("late", lambda: "in time"), return_exceptions=True
    )
    assert isinstance(results[0], kvik.DeadlineExceeded)
    assert results[1] == "in time"


async def test_get_or_set_waits_no_longer_than_its_deadline() -> None:
    """Somebody else's slow making is no reason to miss one's own deadline."""
    kv = KV(MemoryStore())
    finish = asyncio.Event()

    async def slow() -> str:
        await finish.wait()
        return "v"

    maker = asyncio.create_task(kv.get_or_set("k", slow))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with kv.deadline(0.05), pytest.raises(kvik.DeadlineExceeded, match="still making"):
        await kv.get_or_set("k", lambda: "mine")
    finish.set()
    assert await maker == "v"


async def test_get_or_set_takes_what_another_process_made() -> None:
    """Where somebody stored a value meanwhile, that one counts; one that was never stored is never returned."""
    kv = KV(Rival(times=1))
    assert await kv.get_or_set("k", lambda: "mine") == "theirs"

    with pytest.raises(kvik.Conflict):
        await KV(Refusing()).get_or_set("k", lambda: "mine")


async def test_get_or_set_raises_a_write_that_may_have_been_done() -> None:
    """An unknown outcome is not taken for another process's success."""
    with pytest.raises(kvik.Conflict):
        await KV(Refusing(outcome="unknown")).get_or_set("k", lambda: "v")


# Counters


async def test_increment_counts_as_text(kv: KV) -> None:
    """It starts at 0, goes both ways, and get and set share its value."""
    assert [await kv.increment("n"), await kv.increment("n", 41), await kv.increment("n", -50)] == [1, 42, -8]
    assert await kv.get("n") == "-8"
    await kv.set("n", "7")
    assert await kv.increment("n", 0) == 7


@pytest.mark.parametrize("delta", [1.0, "1", None, True, 2**63])
async def test_a_delta_that_is_no_64_bit_int_is_refused(kv: KV, delta: Any) -> None:
    """InvalidValue, before the store is asked."""
    with pytest.raises(kvik.InvalidValue, match="delta") as caught:
        await kv.increment("n", delta)
    assert (caught.value.operation, await kv.exists("n")) == ("increment", False)


class Conditional(Basic):
    """A driver with conditional writes and no counter."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MemoryStore()
        self.get_versioned = self.inner.get_versioned
        self.set_if = self.inner.set_if
        self.delete_if = self.inner.delete_if

    async def get(self, key: str) -> str | None:
        return await self.inner.get(key)

    async def set(self, key: str, value: str) -> None:
        await self.inner.set(key, value)


async def test_increment_falls_back_on_conditional_writes() -> None:
    """A driver without a counter counts by versions, as exactly, and keeps the expiry."""
    driver = Conditional()
    driver.inner.clock = lambda: 1000.0
    kv = KV(driver)
    assert kv.capabilities == {"conditional"}
    await driver.inner.set_expiring("n", "1", 1060.0)
    assert await kv.increment("n", 2) == 3
    assert (await kv.entry("n")).expires_at == 1060
    await asyncio.gather(*(kv.increment("m") for _ in range(10)))
    assert await kv.get("m") == "10"
    await kv.set("n", "01")
    with pytest.raises(kvik.InvalidValue) as caught:
        await kv.increment("n")
    assert (caught.value.operation, caught.value.store) == ("increment", "default")


# What a driver lacks


async def test_what_a_driver_lacks_is_unsupported() -> None:
    """Unsupported names the driver and the capability; nothing is written."""
    kv = KV(Basic())
    assert kv.capabilities == set()
    for call, capability in (
        (kv.set("k", "v", ttl=1), "expiry"),
        (kv.set_many({"k": "v"}, ttl=1), "expiry"),
        (kv.set("k", "v", if_absent=True), "conditional"),
        (kv.delete("k", if_version="1"), "conditional"),
        (kv.entry("k"), "conditional"),
        (kv.update("k", lambda _: "v"), "conditional"),
        (kv.touch("k", None), "conditional"),
        (kv.ttl("k"), "conditional"),
        (kv.pop("k"), "conditional"),
        (kv.increment("k"), "counter"),
        (anext(kv.scan()), "scan"),
    ):
        with pytest.raises(kvik.Unsupported, match=f"Basic .*'{capability}'") as caught:
            await call
        assert (caught.value.outcome, caught.value.status_code) == ("not_applied", 501)
    assert not await kv.exists("k")


@pytest.mark.parametrize(
    ("method", "lacks"),
    [("connect", "close"), ("get_versioned", "set_if, delete_if"), ("set_many", "get_many, delete_many")],
)
def test_half_a_capability_is_refused(method: str, lacks: str) -> None:
    """A store with some methods of a capability and not all is refused where it is added, naming them."""
    store = Basic()
    setattr(store, method, store.get)
    with pytest.raises(TypeError, match=rf"Basic has {method} but lacks {lacks}: the capability"):
        kvik.App().add_kv_store(store)


@pytest.mark.parametrize(
    ("method", "given", "call"),
    [
        ("get", 1, lambda kv: kv.get("k")),
        ("get_versioned", ("v", 1, None), lambda kv: kv.entry("k")),
        ("get_versioned", "v", lambda kv: kv.entry("k")),
        ("set_if", None, lambda kv: kv.set("k", "v", if_absent=True)),
        ("get_many", {"k": None}, lambda kv: kv.get_many(["k"])),
        ("get_many", ["v"], lambda kv: kv.get_many(["k"])),
        ("increment", "1", lambda kv: kv.increment("k")),
        ("scan", ["k"], lambda kv: anext(kv.scan())),
    ],
)
async def test_a_driver_that_answers_with_another_type_is_corrupt(method: str, given: Any, call: Any) -> None:
    """What a driver gives is looked at before a handler gets it, and the error names the method."""

    async def answer(*_: Any) -> Any:
        return given

    store = MemoryStore()
    setattr(store, method, answer)
    with pytest.raises(kvik.Corrupt, match=rf"MemoryStore\.{method} gave"):
        await call(KV(store))


async def test_a_conflict_that_says_nothing_readable_has_no_current() -> None:
    """What a driver says of the current entry counts only if it is one, also of the type that is wanted."""
    store = Refusing()
    kv = KV(store)
    for current, expected in (((1, 2), None), (("v", "1", 5), kvik.Entry("k", "v", "1", 5)), (None, None)):
        store.current = current
        with pytest.raises(kvik.Conflict) as caught:
            await kv.set("k", "v", if_absent=True)
        assert caught.value.current == expected
    store.current = ("no number", "1", None)
    with pytest.raises(kvik.Conflict) as caught:
        await kv.typed(int).set("k", 1, if_absent=True)
    assert caught.value.current is None


# Typed values


@dataclass
class User:
    name: str
    age: int = 0


class Struct(msgspec.Struct):
    name: str


class Model(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (User, User("Ada", 36)),
        (Struct, Struct("Ada")),
        (Model, Model(name="Ada")),
        (int, -5),
        (list[User], [User("Ada")]),
        (dict[str, int], {"a": 1}),
        (str, 'quote "'),
    ],
)
async def test_typed_values_come_back_as_they_were(kind: Any, value: Any) -> None:
    """Every verb of a typed view takes and gives values of the type, which are stored as JSON."""
    plain = KV(MemoryStore())
    kv = plain.typed(kind)
    await kv.set("k", value)
    assert await plain.get("k") == kvik.to_json(value)
    assert await kv.get("k") == value
    assert (await kv.entry("k")).value == value
    assert await kv.get_many(["k", "missing"]) == {"k": value}
    assert (await kv.update("k", lambda old: old)).value == value
    assert await kv.get_or_set("other", lambda: value) == value
    assert await kv.pop("other") == value
    await kv.set_many({"a": value, "b": value})
    assert await kv.get("b", None) == value


async def test_a_value_of_another_type_is_refused_and_one_that_is_stored_is_corrupt() -> None:
    """InvalidValue when written, Corrupt when read; neither quotes the value."""
    plain = KV(MemoryStore())
    users = plain.typed(User)
    bad: Any = User(name="secret", age="old")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(kvik.InvalidValue, match="value is no User: Expected `int`, got `str`") as refused:
        await users.set("k", bad)
    assert (refused.value.operation, await plain.exists("k")) == ("set", False)
    with pytest.raises(kvik.InvalidValue):
        await plain.typed(object).set("k", object())
    await plain.set("k", '{"name": "secret", "age": "old"}')
    for call in (users.get("k"), users.entry("k"), users.get_many(["k"]), users.pop("k"), users.update("k", id)):  # type: ignore[arg-type]  # never called
        with pytest.raises(kvik.Corrupt, match="the stored value is no User") as corrupt:
            await call
        assert "secret" not in str(corrupt.value)
        assert corrupt.value.outcome == "not_applied"
    assert await plain.exists("k")


async def test_a_typed_value_over_the_limit_is_too_large() -> None:
    """The limit is that of the stored text."""
    kv = KV(MemoryStore()).typed(list[str])
    with pytest.raises(kvik.ValueTooLarge):
        await kv.set("k", ["x" * 16 * 1024 * 1024])


def test_a_type_that_json_cannot_become_is_refused() -> None:
    """TypeError where the view is made, not when it is used."""
    with pytest.raises(TypeError):
        KV(MemoryStore()).typed(type)


# Namespaces


async def test_a_namespace_has_keys_of_its_own(kv: KV) -> None:
    """All verbs work within, and the store's own names have the prefix that is promised."""
    tenant = kv.namespace("t7")
    await tenant.set("k", "v")
    await tenant.set_many({"a": "1", "b": "2"})
    await tenant.increment("n")
    assert await kv.get("t7:k") == "v"
    assert await tenant.get_many(["a", "b", "c"]) == {"a": "1", "b": "2"}
    assert (await tenant.entry("k")).key == "k"
    assert sorted([key async for key in tenant.scan()]) == ["a", "b", "k", "n"]
    assert [key async for key in tenant.scan("k")] == ["k"]
    with pytest.raises(kvik.KeyNotFound) as missing:
        await tenant.get("missing")
    assert missing.value.key == "missing"
    with pytest.raises(kvik.Conflict) as conflict:
        await tenant.set("k", "w", if_absent=True)
    assert conflict.value.current.key == "k"
    await tenant.delete_many(["a", "b", "n"])
    await tenant.delete("k")
    assert [key async for key in kv.scan()] == []
    assert repr(tenant) == "KV(MemoryStore, name='default', namespace='t7:')"


async def test_namespaces_nest_and_a_scan_shows_no_childs_keys(kv: KV) -> None:
    """A namespace within one is apart from it; the whole store addresses all."""
    parent, child = kv.namespace("a"), kv.namespace("a").namespace("b")
    await kv.set("root", "0")
    await parent.set("k", "1")
    await child.set("k", "2")
    assert [key async for key in parent.scan()] == ["k"]
    assert [key async for key in child.scan()] == ["k"]
    assert sorted([key async for key in kv.scan()]) == ["a/b:k", "a:k", "root"]
    assert await kv.get("a/b:k") == "2"


async def test_special_characters_of_a_namespaces_name_are_escaped(kv: KV) -> None:
    """The bytes that are persisted are fixed."""
    await kv.namespace("a/b").namespace("50%:").set("x:y/z", "v")
    assert [key async for key in kv.scan()] == ["a%2Fb/50%25%3A:x:y/z"]


@given(st.lists(st.tuples(st.lists(st.text("a/:%2F", min_size=1), max_size=3), st.text("a/:%2F")), max_size=6))
def test_no_two_paths_share_a_key(places: list[tuple[list[str], str]]) -> None:
    """However names and keys are made of the separators, another place is another key."""
    root = KV(MemoryStore())

    async def write_and_read() -> None:
        written: dict[tuple[str, ...], str] = {}
        for number, (path, key) in enumerate(places):
            await functools.reduce(KV.namespace, path or ["top"], root).set(f"{key}k", str(number))
            written[(*(path or ["top"]), f"{key}k")] = str(number)
        for (*path, key), value in written.items():
            assert await functools.reduce(KV.namespace, path, root).get(key) == value

    asyncio.run(write_and_read())


@pytest.mark.parametrize(
    ("name", "error"), [("", ValueError), ("\ud800", ValueError), (b"t", TypeError), (None, TypeError)]
)
def test_a_namespace_needs_a_name(kv: KV, name: Any, error: type[Exception]) -> None:
    """An empty name would be the parent's."""
    with pytest.raises(error):
        kv.namespace(name)


async def test_the_limit_of_a_key_counts_its_namespace(kv: KV) -> None:
    """What the store gets is what is limited."""
    tenant = kv.namespace("t")
    await tenant.set("k" * 2046, "v")
    with pytest.raises(kvik.InvalidKey, match="2049 bytes of UTF-8, its namespace counted; at most 2048"):
        await tenant.set("k" * 2047, "v")
    with pytest.raises(kvik.InvalidKey, match="empty"):
        await tenant.get("")


@pytest.mark.parametrize("prefix", [None, b"p", "\ud800"])
async def test_a_prefix_that_no_key_can_have_is_refused(kv: KV, prefix: Any) -> None:
    """InvalidKey, as for a key."""
    with pytest.raises(kvik.InvalidKey, match="prefix"):
        await anext(kv.scan(prefix))


async def test_a_scan_goes_through_all_pages() -> None:
    """However many keys there are, each comes once, also where a page is empty."""

    class Pages(MemoryStore):
        async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
            pages = {None: (["a"], "1"), "1": ([], "2"), "2": (["b", "c"], None)}
            return pages[cursor]

    assert [key async for key in KV(Pages()).scan()] == ["a", "b", "c"]


def test_unwrap_gives_the_driver(kv: KV, store: MemoryStore) -> None:
    """The driver itself, through any view; TypeError for another."""
    assert kv.namespace("a").typed(int).unwrap(MemoryStore) is store
    with pytest.raises(TypeError, match="the store 'default' is a MemoryStore, not a Basic"):
        kv.unwrap(Basic)
