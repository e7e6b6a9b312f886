"""Keys that expire: when they are gone for readers, and when they leave the file."""

import math
import sqlite3
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._expiry import _REMOVE, remove_expired


def rows(outside: sqlite3.Connection) -> list[str]:
    """List the keys in the file, expired or not."""
    return [key.decode() for (key,) in outside.execute("SELECT key FROM kv ORDER BY key")]


async def test_an_expired_key_is_missing_on_every_path(db: SQLite, clock: Any) -> None:
    """At its moment, and not before, a key is gone for get, get_versioned, get_many and scan."""

    async def seen() -> list[Any]:
        versioned = await db.get_versioned("k")
        return [
            await db.get("k"),
            versioned and (versioned[0], versioned[2]),
            await db.get_many(["k", "stays"]),
            await db.scan("", None, 10),
        ]

    expires_at = clock.now + 1.25
    await db.set("stays", "s")
    await db.set_expiring("k", "value", expires_at)
    clock.now = math.nextafter(expires_at, 0)
    assert await seen() == [
        "value",
        ("value", expires_at),
        {"k": "value", "stays": "s"},
        (["k", "stays"], None),
    ]
    clock.now = expires_at
    assert await seen() == [None, None, {"stays": "s"}, (["stays"], None)]


@pytest.mark.parametrize("length", [5, 100_000])
async def test_a_large_value_expires_too(db: SQLite, clock: Any, length: int) -> None:
    """Values of any size expire: those that are read in pieces are no exception."""
    await db.set_expiring("k", "x" * length, clock.now + 1)
    assert await db.get_many(["k"]) == {"k": "x" * length}
    clock.now += 1
    assert [await db.get("k"), await db.get_versioned("k"), await db.get_many(["k"])] == [None, None, {}]


async def test_every_plain_write_clears_the_expiry(db: SQLite, clock: Any) -> None:
    """Set, set_if without an expiry and set_many without one make keys that stay."""
    for key in "abc":
        await db.set_expiring(key, "old", clock.now + 1)
    before = await db.get_versioned("b")
    assert before is not None
    await db.set("a", "new")
    await db.set_if("b", "new", before[1])
    await db.set_many({"c": "new"})
    clock.now += 2
    assert await db.get_many(["a", "b", "c"]) == dict.fromkeys("abc", "new")


async def test_every_write_that_may_set_an_expiry_does(db: SQLite, clock: Any) -> None:
    """set_expiring, set_if and set_many keep the expiry exactly as it was given."""
    expires_at = clock.now + 1 / 3
    await db.set_expiring("a", "value", expires_at)
    await db.set_if("b", "value", None, expires_at)
    await db.set_many({"c": "value"}, expires_at)
    entries = [await db.get_versioned(key) for key in "abc"]
    assert [entry and entry[2] for entry in entries] == [expires_at] * 3


async def test_an_expired_key_is_absent_for_conditions_and_counters(db: SQLite, clock: Any) -> None:
    """Its old version conflicts with nothing there, "must be absent" succeeds, and a counter begins at 0."""
    for key in ("set", "delete", "fresh", "count"):
        await db.set_expiring(key, "41", clock.now + 1)
    old = {key: await db.get_versioned(key) for key in ("set", "delete")}
    assert old["set"] is not None
    assert old["delete"] is not None
    clock.now += 1
    for call in (db.set_if("set", "new", old["set"][1]), db.delete_if("delete", old["delete"][1])):
        with pytest.raises(SQLiteError) as caught:
            await call
        assert (caught.value.code, caught.value.current) == ("conflict", None)
    await db.set_if("fresh", "new", None)
    assert await db.increment("count", 1) == 1
    clock.now += 1000
    assert await db.get_many(["fresh", "count"]) == {"fresh": "new", "count": "1"}


@pytest.mark.parametrize("expires_at", [math.nan, math.inf])
async def test_an_expiry_that_is_no_moment_is_refused(db: SQLite, expires_at: float) -> None:
    """NaN, which SQLite would keep as "never", and infinity are `invalid_value`."""
    for call in (
        db.set_expiring("k", "value", expires_at),
        db.set_if("k", "value", None, expires_at),
        db.set_many({"k": "value"}, expires_at),
    ):
        with pytest.raises(SQLiteError) as caught:
            await call
        assert caught.value.code == "invalid_value"


async def test_writes_remove_what_has_expired(db: SQLite, clock: Any, outside: sqlite3.Connection) -> None:
    """Expired rows leave the file with later writes, by the store's own clock; live ones stay."""
    await db.set_many({f"e{number:02}": "value" for number in range(30)}, clock.now + 1)
    await db.set_expiring("later", "value", clock.now + 100)
    clock.now += 1
    assert len(rows(outside)) == 31
    for number in range(4):  # eight at least with each
        await db.set("live", str(number))
    assert rows(outside) == ["later", "live"]


async def test_removal_is_bounded(db: SQLite, clock: Any, outside: sqlite3.Connection) -> None:
    """When its time is up a removal stops, however much is left; the next one goes on."""
    await db.set_many({f"e{number:02}": "value" for number in range(20)}, clock.now + 1)
    left = []
    for _ in range(3):
        remove_expired(outside, clock.now + 1, seconds=0)
        left.append(len(rows(outside)))
    assert left == [12, 4, 0]


async def test_removal_uses_the_index(db: SQLite, outside: sqlite3.Connection) -> None:
    """Looking for expired rows never walks through the table."""
    assert db
    plan = [row[3] for row in outside.execute(f"EXPLAIN QUERY PLAN {_REMOVE}", (1.0,))]
    assert any("kv_expires_at (expires_at<?)" in step for step in plan)
    assert not any(step.startswith("SCAN") for step in plan)


async def test_a_removal_that_fails_harms_no_write(db: SQLite, clock: Any, outside: sqlite3.Connection) -> None:
    """Writes succeed although what has expired cannot be removed, and it stays missing."""
    await db.set_expiring("k", "value", clock.now + 1)
    outside.execute("CREATE TRIGGER keep BEFORE DELETE ON kv BEGIN SELECT raise(ABORT, 'kept'); END")
    clock.now += 1
    await db.set("other", "value")
    assert rows(outside) == ["k", "other"]
    assert [await db.get("k"), await db.get("other")] == [None, "value"]


async def test_a_removal_that_loses_the_transaction_harms_no_write(
    db: SQLite, clock: Any, outside: sqlite3.Connection
) -> None:
    """When a failed removal takes the transaction with it, the writes are made again without it."""
    await db.set_expiring("k", "value", clock.now + 1)
    outside.execute("CREATE TRIGGER keep BEFORE DELETE ON kv BEGIN SELECT raise(ROLLBACK, 'kept'); END")
    clock.now += 1
    await db.set("other", "value")
    assert rows(outside) == ["k", "other"]
