"""The driver itself: its verbs, each in a few lines."""

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from . import _batches, _reads, _scans, _writes
from ._arguments import check_expiry, check_items, check_keys, check_limit, check_optional_expiry, check_version
from ._counters import check_integer, increment
from ._errors import SQLiteTypeError, Versioned
from ._file import File
from ._limits import LIMITS, Limits, encode_key, encode_value
from ._schema import Durability

T = TypeVar("T")

_HEALTH_SECONDS = 1.0


class SQLite:
    """Keep keys and values in one SQLite file, durably.

    `path` names the file; it is made if absent, its directory is not. `durability` "full" keeps what was
    acknowledged through a kill and a power cut; "normal" through a kill only, and is faster. `busy_timeout`
    is in seconds: how long a write waits for another process's transaction before it fails as `throttled`.

    `cache_bytes` is what this process may keep of small values that it has read, and of keys that were not there,
    on Linux only. What is kept is never stale, also where other processes write. It counts a key, its value, with
    four bytes a character unless it is ASCII, and 500 bytes around them; 0 keeps nothing.

    `clock` gives the time by which keys expire, in seconds since the epoch; a test may assign another.

    Raise ValueError or TypeError for wrong arguments. Every method raises SQLiteError, save `health_check`.
    """

    limits: Final[Limits] = LIMITS
    trace_attributes: Final[Mapping[str, str]] = {"db.system.name": "sqlite"}

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        busy_timeout: float = 5.0,
        cache_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        if not isinstance(os.fspath(path), str):
            raise SQLiteTypeError(
                "path is a str or a pathlib.Path, not bytes: os.fsdecode(path)", code="misconfigured"
            )
        if os.fspath(path) in ("", ":memory:"):
            raise ValueError(
                "SQLite needs a file: in memory each of its connections would see a database of its own. "
                "For tests use kvik's MemoryStore, or a file in a temporary directory"
            )
        if durability not in ("full", "normal"):
            raise ValueError('durability is "full" or "normal"')
        if not 0 <= busy_timeout < math.inf:
            raise ValueError("busy_timeout is a finite number of seconds, 0 or more")
        if cache_bytes < 0:
            raise ValueError("cache_bytes is 0 or more")
        self.clock: Callable[[], float] = time.time
        self._file = File(
            Path(path).absolute(),
            self._now,
            durability=durability,
            busy_timeout=busy_timeout,
            cache_bytes=cache_bytes,
        )

    def __repr__(self) -> str:
        return f"SQLite({str(self._file.path)!r})"

    def use_deadline(self, remaining: Callable[[], float | None]) -> None:
        """Bound every operation by what this gives when asked: the seconds left for the current task, or None.

        An operation that is not done by then raises `deadline_exceeded`.
        """
        self._file.remaining = remaining

    async def connect(self) -> None:
        """Open the file, making it if it is not there; harmless when it is open already.

        Opens again after `close`. If it is cancelled, opening may still complete, and `close` undoes it.
        """
        await asyncio.to_thread(self._file.connect)

    async def close(self) -> None:
        """Finish what is queued and close the file; harmless when it is closed already.

        Raise `unavailable` when that takes longer than `busy_timeout` and 5 seconds.
        """
        await asyncio.to_thread(self._file.close)

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
        encoded = encode_key(key)
        row = self._file.read_at_once(encoded) or await self._file.read_row(encoded)
        return None if row is _reads.NO_ROW else row[0]

    async def get_versioned(self, key: str) -> Versioned | None:
        """Return value, version and expiry (or None) of a key, or None where there is no such key."""
        encoded = encode_key(key)
        row = self._file.read_at_once(encoded) or await self._file.read_row(encoded)
        return _reads.versioned(row)

    async def set(self, key: str, value: str) -> None:
        """Create or replace a key; clear any expiry. The value is in the file when this returns."""
        encoded = await encode_value(value)
        await self._write(partial(_writes.put, key=encode_key(key), value=encoded), len(encoded))

    async def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        """Create or replace a key that expires, in seconds since the epoch."""
        expiry = check_expiry(expires_at)
        encoded = await encode_value(value)
        await self._write(
            partial(_writes.put, key=encode_key(key), value=encoded, expires_at=expiry), len(encoded)
        )

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        """Write if the key has this version, with None if it is not there, and return the new version.

        Without `expires_at` the key does not expire. Raise `conflict`, with `current`, otherwise.
        """
        encoded = await encode_value(value)
        work = partial(
            _writes.put_if,
            key=encode_key(key),
            value=encoded,
            version=None if version is None else check_version(version),
            expires_at=check_optional_expiry(expires_at),
            clock=self._now,
        )
        return await self._write(work, len(encoded))

    async def delete(self, key: str) -> None:
        """Delete a key; a missing one is no error."""
        await self._write(partial(_writes.remove, key=encode_key(key)))

    async def delete_if(self, key: str, version: str) -> None:
        """Delete a key if it has this version; raise `conflict`, with `current`, otherwise."""
        await self._write(
            partial(_writes.remove_if, key=encode_key(key), version=check_version(version), clock=self._now)
        )

    async def increment(self, key: str, delta: int) -> int:
        """Add to a number atomically and return the sum; a key that is not there counts as 0.

        Keep its expiry. Raise `invalid_value` for what is no decimal number of signed 64 bits, or would not be.
        """
        check_integer(delta, "delta")
        return await self._write(partial(increment, key=encode_key(key), delta=delta, clock=self._now))

    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the values of those keys that are there.

        Raise `partial_failure`, with `results` and `errors`, when only a part could be read.
        """
        deadline = self._file.deadline()
        found: dict[str, str] = {}
        await _batches.run(
            _batches.chunks_of_keys(await _batches.encode_keys(check_keys(keys))),
            lambda chunk: self._file.read(partial(_reads.values, keys=chunk, clock=self._now), deadline),
            found.update,
            found,
        )
        return found

    async def set_many(self, items: Mapping[str, str], expires_at: float | None = None) -> None:
        """Create or replace keys, in chunks that are each written wholly or not at all.

        Raise `partial_failure`, with `results` (the keys written) and `errors`, when only a part was written.
        """
        deadline = self._file.deadline()
        expiry = check_optional_expiry(expires_at)
        pairs = await _batches.encode_items(check_items(items))
        written: list[str] = []
        await _batches.run(
            _batches.chunks_of_items(pairs),
            lambda chunk: self._file.write(
                partial(_batches.put_all, items=chunk, expires_at=expiry), deadline, _batches.size_of(chunk)
            ),
            written.extend,
            written,
        )

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete keys, in chunks likewise; missing ones are no error."""
        deadline = self._file.deadline()
        deleted: list[str] = []
        removals = _batches.Removals(
            await _batches.encode_keys(check_keys(keys)),
            lambda chunk: self._file.write(partial(_batches.remove_some, keys=chunk), deadline),
        )
        await _batches.run(removals, removals.remove, deleted.extend, deleted)

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Return at most `limit` keys that begin with the prefix, and where to go on: None at the end.

        A page may be short, or empty, before the end. Raise `invalid_value` for a cursor that is none.
        """
        start = _scans.encode_prefix(prefix)
        after = _scans.decode_cursor(cursor, start)
        work = partial(_scans.page, prefix=start, after=after, limit=check_limit(limit), clock=self._now)
        return await self._read(work)

    async def health_check(self) -> dict[str, Any]:
        """Read from the file and tell whether that worked within 1 second; never raise.

        Details: `path`, and when UP `size` in bytes of the main file and `journal_mode`, when DOWN `error`.
        """
        path = self._file.path
        details: dict[str, Any] = {"path": str(path)}
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                details |= await self._file.probe()
        except TimeoutError:
            return {"status": "DOWN", "details": details | {"error": "no answer within 1 second"}}
        except Exception as error:  # noqa: BLE001 - health never raises
            return {"status": "DOWN", "details": details | {"error": str(error)}}
        return {"status": "UP", "details": details}

    def _now(self) -> float:
        return self.clock()

    async def _read(self, work: Callable[..., T]) -> T:
        return await self._file.read(work, self._file.deadline())

    async def _write(self, work: Callable[..., T], size: int = 0) -> T:
        return await self._file.write(work, self._file.deadline(), size)
