"""Scans: which keys, in what pages, and which cursors."""

import base64
from pathlib import Path
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._scans import _MOST


async def all_keys(db: SQLite, prefix: str, limit: int) -> list[str]:
    """Scan to the end, and check each page's size."""
    keys: list[str] = []
    cursor = None
    while True:
        page, cursor = await db.scan(prefix, cursor, limit)
        assert len(page) <= limit
        keys += page
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
    page, cursor = await db.scan("", None, 10**9)
    assert len(page) == _MOST
    assert cursor is not None
    assert await all_keys(db, "", 10**9) == keys


async def test_expired_keys_leave_short_pages(db: SQLite, clock: Any) -> None:
    """Expired keys are in no page; a page that would hold only such is empty, and not the end."""
    await db.set_many(dict.fromkeys("abc", "value"), clock.now + 1)
    await db.set("d", "value")
    clock.now += 1
    page, cursor = await db.scan("", None, 2)
    assert page == []
    assert cursor is not None
    assert await all_keys(db, "", 2) == ["d"]


async def test_a_cursor_survives_a_restart(path: Path) -> None:
    """Another process, as it were, goes on where the first one ended, also when that key is gone meanwhile."""
    async with SQLite(path) as db:
        await db.set_many(dict.fromkeys("abcde", "value"))
        page, cursor = await db.scan("", None, 2)
        assert page == ["a", "b"]
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
