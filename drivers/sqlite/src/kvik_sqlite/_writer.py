"""Writes: one thread that commits in groups, as a commit costs a wait for the disk however much it carries.

    take what is queued -> BEGIN IMMEDIATE -> each operation in a SAVEPOINT -> COMMIT -> answer them all

Nothing is answered with success before COMMIT has returned. IMMEDIATE, because a transaction that reads first
and then writes fails at once when another process writes in between, whatever the busy timeout.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ._errors import primary_code, translate
from ._expiry import remove_expired
from ._queue import Operation, Queue
from ._schema import close_connection
from ._turns import Turns
from ._wal_limit import WALLimit

T = TypeVar("T")

GROUP_SIZE = 256  # small operations of one commit; fsync is shared well before that
GROUP_BYTES = (
    1024 * 1024
)  # of large ones, or one that is larger: what a commit adds to the WAL, and to others' wait
EXPIRY_SECONDS = 0.001  # for removing what has expired, added to the time that the group itself has taken
LOCK_SLICE = 0.002  # seconds of one wait for the file's lock, between two looks at deadlines and cancellations


@dataclass(slots=True)
class _Answer:
    operation: Operation[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Run writes on the given connection, and close it when stopped.

    `busy_timeout` is in seconds, counted for each write from its `submit`. What has expired by `clock` is
    removed a few rows at a time, in the transactions of the writes.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, busy_timeout: float, clock: Callable[[], float]
    ) -> None:
        connection.execute(f"PRAGMA busy_timeout = {LOCK_SLICE * 1000:.0f}")
        self._connection = connection
        self._path = path
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._wal_limit = WALLimit(connection, path, LOCK_SLICE)
        self._turns = Turns(connection)
        self._queue = Queue()
        self._thread = threading.Thread(target=self._serve, name="kvik-sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], T], size: int = 0) -> Future[T]:
        """Queue a write: a function of a connection, which runs inside a transaction and may run twice.

        `size` is about the bytes that it writes.
        """
        operation = Operation(work, time.monotonic() + self._busy_timeout, size)
        self._queue.put(operation)
        return operation.future

    def stop(self, seconds: float) -> bool:
        """Finish what is queued and close the connection; return False if `seconds` were too few."""
        self._queue.close()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            self._commit_groups()
        finally:
            close_connection(self._connection)

    def _commit_groups(self) -> None:
        while waiting := self._queue.take(GROUP_SIZE, GROUP_BYTES):
            try:
                group = self._begin(waiting)
            except BaseException as error:  # noqa: BLE001 - answered; the thread has to go on, or all would wait for ever
                self._roll_back()
                self._fail([each for each in waiting if each.begin()], error)
            else:
                self._write(group)
            self._wal_limit.enforce()
            self._turns.pause()

    def _begin(self, waiting: list[Operation[Any]]) -> list[Operation[Any]]:
        """Take the file's write lock, and return the operations that are still wanted then.

        `waiting` loses those whose time is up, which are answered, and gains what is queued meanwhile.
        """
        while waiting:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY:
                    raise
                self._expire(waiting, error)
                self._queue.add_to(waiting, GROUP_SIZE, GROUP_BYTES)
            else:
                self._turns.look()
                return [each for each in waiting if each.begin()]
        return []

    def _expire(self, waiting: list[Operation[Any]], error: sqlite3.Error) -> None:
        now = time.monotonic()
        self._fail([each for each in waiting if each.deadline <= now and each.begin()], error)
        waiting[:] = [each for each in waiting if not each.future.done()]

    def _write(self, group: list[Operation[Any]], *, again: bool = False) -> None:
        """Run a group in the open transaction, commit it and answer it."""
        committing = False
        began = time.monotonic()
        try:
            answers = [self._attempt(each) for each in group]
            if all(answer.error for answer in answers):  # also where everything was cancelled
                self._roll_back()
            else:
                if not again:
                    self._remove_expired(time.monotonic() - began + EXPIRY_SECONDS)
                committing = True
                self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - the same; a clock, say, may raise anything
            self._roll_back()
            if not again and (not committing or primary_code(error) == sqlite3.SQLITE_FULL):
                self._write_singly(group)
            else:
                self._fail(group, error, committing=committing)
        else:
            for answer in answers:
                self._give(answer)

    def _attempt(self, operation: Operation[Any]) -> _Answer:
        """Run one operation so that it succeeds or fails alone; raise if the transaction is lost."""
        self._connection.execute("SAVEPOINT operation")
        try:
            answer = _Answer(operation, result=operation.work(self._connection))
        except BaseException as error:
            if not self._connection.in_transaction:  # SQLite may roll it back by itself, on a full disk say
                raise
            self._connection.execute("ROLLBACK TO operation")
            answer = _Answer(operation, error=translate(error, self._path))
        self._connection.execute("RELEASE operation")
        return answer

    def _remove_expired(self, seconds: float) -> None:
        """Remove some of what has expired, if that can be done; raise if the transaction is lost."""
        self._connection.execute("SAVEPOINT expiry")
        try:
            remove_expired(self._connection, self._clock(), seconds)
        except sqlite3.Error:
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO expiry")  # nobody waits for it; the group is what counts
        self._connection.execute("RELEASE expiry")

    def _write_singly(self, group: list[Operation[Any]]) -> None:
        """Give each operation its own transaction: what cannot be written must not take others down.

        That may be one of them, or the removal of what has expired, which is left out here.
        """
        for operation in group:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except BaseException as error:  # noqa: BLE001 - the same
                self._fail([operation], error)
            else:
                self._write([operation], again=True)

    def _roll_back(self) -> None:
        # Should even this fail, the next BEGIN fails too, and says so to those who wait: the thread goes on.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _fail(self, group: list[Operation[Any]], error: BaseException, *, committing: bool = False) -> None:
        # An exception each: one that several tasks raise would gather all their tracebacks.
        for operation in group:
            operation.future.set_exception(translate(error, self._path, committing=committing))

    def _give(self, answer: _Answer) -> None:
        if answer.error is None:
            answer.operation.future.set_result(answer.result)
        else:
            answer.operation.future.set_exception(answer.error)
