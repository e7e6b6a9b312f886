"""Batches: any number of keys, in chunks that are each one operation, one after another.

Chunks are small, so that one batch never keeps the writer, or a reader, from others for long. After a chunk that
fails no other is tried: what stopped it, a lock or a full disk, would cost each of them the same wait.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from ._errors import SQLiteError
from ._limits import Value, encode_key, encode_value
from ._writes import put, remove

T = TypeVar("T")
R = TypeVar("R")
Item: TypeAlias = tuple[bytes, Value]  # a key and its value

CHUNK_KEYS = 256
CHUNK_BYTES = 1024 * 1024  # of values; a larger value is a chunk by itself


def put_all(connection: sqlite3.Connection, items: Sequence[Item], expires_at: float | None) -> list[str]:
    """Create or replace each key, and return the keys."""
    for key, value in items:
        put(connection, key, value, expires_at)
    return [key.decode() for key, _ in items]


def remove_all(connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[str]:
    """Delete each key that is there, and return all of them."""
    for key in keys:
        remove(connection, key)
    return [key.decode() for key in keys]


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
