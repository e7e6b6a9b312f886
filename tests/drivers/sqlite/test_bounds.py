"""What is bounded whatever others do: the WAL, a commit, and what a small write waits for large ones."""

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from kvik_sqlite import SQLite

BOUND = 256 * 1024


@pytest.fixture
def small_wal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound the WAL so that a test reaches that soon."""
    monkeypatch.setattr("kvik_sqlite._wal_limit.WAL_BYTES", BOUND)
    monkeypatch.setattr("kvik_sqlite._wal_limit._FIRST_WAIT", 0.02)


def wal_bytes(path: Path) -> int:
    """Return the size of the WAL."""
    return Path(f"{path}-wal").stat().st_size


def read_without_a_pause(path: Path, ended: threading.Event) -> None:
    """Have at every moment a transaction that reads, of which none is long."""
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path)) as other:
        while not ended.is_set():
            for connection, last in ((one, other), (other, one)):
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM kv").fetchone()
                last.rollback()
                time.sleep(0.002)


async def test_the_wal_is_bounded_while_values_are_read(path: Path, small_wal: None) -> None:
    """Reads that overlap, so that somebody reads at every moment, do not let the WAL grow without end."""
    assert small_wal is None
    ended = threading.Event()
    async with SQLite(path, durability="normal") as db:
        await db.set("k", "value")
        reader = threading.Thread(target=read_without_a_pause, args=(path, ended))
        reader.start()
        emptied = size = number = 0
        until = time.monotonic() + 20
        while emptied < 3 and time.monotonic() < until:
            await db.set(f"{number % 10}", f"{number % 7}" * 20_000)
            number, before, size = number + 1, size, wal_bytes(path)
            emptied += size < before
        ended.set()
        reader.join()
    assert emptied == 3


async def test_a_read_that_does_not_end_is_not_waited_for(
    db: SQLite, path: Path, outside: sqlite3.Connection, small_wal: None
) -> None:
    """A transaction left open keeps the WAL, but hardly any write waits; when it ends the WAL is emptied."""
    assert small_wal is None
    await db.set("k", "value")
    outside.execute("BEGIN")
    outside.execute("SELECT count(*) FROM kv").fetchone()
    began = time.monotonic()
    for number in range(100):
        await db.set(f"{number % 10}", f"{number % 7}" * 20_000)
    assert time.monotonic() - began < 5
    assert wal_bytes(path) > BOUND
    outside.execute("ROLLBACK")
    while wal_bytes(path) > BOUND:
        assert time.monotonic() - began < 20
        await db.set("k", "value")


async def test_one_large_commit_does_not_leave_a_large_wal(db: SQLite, path: Path) -> None:
    """A value of the largest size is no reason to keep that much of the disk."""
    await db.set("k", "x" * 16 * 1024 * 1024)
    await db.set("other", "value")  # the WAL is emptied before this is written
    assert wal_bytes(path) < 1024 * 1024


async def test_a_commit_is_bounded_in_bytes(db: SQLite, path: Path) -> None:
    """Large values that are written at once are committed one by one, and small ones do not wait for all."""
    done: list[str] = []
    largest = 0

    async def write(key: str, value: str) -> None:
        nonlocal largest
        await db.set(key, value)
        done.append(key)
        largest = max(largest, wal_bytes(path))

    large = [write(f"large {number}", "x" * 4_000_000) for number in range(6)]
    await asyncio.gather(*large, *[write(f"small {number}", "x") for number in range(5)])
    assert {key for key in done[: done.index("large 2")] if key.startswith("small")} == {
        f"small {number}" for number in range(5)
    }
    assert largest < 16 * 1024 * 1024


async def test_many_small_writes_do_not_keep_a_large_one_back(db: SQLite) -> None:
    """A large write is in the next commit or the one after, however many small ones wait."""
    done: list[str] = []

    async def write(key: str, value: str) -> None:
        await db.set(key, value)
        done.append(key)

    small = [write(f"small {number}", "x") for number in range(2000)]
    await asyncio.gather(*small[:300], write("large", "x" * 2_000_000), *small[300:])
    assert done.index("large") < 1000


async def test_deleting_large_values_writes_next_to_nothing(db: SQLite, path: Path) -> None:
    """A value's pages become free without being written once more, whatever SQLite was built with."""
    keys = [str(number) for number in range(4)]
    await db.set_many(dict.fromkeys(keys, "x" * 2_000_000))
    with closing(sqlite3.connect(path)) as outside:
        outside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await db.delete_many(keys)
    assert wal_bytes(path) < 100_000
