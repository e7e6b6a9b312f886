"""Opening, closing, health, and what is left behind."""

# ruff: noqa: ASYNC240 - a test may wait for its files

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kvik_sqlite import SQLite, SQLiteError


def threads() -> list[str]:
    """Name the driver's threads that run."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kvik-sqlite")]


async def test_before_connect_every_verb_says_so(path: Path) -> None:
    """A store that was not connected refuses reads and writes, and says what to call."""
    db = SQLite(path)
    for call in (db.get("k"), db.set("k", "value"), db.delete("k")):
        with pytest.raises(SQLiteError, match=r"not connected: await connect\(\) first") as caught:
            await call
        assert (caught.value.code, caught.value.outcome) == ("unavailable", "not_applied")


async def test_after_close_every_verb_says_so(path: Path) -> None:
    """A closed store refuses reads and writes with "closed"."""
    async with SQLite(path) as db:
        pass
    for call in (db.get("k"), db.set("k", "value"), db.delete("k")):
        with pytest.raises(SQLiteError, match="closed"):
            await call


async def test_connect_and_close_twice_are_harmless(path: Path) -> None:
    """Connecting a connected store and closing a closed one, also at the same time, change nothing."""
    db = SQLite(path)
    await db.close()
    await asyncio.gather(db.connect(), db.connect())
    await db.set("k", "value")
    await db.connect()
    assert await db.get("k") == "value"
    await asyncio.gather(db.close(), db.close())
    await db.close()


async def test_a_closed_store_can_be_opened_again(path: Path) -> None:
    """Connect after close opens the same file, with everything in it."""
    db = SQLite(path)
    async with db:
        await db.set("k", "value")
    async with db:
        assert await db.get("k") == "value"


async def test_close_finishes_what_is_queued(path: Path) -> None:
    """Writes that were begun before close are in the file, and are answered."""
    async with SQLite(path) as db:
        writes = [asyncio.ensure_future(db.set(f"k{number}", "value")) for number in range(300)]
        await asyncio.sleep(0)  # each is queued now
    await asyncio.gather(*writes)
    async with SQLite(path) as db:
        assert [await db.get(f"k{number}") for number in range(300)] == ["value"] * 300


async def test_close_leaves_nothing_behind(path: Path) -> None:
    """After close no thread runs and no connection is open: SQLite itself has removed the WAL."""
    async with SQLite(path) as db:
        await asyncio.gather(*[db.set(f"k{number}", "value") for number in range(50)])
        await asyncio.gather(*[db.get(f"k{number}") for number in range(50)])
        assert len(threads()) == 5
    assert threads() == []
    assert [file.name for file in path.parent.iterdir()] == ["store.db"]


async def test_a_failed_connect_leaves_nothing_behind(path: Path) -> None:
    """A connect that fails keeps no thread, and works when its cause is gone."""
    path.mkdir()
    db = SQLite(path)
    with pytest.raises(SQLiteError):
        await db.connect()
    assert threads() == []
    path.rmdir()
    async with db:
        await db.set("k", "value")


async def test_a_cancelled_entry_leaves_nothing_behind(path: Path) -> None:
    """`async with` that is cancelled while it opens closes what it has opened."""

    async def enter() -> None:
        async with SQLite(path):
            await asyncio.Event().wait()

    task = asyncio.create_task(enter())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert threads() == []


async def test_close_has_a_limit_in_time(db: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close gives up on a disk that does not answer, and says so."""
    monkeypatch.setattr("kvik_sqlite._file.CLOSE_SECONDS", 0.1)
    stuck = threading.Event()
    reads = asyncio.ensure_future(db._read(lambda _: stuck.wait(10)))  # noqa: SLF001 - what a hung disk does
    writes = asyncio.ensure_future(db._write(lambda _: stuck.wait(10)))  # noqa: SLF001 - what a hung disk does
    await asyncio.sleep(0.05)
    with pytest.raises(SQLiteError, match="still at work") as caught:
        await db.close()
    assert (caught.value.code, caught.value.outcome) == ("unavailable", "unknown")
    stuck.set()
    assert await reads
    assert await writes
    for _ in range(100):  # what was given up ends by itself, once the disk answers
        await asyncio.sleep(0.01 if threads() else 0)
    assert threads() == []


async def test_health_is_up_with_details(db: SQLite, path: Path) -> None:
    """A healthy store tells its path, its size in bytes and its journal mode."""
    await db.set("k", "value")
    details = {"path": str(path), "size": path.stat().st_size, "journal_mode": "wal"}
    assert await db.health_check() == {"status": "UP", "details": details}


async def test_health_is_down_before_connect_and_after_close(path: Path) -> None:
    """Health of a store that is not open is DOWN with the cause; it does not raise."""
    db = SQLite(path)
    health = [await db.health_check()]
    async with db:
        pass
    health.append(await db.health_check())
    assert [each["status"] for each in health] == ["DOWN", "DOWN"]
    assert [each["details"]["path"] for each in health] == [str(path)] * 2
    assert "not connected" in health[0]["details"]["error"]
    assert "closed" in health[1]["details"]["error"]


async def test_health_is_down_when_the_file_is_removed(db: SQLite, path: Path) -> None:
    """A file that was removed under the store is told, although SQLite goes on with what it has open."""
    path.unlink()
    health = await db.health_check()
    assert health["status"] == "DOWN"
    assert str(path) in health["details"]["error"]


async def test_health_reads_the_file_itself(db: SQLite, path: Path, outside: sqlite3.Connection) -> None:
    """Damage that happens while the store is open shows: no cache answers."""
    await db.set("k", "value")
    outside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    all_readers = threading.Barrier(4)

    def fill_the_cache(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT key, value FROM kv").fetchall()
        connection.execute("SELECT key FROM kv").fetchall()  # from the index
        all_readers.wait(10)

    await asyncio.gather(*[db._read(fill_the_cache) for _ in range(4)])  # noqa: SLF001 - each has its own cache
    assert (await db.health_check())["status"] == "UP"
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    health = await db.health_check()
    assert health["status"] == "DOWN"
    assert str(path) in health["details"]["error"]


async def test_health_is_bounded_in_time(db: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no reader answers, health is DOWN within its time."""
    monkeypatch.setattr("kvik_sqlite._driver._HEALTH_SECONDS", 0.1)
    stuck = threading.Event()
    reads = [asyncio.ensure_future(db._read(lambda _: stuck.wait(10))) for _ in range(4)]  # noqa: SLF001 - the same
    await asyncio.sleep(0)
    health = await db.health_check()
    assert (health["status"], health["details"]["error"]) == ("DOWN", "no answer within 1 second")
    stuck.set()
    await asyncio.gather(*reads)


async def test_waiting_for_a_lock_leaves_the_loop_free(path: Path) -> None:
    """Writes that wait for a lock wait in a thread: what gives the lock back runs on the same loop."""
    async with SQLite(path, busy_timeout=30) as db:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writes = asyncio.gather(*[db.set(f"k{number}", "value") for number in range(20)])
            for _ in range(100):
                await asyncio.sleep(0)
            assert not writes.done()
            other.execute("ROLLBACK")
            await writes


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_durability_sets_synchronous(path: Path, durability: str) -> None:
    """Durability "full" is synchronous=FULL (2) and "normal" is NORMAL (1), on the connection that writes."""

    def synchronous(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    async with SQLite(path, durability=durability) as db:  # type: ignore[arg-type] # a parameter of pytest's is a str
        assert await db._write(synchronous) == {"full": 2, "normal": 1}[durability]  # noqa: SLF001 - not to be seen otherwise


async def test_connect_waits_for_a_lock(path: Path) -> None:
    """Connect waits while somebody else writes to the file, and goes on when they have finished."""
    async with SQLite(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.1, other.execute, "ROLLBACK")
        async with SQLite(path, busy_timeout=5) as db:
            await db.set("k", "value")


async def test_connect_gives_up_on_a_lock(path: Path) -> None:
    """Connect fails as `throttled` when somebody else writes for longer than busy_timeout."""
    async with SQLite(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SQLiteError, match="busy_timeout") as caught:
            await SQLite(path, busy_timeout=0.05).connect()
    assert (caught.value.code, caught.value.retryable, caught.value.reason) == ("throttled", True, "locked")
