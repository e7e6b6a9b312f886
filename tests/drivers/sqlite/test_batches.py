"""Batches: chunks, and what is told when one fails."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._batches import CHUNK_BYTES, CHUNK_KEYS, chunks_of_items


async def test_any_number_of_keys(db: SQLite) -> None:
    """Thousands of keys are written, read and deleted by one call each; missing and repeated ones do no harm."""
    items = {f"key {number}": f"value {number}" for number in range(2000)}
    await db.set_many(items)
    assert await db.get_many([*items, "missing", "key 1"]) == items
    await db.delete_many([*items, "missing", "key 1"])
    assert await db.get_many(list(items)) == {}


async def test_nothing_is_a_batch_too(db: SQLite) -> None:
    """A batch of no keys does nothing."""
    await db.set_many({})
    await db.delete_many([])
    assert await db.get_many([]) == {}


async def test_a_batch_replaces_and_takes_values_of_any_size(db: SQLite) -> None:
    """Large values, read in pieces, are in the answer beside small ones."""
    await db.set("a", "old")
    items = {"a": "new", "large": "é" * 200_000, "empty": "", "nul\0": "\0", "🎉": "🎉" * 50_000}
    await db.set_many(items)
    assert await db.get_many([*items, "missing"]) == items


def test_chunks_are_bounded_by_number_and_size() -> None:
    """A chunk has at most so many keys, and more than one only if their values are small together."""
    sizes = [[len(value) for _, value in chunk] for chunk in chunks_of_items([(b"k", "x")] * (CHUNK_KEYS + 1))]
    assert [len(chunk) for chunk in sizes] == [CHUNK_KEYS, 1]
    large = [(b"a", "x"), (b"b", "x" * CHUNK_BYTES), (b"c", "x"), (b"d", "x")]
    assert [[key for key, _ in chunk] for chunk in chunks_of_items(large)] == [[b"a"], [b"b"], [b"c", b"d"]]


async def test_a_chunk_is_written_wholly_or_not_at_all(db: SQLite, refuse: Callable[[str], None]) -> None:
    """When the first chunk fails its own error is raised, and nothing was written."""
    refuse("bad")
    with pytest.raises(SQLiteError, match="refused") as caught:
        await db.set_many({"good": "value", "bad": "value"})
    assert (caught.value.code, caught.value.outcome) == ("misconfigured", "not_applied")
    assert await db.get("good") is None


async def test_a_later_failure_tells_how_far_it_came(db: SQLite, refuse: Callable[[str], None]) -> None:
    """A chunk that fails after others is a partial failure: the keys written, and an error for each other."""
    refuse("k300")
    keys = [f"k{number}" for number in range(3 * CHUNK_KEYS)]
    with pytest.raises(SQLiteError, match="stopped before its end") as caught:
        await db.set_many(dict.fromkeys(keys, "value"))
    error = caught.value
    assert (error.code, error.outcome) == ("partial_failure", "unknown")
    assert error.results == keys[:CHUNK_KEYS]
    assert list(error.errors) == keys[CHUNK_KEYS:]
    told = {(each.code, each.outcome) for each in error.errors.values() if isinstance(each, SQLiteError)}
    assert told == {("misconfigured", "not_applied")}
    assert "not tried" in str(error.errors[keys[-1]])
    assert await db.get_many(keys) == dict.fromkeys(keys[:CHUNK_KEYS], "value")


async def test_a_read_that_fails_gives_what_it_has(db: SQLite, outside: sqlite3.Connection) -> None:
    """Values that were read before the failure are in the results."""
    keys = [f"k{number}" for number in range(2 * CHUNK_KEYS)]
    await db.set_many(dict.fromkeys(keys, "value"))
    outside.execute("UPDATE kv SET value = x'00' WHERE key = ?", (keys[-1].encode(),))
    with pytest.raises(SQLiteError) as caught:
        await db.get_many(keys)
    assert caught.value.results == dict.fromkeys(keys[:CHUNK_KEYS], "value")
    assert {getattr(error, "code", None) for error in caught.value.errors.values()} == {"corrupt"}


async def test_deletes_tell_how_far_they_came(db: SQLite, outside: sqlite3.Connection) -> None:
    """The keys that were deleted are the results of a partial failure."""
    keys = [f"k{number}" for number in range(CHUNK_KEYS + 1)]
    await db.set_many(dict.fromkeys(keys, "value"))
    outside.execute(
        f"CREATE TRIGGER keep BEFORE DELETE ON kv WHEN old.key = x'{keys[-1].encode().hex()}' "
        "BEGIN SELECT raise(ABORT, 'kept'); END"
    )
    with pytest.raises(SQLiteError) as caught:
        await db.delete_many(keys)
    assert (caught.value.results, list(caught.value.errors)) == (keys[:-1], keys[-1:])


@pytest.mark.parametrize("bad", ["", "lone \ud800", None], ids=ascii)
async def test_a_wrong_key_stops_a_batch_before_it_begins(db: SQLite, bad: Any) -> None:
    """Every key and value is checked before the first is written."""
    keys = [f"k{number}" for number in range(CHUNK_KEYS)]
    for call in (
        db.set_many({**dict.fromkeys(keys, "value"), bad: "value"}),
        db.get_many([*keys, bad]),
        db.delete_many([*keys, bad]),
    ):
        with pytest.raises(SQLiteError) as caught:
            await call
        assert caught.value.code == "invalid_key"
    with pytest.raises(SQLiteError) as caught:
        await db.set_many({"k0": "value", "k1": 7})  # type: ignore[dict-item] # that this is refused is the test
    assert caught.value.code == "invalid_value"
    assert await db.get("k0") is None


async def test_a_batch_leaves_room_for_others(db: SQLite) -> None:
    """A write that comes while a batch is at work is done before the batch is."""
    go = threading.Event()
    busy = asyncio.ensure_future(db._write(lambda _: go.wait(30)))  # noqa: SLF001 - so that the batch has to queue
    batch = asyncio.ensure_future(db.set_many({f"k{number}": "value" for number in range(5 * CHUNK_KEYS)}))
    for _ in range(50):
        await asyncio.sleep(0)  # its first chunk is in the queue now
    between = asyncio.ensure_future(db.set("between", "value"))
    await asyncio.sleep(0)
    go.set()
    await between
    assert not batch.done()
    await asyncio.gather(busy, batch)


async def test_deletes_of_large_values_leave_room_for_others(db: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that deletes goes on in another commit after a while, with the keys that are left."""
    monkeypatch.setattr("kvik_sqlite._batches.REMOVE_SECONDS", 0)
    keys = [f"k{number}" for number in range(20)]
    await db.set_many(dict.fromkeys([*keys, "stays"], "value"))
    batch = asyncio.ensure_future(db.delete_many(keys))
    await db.set("between", "value")
    assert not batch.done()
    await batch
    assert await db.scan("", None, 100) == (["between", "stays"], None)
