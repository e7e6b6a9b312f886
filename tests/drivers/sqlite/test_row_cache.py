"""Rows that are kept: never stale, whoever writes; really used; bounded."""

# ruff: noqa: ASYNC240 - a test may wait for its files

import asyncio
import os
import sqlite3
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._reads import NO_ROW, SMALL_BYTES, Row
from kvik_sqlite._row_cache import ROW_BYTES, RowCache

linux = pytest.mark.skipif(sys.platform != "linux", reason="rows are kept on Linux only")


def statements_of(db: SQLite) -> list[str]:
    """Give the list, from now on, of what direct reads ask SQLite."""
    asked: list[str] = []
    db._file._open.direct._connection.set_trace_callback(asked.append)  # type: ignore[union-attr] # noqa: SLF001 - what reaches SQLite
    return asked


@pytest.fixture
def asked(db: SQLite) -> list[str]:
    return statements_of(db)


@linux
async def test_a_row_is_asked_for_once(db: SQLite, asked: list[str]) -> None:
    """While nobody writes SQLite is asked once for a key, there or not, however often it is read."""
    await db.set("k", "value")
    for _ in range(3):
        assert await db.get("k") == "value"
        entry = await db.get_versioned("k")
        assert entry is not None
        assert (entry[0], entry[2]) == ("value", None)
        assert await db.get("missing") is None
        assert await db.get_versioned("missing") is None
    assert len(asked) == 2


@linux
async def test_rows_are_asked_for_again_after_any_write(db: SQLite, asked: list[str]) -> None:
    """A write of any key makes SQLite be asked once more for each: the commit may have changed them."""
    await db.set("k", "value")
    for number in range(3):
        await db.set("other", str(number))
        assert [await db.get("k"), await db.get("k")] == ["value"] * 2
    assert len(asked) == 3


async def test_nothing_is_kept_with_cache_bytes_0(path: Path) -> None:
    """With cache_bytes=0 every read asks SQLite, and answers the same."""
    async with SQLite(path, cache_bytes=0) as db:
        asked = statements_of(db)
        await db.set("k", "value")
        assert [await db.get("k") for _ in range(3)] == ["value"] * 3
        assert len(asked) == 3


def test_cache_bytes_is_no_negative_number(path: Path) -> None:
    """A negative cache_bytes is a ValueError."""
    with pytest.raises(ValueError, match="cache_bytes is 0 or more"):
        SQLite(path, cache_bytes=-1)


async def both(db: SQLite, key: str = "k") -> str | None:
    """Read a key by get and get_versioned, twice each, which must agree."""
    for _ in range(2):
        value = await db.get(key)
        entry = await db.get_versioned(key)
        assert value == (None if entry is None else entry[0])
    return value


async def test_what_a_store_writes_is_read_at_once(db: SQLite, clock: Any) -> None:
    """After each verb that writes, a key that was read before is read anew."""
    assert await both(db) is None
    await db.set("k", "1")
    assert await both(db) == "1"
    await db.increment("k", 1)
    assert await both(db) == "2"
    await db.set_many({"k": "many"})
    assert await both(db) == "many"
    await db.set_expiring("k", "expiring", clock.now + 1)
    assert await both(db) == "expiring"
    entry = await db.get_versioned("k")
    assert entry is not None
    version = await db.set_if("k", "conditional", entry[1])
    assert await db.get_versioned("k") == ("conditional", version, None)
    await db.delete_if("k", version)
    assert await both(db) is None
    await db.set("k", "again")
    assert await both(db) == "again"
    await db.delete("k")
    assert await both(db) is None
    await db.set("k", "last")
    assert await both(db) == "last"
    await db.delete_many(["k"])
    assert await both(db) is None


async def test_what_others_write_is_read_at_once(db: SQLite, outside: sqlite3.Connection) -> None:
    """What another connection has written is read without a turn of the event loop between."""
    put = "INSERT OR REPLACE INTO kv (key, value, version) VALUES (x'6b', ?, x'00')"
    for number in range(300):
        outside.execute(put, (str(number),))
        assert await both(db) == str(number)
        outside.execute("DELETE FROM kv")
        assert await both(db) is None


async def test_what_is_not_committed_is_not_read(db: SQLite, outside: sqlite3.Connection) -> None:
    """Amid a transaction of another, and when that was rolled back, a key is read as it was."""
    await db.set("k", "old")
    for end, expected in (("ROLLBACK", "old"), ("COMMIT", "new")):
        outside.execute("BEGIN IMMEDIATE")
        outside.execute("UPDATE kv SET value = 'new'")
        assert await both(db) == "old"
        outside.execute(end)
        assert await both(db) == expected


async def test_a_version_that_was_kept_conflicts_after_a_foreign_write(
    db: SQLite, outside: sqlite3.Connection
) -> None:
    """A condition is checked against the file: the version of a kept row hides nothing."""
    await db.set("k", "old")
    for _ in range(2):
        entry = await db.get_versioned("k")
    assert entry is not None
    outside.execute("UPDATE kv SET value = 'new', version = ?", (b"\1" * 16,))
    for call in (db.set_if("k", "mine", entry[1]), db.delete_if("k", entry[1])):
        with pytest.raises(SQLiteError) as caught:
            await call
        assert (caught.value.code, caught.value.current) == ("conflict", ("new", "01" * 16, None))


async def test_a_kept_row_expires(db: SQLite, clock: Any) -> None:
    """A row that is kept is there until its moment, and not at it, though nothing is written meanwhile."""
    await db.set_expiring("k", "value", clock.now + 1)
    assert await both(db) == "value"
    clock.now += 0.5
    assert await both(db) == "value"
    clock.now += 0.5
    assert await both(db) is None


async def test_a_value_that_is_no_text_is_corrupt_each_time(db: SQLite, outside: sqlite3.Connection) -> None:
    """What cannot be read is not kept: each read says so, until it is mended."""
    await db.set("k", "value")
    assert await both(db) == "value"
    outside.execute("UPDATE kv SET value = x'00'")
    for call in (db.get, db.get_versioned, db.get):
        with pytest.raises(SQLiteError) as caught:
            await call("k")
        assert caught.value.code == "corrupt"
    outside.execute("UPDATE kv SET value = 'mended'")
    assert await both(db) == "mended"


async def test_a_large_value_takes_the_place_of_a_small_one(db: SQLite) -> None:
    """A key whose value becomes large, and small again, is read as it is: large ones are not kept."""
    for length in (SMALL_BYTES, SMALL_BYTES + 1, 5):
        await db.set("k", "x" * length)
        assert await both(db) == "x" * length


async def test_a_kept_row_does_not_outlast_the_deadline(db: SQLite) -> None:
    """When no time is left a read fails, whether its row is kept or not."""
    await db.set("k", "value")
    assert await both(db) == "value"
    db.use_deadline(lambda: 0.0)
    with pytest.raises(SQLiteError) as caught:
        await db.get("k")
    assert caught.value.code == "deadline_exceeded"


async def test_stores_over_one_file_see_each_others_writes(path: Path) -> None:
    """Two stores in one process read what either writes; the one that is closed takes nothing from the other."""
    async with SQLite(path) as one:
        async with SQLite(path) as two:
            for number in range(50):
                await (one, two)[number % 2].set("k", str(number))
                assert [await both(one), await both(two)] == [str(number)] * 2
        await one.set("k", "alone")
        assert await both(one) == "alone"


async def test_a_store_that_was_opened_again_has_forgotten_all(path: Path) -> None:
    """What was kept before close is not answered after the file was written, or replaced, meanwhile."""
    db = SQLite(path)
    async with db:
        await db.set("k", "old")
        assert await both(db) == "old"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kv SET value = 'new'")
    async with db:
        assert await both(db) == "new"
    path.unlink()
    async with db:
        assert await both(db) is None


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Callable[[str], Path]]:
    """Give a function that makes a path of each kind; the working directory is a temporary one."""
    before = Path.cwd()
    os.chdir(tmp_path)

    def make(kind: str) -> Path:
        match kind:
            case "relative":
                return Path("store.db")
            case "symlink":
                Path("link.db").symlink_to("store.db")
                return tmp_path / "link.db"
            case "symlinked directory":
                (tmp_path / "real").mkdir()
                (tmp_path / "link").symlink_to("real")
                return tmp_path / "link" / "store.db"
            case name:
                (tmp_path / name).mkdir()
                return tmp_path / name / f"{name}.db"

    yield make
    os.chdir(before)


@linux
@pytest.mark.parametrize(
    "kind", ["relative", "symlink", "symlinked directory", "a b", "é 日本 \udcff", r"\012", " (deleted)"]
)
async def test_rows_are_kept_wherever_the_file_is(elsewhere: Callable[[str], Path], kind: str) -> None:
    """However the path is written, rows are kept, and are not stale."""
    path = elsewhere(kind)
    async with SQLite(path) as db:
        asked = statements_of(db)
        await db.set("k", "old")
        assert await both(db) == "old"
        assert len(asked) == 1
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE kv SET value = 'new'")
        assert await both(db) == "new"


@linux
async def test_a_path_with_a_line_break_works_too(tmp_path: Path) -> None:
    """Where the path hides where the header lies, nothing is kept."""
    async with SQLite(tmp_path / "line\nbreak.db") as db:
        asked = statements_of(db)
        await db.set("k", "value")
        assert [await db.get("k") for _ in range(3)] == ["value"] * 3
        assert len(asked) == 3


async def test_reading_many_keys_stays_within_cache_bytes(path: Path) -> None:
    """However many keys are read, there or not, the process grows by about cache_bytes and no more."""
    async with SQLite(path, cache_bytes=200_000) as db:
        for start in range(0, 4000, 1000):
            await db.set_many({f"k{number}": f"{number}" * 20 for number in range(start, start + 1000)})
        await db.get("k0")
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(4000):
            await db.get(f"k{number}")
            await db.get(f"missing{number}")
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert after - before < 300_000


async def test_close_amid_reads(path: Path) -> None:
    """A store that is closed while tasks read answers them or says "closed", time and again."""
    db = SQLite(path)

    async def read() -> int:
        for number in range(1_000_000):
            try:
                assert await db.get("k") == "value"
            except SQLiteError as error:
                return number if "closed" in str(error) else 0
            if number % 100 == 0:
                await asyncio.sleep(0)
        raise AssertionError

    for _ in range(20):
        await db.connect()
        await db.set("k", "value")
        reads = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0.001)
        await db.close()
        assert all(await asyncio.gather(*reads))


class Header:
    """A header that is set by hand."""

    def __init__(self) -> None:
        self.bytes = b"a"

    def __call__(self) -> bytes:
        return bytes(bytearray(self.bytes))  # another object each time


@pytest.fixture
def header() -> Header:
    return Header()


def row(value: str = "value") -> Row:
    return (value, None, b"version")


def test_a_row_is_of_the_state_before_it_was_read(header: Header) -> None:
    """When the header changes between the look at it and the end of the read, the row does not count."""
    cache = RowCache(header, 10_000)
    assert cache.find(b"k") is None
    header.bytes = b"b"
    cache.keep(b"k", row())
    assert cache.find(b"k") is None


def test_a_state_that_comes_back_is_another(header: Header) -> None:
    """A row of a state that has passed is not found when the header looks like that again."""
    cache = RowCache(header, 10_000)
    cache.find(b"k")
    cache.keep(b"k", row())
    assert cache.find(b"k") == row()
    header.bytes = b"b"
    assert cache.find(b"k") is None
    header.bytes = b"a"
    assert cache.find(b"k") is None
    assert cache.find(b"k") is None


def kept(cache: RowCache, keys: Iterator[bytes] | list[bytes]) -> list[bytes]:
    return [key for key in keys if cache.find(key) is not None]


def test_what_was_not_used_for_longest_goes_first(header: Header) -> None:
    """Where there is room for three rows, a fourth pushes out the one whose use is longest ago."""
    cache = RowCache(header, 3 * (ROW_BYTES + 1))
    cache.find(b"a")
    for key in (b"a", b"b", b"c"):
        cache.keep(key, NO_ROW)
    cache.find(b"a")
    cache.keep(b"d", NO_ROW)
    assert kept(cache, [b"a", b"b", b"c", b"d"]) == [b"a", b"c", b"d"]


def test_sizes_are_counted(header: Header) -> None:
    """A long value takes the place of several short ones, and gives it back when it is replaced."""
    cache = RowCache(header, 4 * (ROW_BYTES + 1))
    keys = [b"a", b"b", b"c", b"d"]
    cache.find(b"a")
    for key in keys:
        cache.keep(key, NO_ROW)
    cache.keep(b"d", row("é" * (ROW_BYTES // 2)))  # four bytes a character: twice ROW_BYTES
    assert kept(cache, keys) == [b"c", b"d"]
    cache.keep(b"d", row("e"))
    for key in (b"e", b"a"):
        cache.keep(key, NO_ROW)
    assert kept(cache, [*keys, b"e"]) == [b"a", b"d", b"e"]
    cache.keep(b"d", row("e" * 5 * ROW_BYTES))
    assert kept(cache, [*keys, b"e"]) == []


def test_a_cleared_cache_is_empty(header: Header) -> None:
    """After clear no row is found, and there is room for as many as at first."""
    cache = RowCache(header, 3 * (ROW_BYTES + 1))
    keys = [b"a", b"b", b"c"]
    for _ in range(2):
        cache.find(b"a")
        for key in keys:
            cache.keep(key, NO_ROW)
        assert kept(cache, keys) == keys
        cache.clear()
        assert kept(cache, keys) == []
