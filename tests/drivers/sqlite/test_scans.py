"""Scans: which keys, in what pages, and which cursors."""

import base64
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._scans import _MOST, page


async def all_keys(db: SQLite, prefix: str, limit: int) -> list[str]:
    """Scan to the end, and check each page's size."""
    keys: list[str] = []
    cursor = None
    while True:
        some, cursor = await db.scan(prefix, cursor, limit)
        assert len(some) <= limit
        keys += some
        if cursor is None:
            return keys


KEYS = [
    "a",
    "a\0",
    "a/b",
    "ab",
    "a\u007f",
    "a\u0080",
    "aé",
    "a🎉",
    "a\U0010ffff",
    "b",
    "é",
    "\0",
    "🎉",
    "\U0010ffff",
]


async def test_a_prefix_is_taken_byte_by_byte(db: SQLite) -> None:
    """A scan gives each key that begins with the prefix once, at every size of page."""
    await db.set_many(dict.fromkeys(KEYS, "value"))
    for prefix in ["", *KEYS, "c", "a" * 3000]:
        expected = sorted((key for key in KEYS if key.startswith(prefix)), key=str.encode)
        for limit in (1, 2, 3, len(KEYS), 1000):
            assert await all_keys(db, prefix, limit) == expected


async def test_a_page_is_bounded_whatever_the_limit(db: SQLite) -> None:
    """A limit beyond a page's bound gives short pages, and every key."""
    keys = [f"{number:05}" for number in range(_MOST + 5)]
    await db.set_many(dict.fromkeys(keys, ""))
    first, cursor = await db.scan("", None, 10**9)
    assert len(first) == _MOST
    assert cursor is not None
    assert await all_keys(db, "", 10**9) == keys


async def test_expired_keys_leave_short_pages(db: SQLite, clock: Any) -> None:
    """Expired keys are in no page; a page that would hold only such is empty, and not the end."""
    await db.set_many(dict.fromkeys("abc", "value"), clock.now + 1)
    await db.set("d", "value")
    clock.now += 1
    first, cursor = await db.scan("", None, 2)
    assert first == []
    assert cursor is not None
    assert await all_keys(db, "", 2) == ["d"]


async def test_a_cursor_survives_a_restart(path: Path) -> None:
    """Another process, as it were, goes on where the first one ended, also when that key is gone meanwhile."""
    async with SQLite(path) as db:
        await db.set_many(dict.fromkeys("abcde", "value"))
        first, cursor = await db.scan("", None, 2)
        assert first == ["a", "b"]
    async with SQLite(path) as db:
        await db.delete("b")
        assert await db.scan("", cursor, 10) == (["c", "d", "e"], None)


NONSENSE: list[Any] = ["", "nonsense!", "YQ", "YQ==\n", "é", base64.urlsafe_b64encode(b"b").decode(), 7, b"YQ=="]


async def test_a_cursor_that_is_none_is_refused(db: SQLite) -> None:
    """What no scan of this prefix has returned is `invalid_value`, and the message says what to do."""
    for cursor in NONSENSE:
        with pytest.raises(SQLiteError, match="begin again") as caught:
            await db.scan("a", cursor, 10)
        assert caught.value.code == "invalid_value"


@pytest.mark.parametrize("prefix", ["lone \ud800", None, b"a"], ids=ascii)
async def test_a_wrong_prefix_is_refused(db: SQLite, prefix: Any) -> None:
    """A prefix that is no text is `invalid_key`."""
    with pytest.raises(SQLiteError, match="prefix") as caught:
        await db.scan(prefix, None, 10)
    assert caught.value.code == "invalid_key"


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_wrong_limit_is_refused(db: SQLite, limit: int) -> None:
    """A page of no keys, which SQLite would make one of all, is `invalid_value`."""
    with pytest.raises(SQLiteError) as caught:
        await db.scan("", None, limit)
    assert caught.value.code == "invalid_value"


def steps(connection: sqlite3.Connection, prefix: str, after: str, limit: int) -> int:
    """Count the instructions of SQLite's own machine that a page takes."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    connection.set_progress_handler(count, 1)
    page(connection, prefix=prefix.encode(), after=after.encode(), limit=limit, clock=time.time)
    connection.set_progress_handler(None, 1)
    return counted


async def test_a_page_costs_the_same_wherever_it_is(db: SQLite) -> None:
    """The last page of a scan, and one of a few keys, take no more steps than the first: a scan is linear."""
    await db.set_many({f"user:{number:04}": "value" for number in range(3000)} | {"a": "", "z": ""})

    def count(connection: sqlite3.Connection) -> list[int]:
        return [steps(connection, prefix, after, 100) for prefix, after in (("", ""), *LATE_PAGES)]

    first, *late = await db._read(count)  # noqa: SLF001 - time is no measure of it
    assert max(late) <= first + 10
    assert await db._read(lambda connection: steps(connection, "user:", "user:2500", 2)) < first / 10  # noqa: SLF001 - the same


LATE_PAGES = [
    ("user:", ""),
    ("user:", "user:1499"),
    ("user:", "user:2899"),
    ("", "user:2899"),
    ("user:29", "user:2900"),
]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux, which counts what a process reads")
async def test_values_are_not_read_to_be_listed(path: Path) -> None:
    """Keys of large values that expire are listed without those: what is read is a small part of the file."""
    values = {f"{'k' * 1000}{number:02}": "x" * 1_000_000 for number in range(20)}
    async with SQLite(path, durability="normal") as db:
        await db.set_many(values, expires_at=time.time() + 3600)
    async with SQLite(path) as db:
        before = bytes_read()
        assert await db.scan("", None, 100) == (list(values), None)
        assert bytes_read() - before < 1_000_000


def bytes_read() -> int:
    return int(re.findall(r"rchar: ([0-9]+)", Path("/proc/self/io").read_text())[0])
