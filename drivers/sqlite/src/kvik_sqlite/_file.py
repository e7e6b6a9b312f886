"""What is open: the file's connections and their threads, and how an operation gets to them and back."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from ._direct import DirectReads
from ._errors import Outcome, SQLiteError, translate
from ._forks import FileId, this_process
from ._readers import Readers
from ._reads import NO_ROW, Clock, Row, is_live, live_row, probe
from ._row_cache import RowCache
from ._schema import Durability, create, files_in_use, open_connection, prepare
from ._wal_index import view_header
from ._writer import Writer

T = TypeVar("T")

READERS: Final = 4  # a read is short and mostly holds the GIL, so more threads give nothing
CLOSE_SECONDS = 5.0  # beyond busy_timeout: for the last commit and SQLite's own checkpoint


@dataclass(frozen=True, slots=True)
class _Open:
    writer: Writer
    readers: Readers
    direct: DirectReads
    process: int
    files: Mapping[Path, FileId]  # those that it works on: the database, the WAL and the WAL's index


class File:
    """Open and close the file, and run operations on it.

    `busy_timeout` is in seconds; `cache_bytes` is what rows that are kept may take. `remaining` may be
    replaced before `connect`: it gives the seconds that the current task has left, or None. Every method raises
    SQLiteError.
    """

    def __init__(
        self, path: Path, clock: Clock, *, durability: Durability, busy_timeout: float, cache_bytes: int
    ) -> None:
        self.path = path
        self.remaining: Callable[[], float | None] = lambda: None
        self._durability = durability
        self._busy_timeout = busy_timeout
        self._cache_bytes = cache_bytes
        self._clock = clock
        self._lifecycle = threading.Lock()
        self._open: _Open | None = None
        self._refusal = "not connected: await connect() first"
        this_process.know(self)

    def deadline(self) -> float | None:
        """Return when the current task must be done, on time.monotonic(), or None; raise when it is over."""
        left = self.remaining()
        if left is None:
            return None
        if left <= 0:
            raise self._too_late("not_applied")
        return time.monotonic() + left

    def read_at_once(self, key: bytes) -> Row | None:
        """Return the row of a live key or NO_ROW; None where that could block the loop, or the value is large."""
        self.deadline()
        row = self._opened().direct.attempt(key)
        return row if row is None or is_live(row[1], self._clock) else NO_ROW

    async def read_row(self, key: bytes) -> Row:
        """Read the row of a live key in a thread, or NO_ROW."""
        return await self.read(partial(live_row, key=key, clock=self._clock), self.deadline())

    async def read(self, work: Callable[[sqlite3.Connection], T], deadline: float | None) -> T:
        """Run a read in a thread; until `deadline`, which is not asked for here: a batch has one for all."""
        return await self._answer(self._opened().readers.submit(work), deadline, otherwise="not_applied")

    async def write(self, work: Callable[[sqlite3.Connection], T], deadline: float | None, size: int = 0) -> T:
        """Run a write of about so many bytes in one of the writer's next groups, likewise."""
        return await self._answer(self._opened().writer.submit(work, size), deadline, otherwise="unknown")

    def connect(self) -> None:
        """Open the file, unless it is open."""
        self._check_process()
        with self._lifecycle:
            if self._open is None:
                self._open = self._open_file()

    def close(self) -> None:
        """Finish what is queued and close the file, unless it is closed."""
        self._check_process()
        with self._lifecycle:
            self._refusal = "closed"
            current, self._open = self._open, None
            if current is not None:
                self._stop(current)
                this_process.remove(self)

    def begin_as_child(self) -> None:
        """Free the lock that a thread of the parent may have held at the fork."""
        self._lifecycle = threading.Lock()

    async def probe(self) -> dict[str, str | int]:
        """Read from the file itself, and return details of it; raise unless it is still in its place."""
        return await self.read(partial(probe, path=self.path, files=self._opened().files), self.deadline())

    async def _answer(self, future: Future[T], deadline: float | None, otherwise: Outcome) -> T:
        if deadline is None:
            return await asyncio.wrap_future(future)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            # What can still be cancelled was not begun, and never will be.
            raise self._too_late("not_applied" if future.cancel() else otherwise) from None

    def _too_late(self, outcome: Outcome) -> SQLiteError:
        return SQLiteError(
            f"{self.path}: the deadline was over before the file had answered",
            code="deadline_exceeded",
            outcome=outcome,
        )

    def _opened(self) -> _Open:
        current = self._open
        if current is None:
            raise SQLiteError(f"{self.path}: {self._refusal}", code="unavailable")
        if current.process != this_process.id:
            self._check_process()
        return current

    def _check_process(self) -> None:
        """Raise in a child of the process that opened the file: what it inherited could damage the file."""
        current = self._open
        if current is not None and current.process != this_process.id:
            raise SQLiteError(
                f"{self.path}: connected before a fork; make and connect a SQLite in each process",
                code="misconfigured",
            )

    def _open_file(self) -> _Open:
        try:
            create(self.path)
            file = this_process.add(self, self.path)
            return self._open_connections(file)
        except BaseException as error:
            this_process.remove(self)
            if isinstance(error, SQLiteError):
                raise
            raise translate(error, self.path) from error

    def _open_connections(self, file: FileId) -> _Open:
        prepare(self.path, self._durability, self._busy_timeout)
        with ExitStack() as opened:
            writer, direct, *readers = [
                opened.enter_context(closing(open_connection(self.path, self._durability, self._busy_timeout)))
                for _ in range(2 + READERS)
            ]
            direct_reads = DirectReads(direct, self._cache_over(direct))
            files = files_in_use(writer, self.path)
            if files[self.path] != file:
                raise SQLiteError(
                    f"{self.path}: the file was replaced while it was opened", code="unavailable", retryable=True
                )
            opened.pop_all()  # from here on the three below close them
        return _Open(
            Writer(writer, self.path, self._busy_timeout, self._clock),
            Readers(readers, self.path),
            direct_reads,
            this_process.id,
            files,
        )

    def _cache_over(self, connection: sqlite3.Connection) -> RowCache | None:
        read_header = view_header(connection) if self._cache_bytes else None
        return RowCache(read_header, self._cache_bytes) if read_header else None

    def _stop(self, current: _Open) -> None:
        current.direct.stop()
        seconds = self._busy_timeout + CLOSE_SECONDS
        stopped = [part.stop(seconds) for part in (current.readers, current.writer)]
        if not all(stopped):
            raise SQLiteError(
                f"{self.path}: still at work {seconds:g} seconds after close(); is the disk failing?",
                code="unavailable",
                outcome="unknown",
            )
