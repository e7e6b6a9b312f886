"""Exceptions that end more than a call, raised in a worker thread: an answer comes, and the thread goes on."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable

import pytest

from kvik_sqlite import SQLite, SQLiteError

EXITS = [
    StopIteration,
    StopAsyncIteration,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
]


def raising(kind: type[BaseException]) -> Callable[[], float]:
    """Return a clock that raises, as a mock whose moments are used up does."""

    def clock() -> float:
        raise kind

    return clock


@pytest.mark.parametrize("kind", EXITS)
async def test_what_a_clock_raises_is_answered(db: SQLite, kind: type[BaseException]) -> None:
    """Whatever a thread raises reaches the caller as an error of its call, and every thread is still there."""
    await db.set_expiring("k", "1", 9e9)
    sound = db.clock
    db.clock = raising(kind)
    for _ in range(5):  # more than there are readers
        calls = [
            db.get_many(["k"]),
            db.scan("", None, 10),
            db.increment("k", 1),
            db.set_if("k", "2", "version"),
            db.delete_if("k", "version"),
        ]
        async with asyncio.timeout(10):
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, Exception) for each in results)
        if kind is not StopAsyncIteration:  # an ordinary exception, which passes as it is
            assert [(each.code, type(each.__cause__)) for each in results if isinstance(each, SQLiteError)] == [
                ("internal", kind)
            ] * 5
    await db.set("other", "value")  # only the removal of what has expired asks the clock
    db.clock = sound
    assert await db.get_many(["k", "other"]) == {"k": "1", "other": "value"}
    assert sum(thread.name.startswith("kvik-sqlite") for thread in threading.enumerate()) == 5
