"""Group commit: what shares a COMMIT, and what fails alone. Each Writer runs on a real file."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._reads import live_row
from kvik_sqlite._schema import open_connection, prepare
from kvik_sqlite._writer import Writer
from kvik_sqlite._writes import put

Work = Callable[[sqlite3.Connection], Any]


@pytest.fixture
def connection(path: Path) -> sqlite3.Connection:
    """Give the connection that the writer gets, and closes."""
    prepare(path, "full", 1)
    return open_connection(path, "full", 1)


@pytest.fixture
def writer(connection: sqlite3.Connection, path: Path) -> Iterator[Writer]:
    """Give a writer that waits 0.2 seconds for the file's lock."""
    writer = Writer(connection, path, 0.2, time.time)
    yield writer
    assert writer.stop(10)


@pytest.fixture
def outside(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """Give a second connection to the same file."""
    assert connection
    other = sqlite3.connect(path, isolation_level=None, timeout=5)
    yield other
    other.close()


def together(writer: Writer, *works: Work) -> list[Future[Any]]:
    """Queue the works while the writer is busy, so that they are one group, and wait for them."""
    go = keep_busy(writer)
    futures = [writer.submit(work) for work in works]
    go.set()
    wait(futures, 10)
    return futures


def keep_busy(writer: Writer) -> threading.Event:
    """Keep the writer busy, in a group of its own, until the event is set."""
    running, go = threading.Event(), threading.Event()

    def pause(_: sqlite3.Connection) -> None:
        running.set()
        go.wait(10)

    writer.submit(pause)
    running.wait(10)
    return go


def set_key(number: int, value: str = "value") -> Work:
    """Make the work that sets one key."""
    return partial(put, key=b"%d" % number, value=value)


def stored(outside: sqlite3.Connection) -> list[int]:
    """List the numbers of the keys in the file."""
    return sorted(int(key) for (key,) in outside.execute("SELECT key FROM kv"))


def code(future: Future[Any]) -> tuple[str, str]:
    """Tell code and outcome of an operation that failed."""
    error = future.exception()
    assert isinstance(error, SQLiteError)
    return error.code, error.outcome


def test_what_is_queued_together_shares_one_commit(writer: Writer, connection: sqlite3.Connection) -> None:
    """Writes that queue up while the writer is busy cost one COMMIT, not one each."""
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    futures = together(writer, *[set_key(number) for number in range(100)])
    assert [future.exception() for future in futures] == [None] * 100
    assert statements.count("COMMIT") == 2  # that of the busy one, and that of the hundred


def test_a_group_is_in_the_file_when_it_is_answered(writer: Writer, outside: sqlite3.Connection) -> None:
    """An answer means that another connection sees the write."""
    for number in range(20):
        writer.submit(set_key(number)).result(10)
        assert stored(outside) == list(range(number + 1))


def test_nothing_is_answered_before_the_commit(writer: Writer, connection: sqlite3.Connection) -> None:
    """When COMMIT begins, none of the writes that it carries has been answered."""
    go = keep_busy(writer)
    futures = [writer.submit(set_key(number)) for number in range(10)]
    answered: list[bool] = []

    def look(statement: str) -> None:
        if statement == "COMMIT":
            answered.extend(future.done() for future in futures)

    connection.set_trace_callback(look)
    go.set()
    wait(futures, 10)
    assert answered == [False] * 20  # at the busy one's COMMIT, and at their own


def test_one_bad_operation_fails_alone(writer: Writer, outside: sqlite3.Connection) -> None:
    """An operation that fails is undone, and the others of its group are written."""

    def bad(connection: sqlite3.Connection) -> None:
        set_key(99)(connection)
        connection.execute("INSERT INTO nowhere VALUES (1)")

    before, failed, after = together(writer, set_key(1), bad, set_key(2))
    assert code(failed) == ("misconfigured", "not_applied")
    assert (before.exception(), after.exception()) == (None, None)
    assert stored(outside) == [1, 2]


def test_an_error_that_is_not_sqlites_passes_as_it_is(writer: Writer, outside: sqlite3.Connection) -> None:
    """What an operation raises by itself reaches the caller untranslated, and the group is written."""

    def bad(_: sqlite3.Connection) -> None:
        raise KeyError

    failed, after = together(writer, bad, set_key(1))
    assert isinstance(failed.exception(), KeyError)
    assert after.exception() is None
    assert stored(outside) == [1]


def test_an_operation_that_loses_the_transaction_fails_alone(writer: Writer, outside: sqlite3.Connection) -> None:
    """When SQLite rolls the whole group back, the others are run again, each by itself."""

    def bad(connection: sqlite3.Connection) -> None:
        set_key(99)(connection)
        connection.execute("ROLLBACK")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    before, failed, after = together(writer, set_key(1), bad, set_key(2))
    assert code(failed) == ("misconfigured", "not_applied")
    assert (before.exception(), after.exception()) == (None, None)
    assert stored(outside) == [1, 2]


def test_a_lock_lost_meanwhile_is_not_applied(writer: Writer, path: Path) -> None:
    """When somebody else takes the lock before the others can be run again, they are `throttled`."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:

        def bad(connection: sqlite3.Connection) -> None:
            connection.execute("ROLLBACK")
            other.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO nowhere VALUES (1)")

        futures = together(writer, set_key(1), bad)
    assert [code(future) for future in futures] == [("throttled", "not_applied")] * 2


def test_a_stopped_writer_takes_no_more(writer: Writer) -> None:
    """A write that comes after the stop is refused with "closed"; nothing waits for ever."""
    assert writer.stop(10)
    with pytest.raises(SQLiteError, match="closed"):
        writer.submit(set_key(1))


def test_running_out_of_memory_does_not_stop_the_writer(writer: Writer) -> None:
    """An error that loses the transaction and is not SQLite's reaches its caller, and the writer goes on."""

    def bad(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise MemoryError

    failed, after = together(writer, bad, set_key(1))
    assert isinstance(failed.exception(), MemoryError)
    assert after.exception() is None


def test_a_value_that_does_not_fit_fails_alone(
    writer: Writer, connection: sqlite3.Connection, outside: sqlite3.Connection
) -> None:
    """A value for which there is no room is `unavailable`, not applied; small ones of its group are written."""
    connection.execute("PRAGMA max_page_count = 20")
    before, large, after = together(writer, set_key(1), set_key(2, "x" * 1_000_000), set_key(3))
    assert code(large) == ("unavailable", "not_applied")
    assert "free some space" in str(large.exception())
    assert (before.exception(), after.exception()) == (None, None)
    assert stored(outside) == [1, 3]


def test_a_file_that_cannot_be_written_is_misconfigured(writer: Writer, connection: sqlite3.Connection) -> None:
    """A connection that may only read answers `misconfigured`, not applied."""
    connection.execute("PRAGMA query_only = 1")
    future = writer.submit(set_key(1))
    wait([future], 10)
    assert code(future) == ("misconfigured", "not_applied")


def test_a_failure_to_begin_is_answered(writer: Writer, connection: sqlite3.Connection) -> None:
    """When no transaction can be begun the group fails, and the writer goes on."""
    connection.execute("BEGIN")
    futures = [writer.submit(set_key(number)) for number in range(3)]
    wait(futures, 10)
    assert code(futures[0])[1] == "not_applied"
    assert writer.submit(set_key(9)).exception(10) is None


def test_waiting_for_the_lock_is_bounded(writer: Writer, outside: sqlite3.Connection) -> None:
    """A lock held for longer than busy_timeout makes `throttled`, not applied, and retryable."""
    outside.execute("BEGIN IMMEDIATE")
    error = writer.submit(set_key(1)).exception(10)
    assert isinstance(error, SQLiteError)
    assert (error.code, error.outcome, error.retryable, error.reason) == (
        "throttled",
        "not_applied",
        True,
        "locked",
    )
    outside.execute("ROLLBACK")
    assert stored(outside) == []


def test_a_lock_that_is_released_in_time_is_no_error(writer: Writer, outside: sqlite3.Connection) -> None:
    """Writes that come while the lock is held are all written when it is released."""
    outside.execute("BEGIN IMMEDIATE")
    futures = [writer.submit(set_key(number)) for number in range(300)]
    wait(futures, 0.1)
    outside.execute("ROLLBACK")
    assert [future.exception(10) for future in futures] == [None] * 300


def test_each_write_has_its_own_time(writer: Writer, outside: sqlite3.Connection) -> None:
    """The time for the lock counts from each write's own beginning."""
    outside.execute("BEGIN IMMEDIATE")
    early = writer.submit(set_key(1))
    wait([early], 0.1)
    late = writer.submit(set_key(2))
    wait([early], 10)
    outside.execute("ROLLBACK")
    assert code(early)[0] == "throttled"
    assert late.exception(10) is None
    assert stored(outside) == [2]


def test_what_is_cancelled_before_it_begins_is_dropped(writer: Writer, outside: sqlite3.Connection) -> None:
    """Writes that are cancelled while they wait for the lock are never written."""
    outside.execute("BEGIN IMMEDIATE")
    dropped = [writer.submit(set_key(number)) for number in range(3)]
    wait(dropped, 0.05)
    assert all(future.cancel() for future in dropped)
    outside.execute("ROLLBACK")
    writer.submit(set_key(9)).result(10)
    assert stored(outside) == [9]


def test_what_has_begun_cannot_be_cancelled(writer: Writer, outside: sqlite3.Connection) -> None:
    """A write that runs already completes."""
    running, go = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        running.set()
        go.wait(10)
        set_key(1)(connection)

    future = writer.submit(slow)
    running.wait(10)
    assert not future.cancel()
    go.set()
    future.result(10)
    assert stored(outside) == [1]


def test_a_write_may_read_what_is_there(writer: Writer) -> None:
    """An operation sees the writes before it in its own group."""
    _, entry = together(writer, set_key(1, "first"), partial(live_row, key=b"1", clock=time.time))
    assert entry.result()[0] == "first"


async def test_a_cancelled_task_leaves_the_store_usable(db: SQLite) -> None:
    """Cancelling tasks at any moment of a write harms neither the store nor other tasks."""
    for pause in (0, 0, 0.0005, 0.001, 0.002):
        tasks = [asyncio.create_task(db.set(f"k{number}", "value")) for number in range(20)]
        await asyncio.sleep(pause)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == [None] * 10
    assert await db.get("k1") == "value"


def test_a_loop_that_is_gone_does_no_harm(path: Path) -> None:
    """A loop that is closed while its writes wait takes nothing with it: the store closes well in another."""
    db = SQLite(path)

    async def abandon() -> None:
        await db.connect()
        asyncio.ensure_future(asyncio.gather(*[db.set(f"k{number}", "value") for number in range(50)]))  # noqa: RUF006
        await asyncio.sleep(0)

    asyncio.run(abandon())
    asyncio.run(db.close())
