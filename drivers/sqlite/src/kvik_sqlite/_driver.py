"""The driver itself: the four verbs, and what opens and closes."""

import asyncio
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from . import _operations
from ._errors import SQLiteError, translate
from ._limits import LIMITS, Limits, check_value, encode_key
from ._readers import Readers
from ._schema import Durability, open_connection, prepare
from ._writer import Writer

T = TypeVar("T")

_READERS = 4  # a read is short and mostly holds the GIL, so more threads give nothing
_CLOSE_SECONDS = 5.0  # beyond busy_timeout: for the last commit and SQLite's own checkpoint
_HEALTH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Open:
    writer: Writer
    readers: Readers
    process: int


class SQLite:
    """Keep keys and values in one SQLite file, durably.

    `path` names the file; it is made if absent, its directory is not. `durability` "full" keeps what was
    acknowledged through a kill and a power cut; "normal" through a kill only, and is faster. `busy_timeout`
    is in seconds: how long a write waits for another process's transaction before it fails as `throttled`.

    Raise ValueError or TypeError for wrong arguments. Every method raises SQLiteError, save `health_check`.
    """

    limits: Final[Limits] = LIMITS
    trace_attributes: Final[Mapping[str, str]] = {"db.system.name": "sqlite"}

    def __init__(
        self, path: str | os.PathLike[str], *, durability: Durability = "full", busy_timeout: float = 5.0
    ) -> None:
        if os.fspath(path) in ("", ":memory:"):
            raise ValueError(
                "SQLite needs a file: in memory each of its connections would see a database of its own. "
                "For tests use kvik's MemoryStore, or a file in a temporary directory"
            )
        if durability not in ("full", "normal"):
            raise ValueError('durability is "full" or "normal"')
        if not 0 <= busy_timeout < math.inf:
            raise ValueError("busy_timeout is a finite number of seconds, 0 or more")
        self._path = Path(path).absolute()
        self._durability = durability
        self._busy_timeout = busy_timeout
        self._lifecycle = threading.Lock()
        self._open: _Open | None = None
        self._refusal = "not connected: await connect() first"

    def __repr__(self) -> str:
        return f"SQLite({str(self._path)!r})"

    async def connect(self) -> None:
        """Open the file, making it if it is not there; harmless when it is open already.

        Opens again after `close`. If it is cancelled, opening may still complete, and `close` undoes it.
        """
        await asyncio.to_thread(self._connect)

    async def close(self) -> None:
        """Finish what is queued and close the file; harmless when it is closed already.

        Raise `unavailable` when that takes longer than `busy_timeout` and 5 seconds.
        """
        await asyncio.to_thread(self._close)

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except asyncio.CancelledError:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def get(self, key: str) -> str | None:
        """Return the value of a key, or None where there is no such key."""
        return await self._read(partial(_operations.get, key=encode_key(key)))

    async def set(self, key: str, value: str) -> None:
        """Create or replace a key; clear any expiry. The value is in the file when this returns."""
        await self._write(partial(_operations.put, key=encode_key(key), value=check_value(value)))

    async def delete(self, key: str) -> None:
        """Delete a key; a missing one is no error."""
        await self._write(partial(_operations.remove, key=encode_key(key)))

    async def health_check(self) -> dict[str, Any]:
        """Read from the file and tell whether that worked within 1 second; never raise.

        Details: `path`, and when UP `size` in bytes of the main file and `journal_mode`, when DOWN `error`.
        """
        details: dict[str, Any] = {"path": str(self._path)}
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                details |= await self._read(partial(_operations.probe, path=self._path))
        except TimeoutError:
            return {"status": "DOWN", "details": details | {"error": "no answer within 1 second"}}
        except Exception as error:  # noqa: BLE001 - health never raises
            return {"status": "DOWN", "details": details | {"error": str(error)}}
        return {"status": "UP", "details": details}

    async def _read(self, work: Callable[..., T]) -> T:
        return await asyncio.wrap_future(self._opened().readers.submit(work))

    async def _write(self, work: Callable[..., T]) -> T:
        return await asyncio.wrap_future(self._opened().writer.submit(work))

    def _opened(self) -> _Open:
        current = self._open
        if current is None:
            raise SQLiteError(f"{self._path}: {self._refusal}", code="unavailable")
        self._check_process(current)
        return current

    def _check_process(self, current: _Open) -> None:
        # SQLite's connections do not survive a fork: used in the child, they can damage the file.
        if current.process != os.getpid():
            raise SQLiteError(
                f"{self._path}: connected before a fork; make and connect a SQLite in each process",
                code="misconfigured",
            )

    def _connect(self) -> None:
        with self._lifecycle:
            if self._open is not None:
                self._check_process(self._open)
                return
            try:
                self._open = self._open_file()
            except (sqlite3.Error, OSError) as error:
                raise translate(error, self._path) from error

    def _open_file(self) -> _Open:
        prepare(self._path, self._durability, self._busy_timeout)
        with ExitStack() as opened:
            writer, *readers = [
                opened.enter_context(closing(open_connection(self._path, self._durability, self._busy_timeout)))
                for _ in range(1 + _READERS)
            ]
            opened.pop_all()  # from here on the two below close them
        return _Open(Writer(writer, self._path, self._busy_timeout), Readers(readers, self._path), os.getpid())

    def _close(self) -> None:
        with self._lifecycle:
            current = self._open
            self._refusal = "closed"
            if current is None:
                return
            self._check_process(current)
            self._open = None
            seconds = self._busy_timeout + _CLOSE_SECONDS
            stopped = [part.stop(seconds) for part in (current.readers, current.writer)]
            if not all(stopped):
                raise SQLiteError(
                    f"{self._path}: still at work {seconds:g} seconds after close(); is the disk failing?",
                    code="unavailable",
                    outcome="unknown",
                )
