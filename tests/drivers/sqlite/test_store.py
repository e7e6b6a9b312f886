"""The verbs: what is stored comes back, and what cannot be stored is refused."""

import asyncio
import dataclasses
import sqlite3
from functools import partial
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError

KEYS = ["k", " ", "a/b:c%2F", "nul\0inside", "\0", "emoji 🎉", "é", "e\u0301", "'; DROP TABLE kv; --", "k" * 2048]
SMALL_VALUES = ["", "text", "nul\0inside", "🎉", '{"a": 1}', "12", "0x10", "1e999", "9" * 30]
LARGE_VALUES = ["é" * 700_000, "🎉\0x" * 90_000, "x" * 16 * 1024 * 1024, "汉" * 5_592_405 + "x"]


def name(text: str) -> str:
    """Name a parameter by its beginning."""
    return ascii(text[:12])


async def test_spans_name_the_database(db: SQLite) -> None:
    """The driver says in OpenTelemetry's words what it is."""
    assert db.trace_attributes == {"db.system.name": "sqlite"}


async def test_a_missing_key_is_none(db: SQLite) -> None:
    """Get answers None for a key that is not there."""
    assert await db.get("k") is None


async def test_keys_are_not_mixed_up(db: SQLite) -> None:
    """Keys that look alike are different keys: nothing is trimmed, normalised or cut at NUL."""
    for key in KEYS:
        await db.set(key, f"value of {key}")
    assert [await db.get(key) for key in KEYS] == [f"value of {key}" for key in KEYS]


async def test_any_value_comes_back(db: SQLite) -> None:
    """A value may be any text: empty, with NUL, or like a number."""
    for value in SMALL_VALUES:
        await db.set("k", value)
        assert await db.get("k") == value


@pytest.mark.parametrize("value", LARGE_VALUES, ids=name)
async def test_large_values_come_back(db: SQLite, outside: sqlite3.Connection, value: str) -> None:
    """A value may be as large as the limit, and is stored as text, whatever way it took."""
    await db.set("k", value)
    assert await db.get("k") == value
    assert outside.execute("SELECT typeof(value) FROM kv").fetchall() == [("text",)]


async def test_set_replaces(db: SQLite) -> None:
    """A second set of a key replaces its value."""
    await db.set("k", "one")
    await db.set("k", "two")
    assert await db.get("k") == "two"


async def test_delete_removes(db: SQLite) -> None:
    """A deleted key is missing, and another stays."""
    await db.set("k", "value")
    await db.set("other", "value")
    await db.delete("k")
    assert [await db.get("k"), await db.get("other")] == [None, "value"]


async def test_deleting_a_missing_key_is_no_error(db: SQLite) -> None:
    """Delete of a key that is not there does nothing."""
    await db.delete("k")


async def test_a_wrong_key_is_refused(db: SQLite) -> None:
    """A key that is empty, too long, not Unicode or no str is `invalid_key`, on every verb."""
    wrong: list[Any] = ["", "k" * 2049, "é" * 1025, "lone \ud800", None, b"k", 7]
    for key in wrong:
        for call in (
            db.get(key),
            db.set(key, "value"),
            db.delete(key),
            db.get_versioned(key),
            db.set_expiring(key, "value", 9e9),
            db.set_if(key, "value", None),
            db.delete_if(key, "version"),
            db.increment(key, 1),
        ):
            with pytest.raises(SQLiteError) as caught:
                await call
            assert (caught.value.code, caught.value.outcome) == ("invalid_key", "not_applied")


async def test_a_wrong_value_is_refused(db: SQLite) -> None:
    """A value that is not Unicode or no str is `invalid_value`, and the old one stays."""
    await db.set("k", "old")
    wrong: list[Any] = ["lone \ud800", "é" * 300_000 + "\ud800", None, b"value", 7]
    for value in wrong:
        with pytest.raises(SQLiteError) as caught:
            await db.set("k", value)
        assert (caught.value.code, caught.value.outcome) == ("invalid_value", "not_applied")
        assert caught.value.__cause__ is None
    assert await db.get("k") == "old"


@pytest.mark.parametrize("value", ["x" * (16 * 1024 * 1024 + 1), "é" * (8 * 1024 * 1024) + "x"], ids=name)
async def test_a_value_over_the_limit_is_refused_with_its_size(db: SQLite, value: str) -> None:
    """A value of one byte too many is `value_too_large`, with size and limit in bytes of UTF-8."""
    with pytest.raises(SQLiteError) as caught:
        await db.set("k", value)
    assert caught.value.code == "value_too_large"
    assert (caught.value.size, caught.value.limit) == (16 * 1024 * 1024 + 1, 16 * 1024 * 1024)


async def test_a_message_holds_neither_key_nor_value(db: SQLite) -> None:
    """Errors about a key or a value do not quote it, nor does what they were raised from."""
    for call in (db.get("secret\ud800"), db.set("k", "secret\ud800"), db.get("secret" * 1000)):
        with pytest.raises(SQLiteError) as caught:
            await call
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


async def test_limits_are_declared_and_frozen() -> None:
    """`limits` tells the limits in bytes and cannot be changed."""
    limits = SQLite("any.db").limits
    assert (limits.max_key_bytes, limits.max_value_bytes) == (2048, 16 * 1024 * 1024)
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.max_key_bytes = 1  # type: ignore[misc] # that this is refused is the test


@pytest.mark.parametrize("stored", ["x'00ff'", "cast(x'ff6162' as text)"], ids=["blob", "not UTF-8"])
async def test_a_value_that_is_not_text_is_corrupt(db: SQLite, outside: sqlite3.Connection, stored: str) -> None:
    """A value which somebody else stored as something else than text is `corrupt`, not missing."""
    await db.set("k", "value")
    outside.execute(f"UPDATE kv SET value = {stored}")  # noqa: S608 - the test's own literal
    with pytest.raises(SQLiteError, match=r"store\.db.*not text") as caught:
        await db.get("k")
    assert caught.value.code == "corrupt"


async def test_a_value_that_is_not_text_can_be_replaced(db: SQLite, outside: sqlite3.Connection) -> None:
    """Set and delete work on a key whose stored value is damaged."""
    await db.set("k", "value")
    outside.execute("UPDATE kv SET value = x'00ff'")
    await db.set("k", "sound")
    assert await db.get("k") == "sound"


async def test_a_table_that_was_dropped_is_misconfigured(db: SQLite, outside: sqlite3.Connection) -> None:
    """When somebody else drops the table, reads and writes say so."""
    outside.execute("DROP TABLE kv")
    for call in (db.get("k"), db.set("k", "value")):
        with pytest.raises(SQLiteError, match="not as kvik made them") as caught:
            await call
        assert (caught.value.code, caught.value.outcome) == ("misconfigured", "not_applied")


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_database_in_memory_is_refused(path: str) -> None:
    """A database without a file is refused, and the message says what to use."""
    with pytest.raises(ValueError, match="MemoryStore"):
        SQLite(path)


@pytest.mark.parametrize(
    "options",
    [{"durability": "off"}, {"busy_timeout": -1}, {"busy_timeout": float("nan")}, {"busy_timeout": float("inf")}],
    ids=str,
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    """An option with a value that has no meaning is a ValueError naming it."""
    with pytest.raises(ValueError, match=next(iter(options))):
        SQLite("any.db", **options)


def test_repr_names_the_file(tmp_path: Any) -> None:
    """The repr is enough to know which file it is."""
    assert repr(SQLite(tmp_path / "a.db")) == f"SQLite({str(tmp_path / 'a.db')!r})"


@pytest.mark.parametrize("raised", [StopIteration, SystemExit, asyncio.CancelledError])
async def test_a_clock_of_the_users_may_raise_anything(db: SQLite, raised: type[BaseException]) -> None:
    """What a thread cannot hand on to the event loop is an error too, at once, and the thread goes on."""
    times = iter([0.0])
    next(times)
    good = db.clock

    def bad() -> float:
        if raised is StopIteration:
            return next(times)
        raise raised

    for call in (partial(db.increment, "n", 1), partial(db.get_many, ["k"]), partial(db.scan, "", None, 10)):
        for key in ("k", "n"):
            await db.set_expiring(key, "1", good() + 99)
        db.clock = bad
        with pytest.raises(SQLiteError, match=raised.__name__) as caught:
            await asyncio.wait_for(call(), 5)
        assert caught.value.code == "internal"
        db.clock = good
        await db.set("k", "v")
        assert await db.get("k") == "v"
