"""What `set` stored is what `get` returns, equal, or `set` raises InvalidValue: for text and for typed values."""

import asyncio
import enum
import functools
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

import kvik
from kvik import KV, MemoryStore
from kvik_sqlite import SQLite


class Colour(str, enum.Enum):  # noqa: UP042 - StrEnum's text is its value; this one's is "Colour.RED"
    RED = "red"


class Text(str):  # noqa: SLOT000 - what a library may hand out as text
    def __str__(self) -> str:
        return "something else"


@pytest.fixture(params=["memory", "sqlite"])
async def kv(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KV]:
    store = KV(MemoryStore() if request.param == "memory" else SQLite(tmp_path / "kv.db"))
    await store.connect()
    yield store
    await store.close()


@pytest.mark.parametrize("text", [Colour.RED, Text("red")])
async def test_a_subclass_of_str_is_stored_as_its_text(kv: KV, text: str) -> None:
    """As a key, a value, a prefix and a namespace it is the same plain text on every store."""
    await kv.set(text, text)
    assert [type(value) for value in (await kv.get("red"), *(await kv.get_many(["red"])).values())] == [str, str]
    assert await kv.get("red") == "red"
    await kv.set_many({text: text})
    assert await kv.get_or_set("made", lambda: text) == "red"
    assert type(await kv.get("made")) is str
    await kv.namespace(text).set(text, "v")
    assert await kv.get("red:red") == "v"
    assert [key async for key in kv.namespace(text).scan(text)] == ["red"]
    assert [type(key) async for key in kv.scan("red")] == [str, str]


class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    user_name: str = pydantic.Field(alias="userName")
    role: str = pydantic.Field("guest", alias="userRole")

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def shout(self) -> str:
        return self.user_name.upper()


class Nested(pydantic.BaseModel):
    users: list[Aliased]
    raw: pydantic.Json[list[int]] = [1]


@dataclass
class Holder:
    user: Aliased
    when: datetime = datetime(2040, 1, 2, tzinfo=UTC)


@dataclass(eq=False)
class WithoutEquality:
    name: str
    tags: tuple[str, ...] = ()


class StructWithoutEquality(msgspec.Struct, eq=False):
    name: str
    amount: Decimal = Decimal("1.50")


class Point(NamedTuple):
    x: int
    y: float


ADA = Aliased(userName="ada", userRole="admin")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Aliased, ADA),
        (Nested, Nested.model_validate({"users": [ADA], "raw": "[1,2]"})),
        (Holder, Holder(ADA)),
        (dict[str, Aliased], {"a": ADA}),
        (Colour, Colour.RED),
        (str, Colour.RED),
        (float, 1),
        (int, 2**70),
        (Point, Point(1, 2.5)),
        (set[int], {1, 2}),
        (bytes, b"\x00\xff"),
        (timedelta, timedelta(days=-3, microseconds=1)),
        (dict[str, Any], {"a": [None, True, 1.5, {"b": "c"}]}),
    ],
)
async def test_a_typed_value_is_read_back_equal(kv: KV, kind: Any, value: Any) -> None:
    """Aliases, computed fields and nested models included, with every verb that writes."""
    typed = kv.typed(kind)
    await typed.set("k", value)
    assert await typed.get("k") == value
    assert (await typed.update("k", lambda old: old)).value == value
    assert await typed.get("k") == value
    await typed.set_many({"m": value})
    assert await typed.get_or_set("m", lambda: value) == value


@pytest.mark.parametrize("value", [WithoutEquality("a", ("b",)), StructWithoutEquality("a")])
async def test_values_without_equality_of_their_own_are_compared_by_their_fields(kv: KV, value: Any) -> None:
    """A class that `==` cannot compare can be stored all the same."""
    typed = kv.typed(type(value))
    await typed.set("k", value)
    assert (await typed.get("k")).name == "a"


def nested(depth: int) -> list[Any]:
    return functools.reduce(lambda inner, _: [inner], range(depth), list[Any]())


class Secretive(pydantic.BaseModel):
    password: pydantic.SecretStr


class Excluding(pydantic.BaseModel):
    name: str
    note: str = pydantic.Field("", exclude=True)


class OneWay(pydantic.BaseModel):
    name: str = pydantic.Field("nobody", serialization_alias="title")


class Base(pydantic.BaseModel):
    name: str


class Derived(Base):
    extra: int = 1


@dataclass
class Plain:
    name: str
    seen: float | None = None
    ratio: Any = None
    hidden: str = field(default="", compare=False)


@dataclass
class Special(Plain):
    more: int = 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Secretive, Secretive.model_validate({"password": "hunter2"})),
        (Excluding, Excluding(name="a", note="kept by nobody")),
        (OneWay, OneWay(name="a")),
        (Base, Derived(name="a")),
        (Plain, Special("a")),
        (list[Base], [Derived(name="a")]),
        (Plain, Plain("a", seen=math.nan)),
        (Plain, Plain("a", seen=math.inf)),
        (Plain, Plain("a", ratio=Decimal("1.5"))),
        (Plain, Plain("a", ratio={1: "a"})),
        (Plain, Plain("a", ratio=(1, 2))),
        (float, math.nan),
        (float, 2**53 + 1),
        (Decimal, Decimal("sNaN")),
        (dict[str, Any], {"when": datetime(2040, 1, 1, tzinfo=UTC)}),
        (Any, nested(3000)),
    ],
)
async def test_a_typed_value_that_would_not_be_the_same_is_refused(kv: KV, kind: Any, value: Any) -> None:
    """InvalidValue, nothing is written, and the error does not quote the value."""
    typed = kv.typed(kind)
    with pytest.raises(kvik.InvalidValue) as refused:
        await typed.set("k", value)
    assert "hunter2" not in str(refused.value)
    assert not await kv.exists("k")
    with pytest.raises(kvik.InvalidValue):
        await typed.get_or_set("k", lambda: value)
    assert not await kv.exists("k")


async def test_to_json_writes_what_from_json_reads() -> None:
    """Aliases survive where a handler encodes by itself, too."""
    assert kvik.from_json(kvik.to_json(ADA), Aliased) == ADA


# Numbers that become times


@pytest.mark.parametrize("ttl", [2**63, 10**400, 1e300, timedelta.max])
async def test_a_time_to_live_beyond_all_calendars_ends_in_the_year_5138(kv: KV, ttl: Any) -> None:
    """It can be stored, read, listed and touched, and is never an OverflowError."""
    await kv.set("k", "v", ttl=ttl)
    await kv.set_many({"m": "v"}, ttl=ttl)
    await kv.update("k", lambda old: f"{old}v", ttl=ttl)
    await kv.touch("k", ttl)
    left = await kv.ttl("k")
    assert left is not None
    assert left > timedelta(days=365 * 3000)
    expires_at = (await kv.entry("k")).expires_at
    assert expires_at is not None
    assert datetime.fromtimestamp(expires_at, UTC).year == 5138
    assert await kv.get_or_set("k", lambda: "other", ttl=ttl) == "vv"


@pytest.mark.parametrize(
    ("expires_at", "left"),
    [(math.inf, timedelta.max), (10**400, timedelta.max), (1e300, timedelta.max), (-math.inf, timedelta())],
)
async def test_the_time_left_is_bounded_whatever_moment_a_store_reports(expires_at: Any, left: timedelta) -> None:
    """Another program's number must not make a read fail."""

    class Foreign(MemoryStore):
        async def get_versioned(self, key: str) -> tuple[str, str, float | None] | None:
            return "v", "1", expires_at

    assert await KV(Foreign()).ttl("k") == left


async def test_a_deadline_of_any_size_can_be_set(kv: KV) -> None:
    """A number that is too large for a clock is as good as none."""
    for seconds in (1e308, 10**400):
        with kv.deadline(seconds):
            await kv.set("k", "v")


@pytest.mark.parametrize("seconds", [10**400, 1e308])
async def test_a_store_may_ask_for_any_patience(seconds: float) -> None:
    """The Retry-After header stays a number that clients can read."""

    class Busy(MemoryStore):
        async def get(self, key: str) -> str | None:
            error = RuntimeError("busy")
            error.code, error.retry_after = "throttled", seconds  # type: ignore[attr-defined]
            raise error

    with pytest.raises(kvik.Throttled) as throttled:
        await KV(Busy()).get("k")
    assert throttled.value.headers == {"Retry-After": "1000000000"}


# Only what was stored is returned


class Fleeting(MemoryStore):
    """A store whose key, when it is to be created, was just created and deleted by somebody else."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        if self.times:
            self.times -= 1
            await super().set(key, "theirs")
            try:
                return await super().set_if(key, value, version, expires_at)
            finally:
                await super().delete(key)
        return await super().set_if(key, value, version, expires_at)


async def test_get_or_set_returns_a_value_that_was_stored_although_it_is_gone() -> None:
    """After a conflict it returns the conflict's value, not the one that was refused, to all who wait."""
    kv = KV(Fleeting(times=1))

    async def make() -> str:
        await asyncio.sleep(0.01)  # so that the others wait for it
        return "mine"

    assert await asyncio.gather(*(kv.get_or_set("k", make) for _ in range(3))) == ["theirs"] * 3


async def test_views_of_one_type_share_what_get_or_set_makes() -> None:
    """A typed view made for each request does not make a value once for each request."""
    kv = KV(MemoryStore())
    made = 0

    async def make() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0.01)
        return made

    assert await asyncio.gather(*(kv.typed(int).get_or_set("k", make) for _ in range(3))) == [1, 1, 1]


class Forgetful(Fleeting):
    """One whose conflicts do not say what is there."""

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        try:
            return await super().set_if(key, value, version, expires_at)
        except kvik.Conflict as conflict:
            conflict.current = None
            raise


async def test_get_or_set_writes_again_where_nobody_can_say_what_was_there() -> None:
    """It never returns a value that is not stored: it tries again, and raises Conflict in the end."""
    store = Forgetful(times=2)
    assert await KV(store).get_or_set("k", lambda: "mine") == "mine"
    assert await store.get("k") == "mine"
    with pytest.raises(kvik.Conflict):
        await KV(Forgetful(times=100)).get_or_set("k", lambda: "mine")


async def test_get_or_set_waits_for_another_maker_no_longer_than_an_operation_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a deadline, too, waiting ends: after the 10 seconds that an operation has, here 0.05."""
    monkeypatch.setattr("kvik._kv.single_flight.OPERATION_TIMEOUT", 0.05)
    kv = KV(MemoryStore())
    finish = asyncio.Event()

    async def slow() -> str:
        await finish.wait()
        return "v"

    maker = asyncio.create_task(kv.get_or_set("k", slow))
    await asyncio.sleep(0.01)
    with pytest.raises(kvik.DeadlineExceeded, match="still making"):
        await kv.get_or_set("k", lambda: "mine")
    finish.set()
    assert await maker == "v"
