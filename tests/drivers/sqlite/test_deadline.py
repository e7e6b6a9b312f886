"""The deadline that a framework hands in: what it ends, and what is told then."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kvik_sqlite import SQLite, SQLiteError


class Deadline:
    """What `use_deadline` is given: so many seconds are left, whenever one asks."""

    def __init__(self) -> None:
        self.left: float | None = None
        self.asked = 0

    def __call__(self) -> float | None:
        self.asked += 1
        return self.left


@pytest.fixture
def deadline(path: Path, db: SQLite) -> Deadline:
    """Give the deadline of `db`."""
    assert path
    deadline = Deadline()
    db.use_deadline(deadline)
    return deadline


def verbs(db: SQLite) -> list[Callable[[], object]]:
    """List a call of each verb."""
    return [
        lambda: db.get("k"),
        lambda: db.get_versioned("k"),
        lambda: db.set("k", "1"),
        lambda: db.set_expiring("k", "1", 9e9),
        lambda: db.set_if("new", "1", None),
        lambda: db.increment("k", 1),
        lambda: db.get_many([f"k{number}" for number in range(600)]),
        lambda: db.set_many({f"k{number}": "value" for number in range(600)}),
        lambda: db.delete_many([f"k{number}" for number in range(600)]),
        lambda: db.scan("", None, 10),
        lambda: db.delete("k"),
    ]


async def test_each_operation_asks_once(db: SQLite, deadline: Deadline) -> None:
    """Every verb asks for the time that is left exactly once, also a batch of several chunks."""
    deadline.left = 30.0
    for call in verbs(db):
        deadline.asked = 0
        await call()  # type: ignore[misc] # a coroutine each
        assert deadline.asked == 1


async def test_nothing_is_begun_after_the_deadline(db: SQLite, deadline: Deadline) -> None:
    """When no time is left every verb fails at once, and nothing was written."""
    deadline.left = 0.0
    for call in verbs(db):
        with pytest.raises(SQLiteError) as caught:
            await call()  # type: ignore[misc] # a coroutine each
        assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "not_applied")
    deadline.left = None
    assert await db.scan("", None, 10) == ([], None)


async def test_waiting_for_the_lock_ends_at_the_deadline(path: Path) -> None:
    """A deadline that is shorter than busy_timeout ends the wait: not applied, and never written later."""
    async with SQLite(path, busy_timeout=30) as db:
        db.use_deadline(lambda: 0.05)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SQLiteError) as caught:
            await db.set("k", "value")
        assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "not_applied")
        other.close()
        db.use_deadline(lambda: None)
        await db.set("other", "value")
        assert await db.get("k") is None


async def test_a_shorter_busy_timeout_is_still_throttled(
    db: SQLite, deadline: Deadline, outside: sqlite3.Connection
) -> None:
    """When busy_timeout ends the wait, a distant deadline changes nothing."""
    deadline.left = 30.0
    outside.execute("BEGIN IMMEDIATE")
    with pytest.raises(SQLiteError) as caught:
        await db.set("k", "value")
    assert caught.value.code == "throttled"


async def test_a_write_that_has_begun_is_unknown(db: SQLite, deadline: Deadline) -> None:
    """A write that is under way at the deadline may be in the file, and that is told; one that is not, is not."""
    running, go = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        running.set()
        go.wait(30)

    deadline.left = 0.05
    outcomes = []
    while not running.is_set():  # a machine may be too busy to begin it in time
        with pytest.raises(SQLiteError) as caught:
            await db._write(slow)  # noqa: SLF001 - what a slow disk does
        outcomes.append(caught.value.outcome)
        deadline.left *= 2
    assert caught.value.code == "deadline_exceeded"
    assert "unknown" in outcomes
    with pytest.raises(SQLiteError) as caught:
        await db.set("k", "value")
    assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "not_applied")
    go.set()
    deadline.left = None
    await db.set("other", "value")
    assert await db.get("k") is None


async def test_a_read_that_has_to_queue_ends_at_the_deadline(db: SQLite, deadline: Deadline) -> None:
    """A read that no thread has time for ends at the deadline."""
    await db.set("large", "x" * 100_000)
    go = threading.Event()
    reads = [asyncio.ensure_future(db._read(lambda _: go.wait(30))) for _ in range(4)]  # noqa: SLF001 - what a slow disk does
    await asyncio.sleep(0)
    deadline.left = 0.05
    for call in (db.get("large"), db.get_many(["large"]), db.scan("", None, 10)):
        with pytest.raises(SQLiteError) as caught:
            await call
        assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "not_applied")
    go.set()
    await asyncio.gather(*reads)
