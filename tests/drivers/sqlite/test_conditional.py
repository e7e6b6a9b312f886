"""Conditional writes: versions, and who wins."""

import asyncio
import sqlite3

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._errors import Versioned

FOREIGN = ["", "1", "x" * 32, "é\0", "0" * 32, "A" * 1000, '"etag"']


async def entry_of(db: SQLite, key: str = "k") -> Versioned:
    """Return the entry of a key that is there."""
    entry = await db.get_versioned(key)
    assert entry is not None
    return entry


async def test_a_version_lets_one_write_through(db: SQLite) -> None:
    """A write with the current version succeeds and returns the next one; with the old one it conflicts."""
    first = await db.set_if("k", "one", None)
    second = await db.set_if("k", "two", first)
    assert await db.get_versioned("k") == ("two", second, None)
    with pytest.raises(SQLiteError, match="does not have this version") as caught:
        await db.set_if("k", "three", first)
    error = caught.value
    assert (error.code, error.outcome, error.current) == ("conflict", "not_applied", ("two", second, None))
    assert await db.get("k") == "two"


async def test_must_be_absent(db: SQLite) -> None:
    """Version None writes only where nothing is, and else tells what is there."""
    await db.set("k", "there")
    with pytest.raises(SQLiteError, match="there already") as caught:
        await db.set_if("k", "new", None)
    assert caught.value.current == await db.get_versioned("k")


async def test_delete_if(db: SQLite) -> None:
    """A key is deleted with its version only, and a missing one is a conflict with nothing."""
    version = await db.set_if("k", "value", None)
    with pytest.raises(SQLiteError) as caught:
        await db.delete_if("k", "another")
    assert caught.value.current == ("value", version, None)
    await db.delete_if("k", version)
    assert await db.get_versioned("k") is None
    with pytest.raises(SQLiteError) as caught:
        await db.delete_if("k", version)
    assert (caught.value.code, caught.value.current) == ("conflict", None)


async def test_a_foreign_version_is_a_conflict(db: SQLite) -> None:
    """Whatever text a version is, one that this store never made is a conflict and nothing else."""
    version = await db.set_if("k", "value", None)
    for foreign in [*FOREIGN, version.upper() + " ", f"0x{version}"]:
        for call in (
            db.set_if("k", "new", foreign),
            db.delete_if("k", foreign),
            db.set_if("missing", "new", foreign),
            db.delete_if("missing", foreign),
        ):
            with pytest.raises(SQLiteError) as caught:
                await call
            assert caught.value.code == "conflict"
    assert await db.get_versioned("k") == ("value", version, None)


async def test_every_kind_of_write_makes_a_new_version(db: SQLite) -> None:
    """No version comes twice, also when the value does, and a delete lies between."""
    seen = [await db.set_if("k", "1", None)]
    for write in (
        lambda: db.set("k", "1"),
        lambda: db.set_expiring("k", "1", 9e9),
        lambda: db.set_many({"k": "1"}),
        lambda: db.set_many({"k": "1"}, 9e9),
        lambda: db.increment("k", 0),
    ):
        await write()
        seen.append((await entry_of(db))[1])
    seen.append(await db.set_if("k", "1", seen[-1]))
    await db.delete_if("k", seen[-1])
    seen.append(await db.set_if("k", "1", None))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("value", ["", "x" * 70_000, "é🎉\0" * 100_000], ids=["empty", "large", "in pieces"])
async def test_a_conflict_tells_a_value_of_any_size(db: SQLite, value: str) -> None:
    """`current` and get_versioned hold the whole value, whether it was read at once or in pieces."""
    version = await db.set_if("k", value, None)
    with pytest.raises(SQLiteError) as caught:
        await db.set_if("k", "new", None)
    assert caught.value.current == (value, version, None)
    assert await db.get_versioned("k") == (value, version, None)
    assert value == "" or value not in str(caught.value)


@pytest.mark.parametrize("stored", ["x'00ff'", "zeroblob(100000)"], ids=["small", "large"])
async def test_a_conflict_with_a_damaged_value_is_corrupt(
    db: SQLite, outside: sqlite3.Connection, stored: str
) -> None:
    """When the current value is no text, that is told; the caller has to know before it writes again."""
    await db.set("k", "value")
    outside.execute(f"UPDATE kv SET value = {stored}")  # noqa: S608 - the test's own literal
    for call in (db.set_if("k", "new", None), db.get_versioned("k"), db.get_many(["k"])):
        with pytest.raises(SQLiteError, match="not text") as caught:
            await call
        assert caught.value.code == "corrupt"


async def test_of_many_at_once_one_wins(db: SQLite) -> None:
    """Tasks that write with the same version, in one group, let exactly one through."""
    version = await db.set_if("k", "start", None)
    results = await asyncio.gather(
        *[db.set_if("k", str(number), version) for number in range(20)], return_exceptions=True
    )
    winners = [number for number, result in enumerate(results) if isinstance(result, str)]
    assert len(winners) == 1
    assert await db.get("k") == str(winners[0])
    assert {result.code for result in results if isinstance(result, SQLiteError)} == {"conflict"}
