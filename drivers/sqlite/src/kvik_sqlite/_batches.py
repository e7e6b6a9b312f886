"""Batches: any number of keys, in chunks that are each one operation, one after another.

Chunks are small, so that one batch never keeps the writer, or a reader, from others for long. After a chunk that
fails no other is tried: what stopped it, a lock or a full disk, would cost each of them the same wait.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from ._errors import SQLiteError
from ._limits import Value, encode_key, encode_value
from ._writes import put, remove

T = TypeVar("T")
R = TypeVar("R")
Item: TypeAlias = tuple[bytes, Value]  # a key and its value

CHUNK_KEYS = 256
REMOVE_SECONDS = 0.1
CHUNK_BYTES = 1024 * 1024  # of values; a larger value is a chunk by itself


def put_all(connection: sqlite3.Connection, items: Sequence[Item], expires_at: float | None) -> list[str]:
    """Create or replace each key, and return the keys."""
    for key, value in items:
        put(connection, key, value, expires_at)
    return [key.decode() for key, _ in items]


def remove_some(connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[str]:
    """Delete the first keys, as many as can be deleted in REMOVE_SECONDS, and return them.

    Nothing tells beforehand how large a row is, and to free the pages of a large one takes long.
    """
    until = time.monotonic() + REMOVE_SECONDS
    removed: list[str] = []
    for key in keys:
        remove(connection, key)
        removed.append(key.decode())
        if time.monotonic() >= until:
            break
    return removed


async def encode_keys(keys: Iterable[str]) -> list[bytes]:
    """Check and encode all, each once, before anything is done with one; the loop comes round meanwhile."""
    return list({encode_key(key): None async for key in _in_turns(keys)})


async def encode_items(items: Mapping[str, str]) -> list[Item]:
    """Do the same with values."""
    return [(encode_key(key), await encode_value(value)) async for key, value in _in_turns(dict(items).items())]


async def _in_turns(things: Iterable[T]) -> AsyncIterator[T]:
    for number, thing in enumerate(things):
        if number % CHUNK_KEYS == CHUNK_KEYS - 1:
            await asyncio.sleep(0)
        yield thing


def chunks_of_keys(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Split keys into chunks."""
    for start in range(0, len(keys), CHUNK_KEYS):
        yield keys[start : start + CHUNK_KEYS]


def size_of(items: Sequence[Item]) -> int:
    """Return about the bytes that a chunk writes."""
    return sum(len(key) + len(value) for key, value in items)


def chunks_of_items(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Split keys with their values into chunks."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        if chunk and (len(chunk) == CHUNK_KEYS or size + len(item[1]) > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item[1])
    if chunk:
        yield chunk


class Removals(Iterator[Sequence[bytes]]):
    """Chunks of keys to be deleted, of which what was left goes into the next."""

    def __init__(self, keys: Sequence[bytes], write: Callable[[Sequence[bytes]], Awaitable[list[str]]]) -> None:
        self._keys = keys
        self._begin = 0
        self._write = write

    def __next__(self) -> Sequence[bytes]:
        chunk = self._keys[self._begin : self._begin + CHUNK_KEYS]
        if not chunk:
            raise StopIteration
        self._begin += len(chunk)
        return chunk

    async def remove(self, chunk: Sequence[bytes]) -> list[str]:
        """Delete keys of the chunk that came last, and return them."""
        removed = await self._write(chunk)
        self._begin -= len(chunk) - len(removed)
        return removed


async def run(
    chunks: Iterable[Sequence[T]],
    work: Callable[[Sequence[T]], Awaitable[R]],
    collect: Callable[[R], None],
    results: dict[str, str] | list[str],
) -> None:
    """Do the work for each chunk and `collect` its answer into `results`.

    Raise `partial_failure` when a chunk fails after others have succeeded, its own error when the first one fails.
    """
    waiting = iter(chunks)
    for number, chunk in enumerate(waiting):
        try:
            collect(await work(chunk))
        except SQLiteError as error:
            if number == 0:
                raise
            raise _partial_failure(error, results, [chunk, *waiting]) from error


def _partial_failure(
    error: SQLiteError, results: dict[str, str] | list[str], waiting: Sequence[Sequence[Any]]
) -> SQLiteError:
    failed, *untried = [[_key_of(each) for each in chunk] for chunk in waiting]
    skipped = SQLiteError(
        f"not tried, because an earlier part of the batch failed: {error}",
        code=error.code,
        retryable=error.retryable,
        reason=error.reason,
    )
    return SQLiteError(
        f"a batch stopped before its end: {error}",
        code="partial_failure",
        outcome="unknown",  # `errors` tells it for each key
        results=results,
        errors=dict.fromkeys(failed, error) | {key: skipped for chunk in untried for key in chunk},
    )


def _key_of(item: bytes | Item) -> str:
    return (item if isinstance(item, bytes) else item[0]).decode()
