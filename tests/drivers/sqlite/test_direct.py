"""Reads on the loop's own thread: when they happen, and when they are left to a thread."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._direct import DirectReads
from kvik_sqlite._file import READERS
from kvik_sqlite._reads import NO_ROW, SMALL_BYTES, Row
from kvik_sqlite._row_cache import RowCache
from kvik_sqlite._schema import open_connection


@asynccontextmanager
async def busy_threads(db: SQLite) -> AsyncIterator[None]:
    """Keep all threads that read at work."""
    stuck = threading.Event()
    reads = [asyncio.ensure_future(db._file.read(lambda _: stuck.wait(30), None)) for _ in range(READERS)]  # noqa: SLF001 - what a slow disk does
    await asyncio.sleep(0)
    try:
        yield
    finally:
        stuck.set()
        await asyncio.gather(*reads)


class Timer:
    """A timer that each reading moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def direct(db: SQLite, path: Path, timer: Timer) -> Iterator[DirectReads]:
    """Give direct reads of the file of `db`, timed by `timer`."""
    assert db
    reads = DirectReads(open_connection(path, "full", 5), timer=timer)
    yield reads
    reads.stop()


async def test_a_small_value_needs_no_thread(db: SQLite) -> None:
    """Small values and missing keys are answered while no thread can read; large ones wait for one."""
    db._file._open.direct._timer = lambda: 0.0  # type: ignore[union-attr] # noqa: SLF001 - however slow this machine is
    await db.set("small", "x" * SMALL_BYTES)
    await db.set("large", "x" * (SMALL_BYTES + 1))
    async with busy_threads(db):
        assert await db.get("small") == "x" * SMALL_BYTES
        assert await db.get("missing") is None
        large = asyncio.ensure_future(db.get("large"))
        await asyncio.wait([large], timeout=0.05)
        assert not large.done()
    assert await large == "x" * (SMALL_BYTES + 1)


def read(direct: DirectReads) -> Row | None:
    """Read a key that is not there."""
    return direct.attempt(b"k")


def read_for(direct: DirectReads, timer: Timer, seconds: float) -> Row | None:
    """Read a key that is not there, which takes so long."""
    timer.step = seconds
    answer = read(direct)
    timer.step = 0.0
    return answer


async def test_a_slow_disk_sends_reads_to_the_threads(direct: DirectReads, timer: Timer) -> None:
    """Two slow reads are borne; then there is a pause, and a longer one while the last did not help."""

    def seconds_of_pause() -> float:
        assert read_for(direct, timer, 0.009) == NO_ROW  # the slow one itself is answered
        began = timer.now
        while read(direct) is None:
            timer.now += 0.05
        return timer.now - began

    assert [round(seconds_of_pause(), 1) for _ in range(6)] == [0, 0, 0.1, 0.2, 0.4, 0.8]
    for _ in range(20):
        longest = seconds_of_pause()
    assert 29 < longest < 31
    for _ in range(100):
        read(direct)
    assert round(seconds_of_pause(), 1) == 0.1


async def test_a_pause_is_for_rows_that_are_not_kept(db: SQLite, path: Path, timer: Timer) -> None:
    """While reads are left to the threads, a row that is kept is still answered at once."""
    await db.set("k", "value")
    direct = DirectReads(open_connection(path, "full", 5), RowCache(lambda: b"state", 10_000), timer=timer)
    kept = read(direct)
    assert kept is not None
    timer.step = 0.03
    assert direct.attempt(b"other") == NO_ROW
    for _ in range(200):
        assert read(direct) is kept
        assert direct.attempt(b"another") is None
        timer.step = 0.0
    direct.stop()


async def test_a_busy_machine_changes_nothing(direct: DirectReads, timer: Timer) -> None:
    """One read in a hundred that is interrupted for 4 ms sends none to the threads, however long that goes on."""
    for _ in range(200):
        assert read_for(direct, timer, 0.004) == NO_ROW
        for _ in range(99):
            assert read(direct) == NO_ROW


async def test_the_past_does_not_excuse_many_slow_reads(direct: DirectReads, timer: Timer) -> None:
    """After thousands of fast reads, too, a disk that has become slow is met three times at most."""
    for _ in range(10_000):
        read(direct)
    assert [read_for(direct, timer, 0.009) for _ in range(6)] == [NO_ROW] * 3 + [None] * 3


@pytest.mark.parametrize("one_in", [1, 2, 10, 50, 200])
async def test_slow_reads_cost_the_loop_what_fast_ones_save(
    direct: DirectReads, timer: Timer, one_in: int
) -> None:
    """However many reads have to wait for the disk, the loop stands still for a small part of the time."""
    lost, fast, draw = 0.0, 0, random.Random(one_in)  # noqa: S311 - a lot that can be drawn again
    while timer.now < 60:
        seconds = 0.01 if draw.randrange(one_in) == 0 else 0.0
        if read_for(direct, timer, seconds) is not None:
            lost += seconds
            fast += seconds == 0.0
        timer.now += 0.001
    assert lost < 0.02 + fast * 0.00005 + 0.2  # of reads that met it again after a pause


async def test_an_error_is_left_to_the_threads(
    db: SQLite, direct: DirectReads, outside: sqlite3.Connection
) -> None:
    """Whatever fails, also a lock that only an exclusive owner holds, is no answer."""
    await db.set("k", "value")
    row = read(direct)
    assert row is not None
    assert row[0] == "value"
    outside.execute("UPDATE kv SET value = x'00'")
    assert read(direct) is None
    outside.execute("DROP TABLE kv")
    assert read(direct) is None


async def test_a_file_that_another_holds_alone_is_left_to_the_threads(path: Path) -> None:
    """Where another process holds the file for itself alone, a direct read does not wait for it."""
    async with SQLite(path) as db:
        await db.set("k", "value")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("UPDATE kv SET value = 'other'")
    direct = DirectReads(sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False))
    assert read(direct) is None
    other.close()
    direct.stop()


async def test_a_direct_read_does_not_wait_for_another(direct: DirectReads) -> None:
    """While its connection is in use, a read goes to a thread."""
    with direct._lock:  # noqa: SLF001 - as another thread has it for a moment
        assert read(direct) is None


async def test_closed_reads_read_nothing(direct: DirectReads) -> None:
    """After stop the connection is not used; stopping twice is harmless."""
    direct.stop()
    direct.stop()
    assert read(direct) is None


async def test_a_read_never_keeps_the_file_from_its_checkpoint(db: SQLite, outside: sqlite3.Connection) -> None:
    """No read leaves a transaction open: the WAL can be emptied after any of them."""
    await db.set_many({"k": "value", "large": "x" * 100_000})
    await db.get("k")
    await db.get("large")
    await db.get_many(["k", "large"])
    await db.scan("", None, 1)
    await db.set("k", "new")
    busy, *_ = outside.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0


async def test_every_verb_is_refused_after_close(path: Path) -> None:
    """After close each of the verbs says "closed"."""
    async with SQLite(path) as db:
        await db.set("k", "value")
    for call in (
        db.get("k"),
        db.get_versioned("k"),
        db.set_expiring("k", "value", 9e9),
        db.set_if("k", "value", None),
        db.delete_if("k", "version"),
        db.get_many(["k"]),
        db.set_many({"k": "value"}),
        db.delete_many(["k"]),
        db.increment("k", 1),
        db.scan("", None, 1),
    ):
        with pytest.raises(SQLiteError, match="closed") as caught:
            await call
        assert caught.value.code == "unavailable"
