"""Files of an earlier layout: rewritten when they are opened, wholly or not at all."""

# ruff: noqa: ASYNC240 - a test may wait for its files

import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError

LAYOUT_1 = Path(__file__).with_name("layout_1.sqlite")  # written by the driver of commit 5c476e0


def layout(path: Path) -> tuple[int, list[str]]:
    """Return the layout's number and the columns of the file."""
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return version, [column[1] for column in connection.execute("PRAGMA table_info(kv)")]


async def test_a_file_of_layout_1_is_rewritten(path: Path) -> None:
    """Every key of a file that an earlier driver wrote is there, with its value, version and expiry."""
    shutil.copy(LAYOUT_1, path)
    assert layout(path) == (1, ["key", "value", "version", "expires_at"])
    for _ in range(2):
        async with SQLite(path) as db:
            assert await db.scan("", None, 10) == (
                ["count", "empty", "expired", "expiring", "greeting", "nul\0inside", "🎉"],
                None,
            )
            assert await db.get_many(["count", "empty", "nul\0inside", "🎉"]) == {
                "count": "41",
                "empty": "",
                "nul\0inside": "nul\0inside",
                "🎉": "é" * 3000,
            }
            assert await db.get_versioned("greeting") == ("hello", "8295e8bcd33d0138a4e51c25b0053d37", None)
            expiring = ("later", "6039299f7f03a30604aaf736c1f9f3dd", 4102444800.5)
            assert await db.get_versioned("expiring") == expiring
            db.clock = lambda: 4102444800.0
            assert await db.get_many(["expired", "expiring"]) == {"expiring": "later"}
    assert layout(path) == (2, ["expires_at", "version", "key", "value"])


async def test_a_rewritten_file_works_as_a_new_one(path: Path) -> None:
    """Every verb works on a file that was rewritten, and what expires leaves it."""
    shutil.copy(LAYOUT_1, path)
    async with SQLite(path) as db:
        assert await db.increment("count", 1) == 42
        await db.set_if("greeting", "hi", "8295e8bcd33d0138a4e51c25b0053d37")
        db.clock = lambda: 4102444800.0
        await db.delete("empty")
        with closing(sqlite3.connect(path)) as outside:
            assert outside.execute("SELECT count(*) FROM kv").fetchone() == (5,)
            plan = outside.execute("EXPLAIN QUERY PLAN SELECT 1 FROM kv WHERE expires_at < 5").fetchall()
            assert "kv_expires_at" in plan[0][3]


OPEN = """
import asyncio, sys
from kvik_sqlite import SQLite

async def main(path):
    print("go", flush=True)
    async with SQLite(path) as db:
        print("done", flush=True)

asyncio.run(main(sys.argv[1]))
"""


def many_of_layout_1(path: Path) -> dict[str, str]:
    """Fill a file of layout 1 with more than fits into a cache, and return what is in it."""
    shutil.copy(LAYOUT_1, path)
    rows = {f"key {number}": str(number) * 100 for number in range(4000)}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM kv")
        connection.executemany(
            "INSERT INTO kv (key, value, version) VALUES (cast(? AS BLOB), ?, randomblob(16))", rows.items()
        )
    return rows


@pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")
async def test_a_rewriting_that_is_killed_has_changed_nothing(path: Path, start: Callable[..., Any]) -> None:
    """Whatever moment a process is killed at, the file is of one layout or the other, with every row."""
    for _ in range(6):
        rows = many_of_layout_1(path)
        process = start(OPEN, path)
        assert process.stdout.readline() == "go\n"
        time.sleep(random.uniform(0, 0.06))  # noqa: S311, ASYNC251 - a random moment; nothing else runs here
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert layout(path)[0] in {1, 2}
        async with SQLite(path) as db:
            assert await db.get_many(list(rows)) == rows
        assert layout(path)[0] == 2


async def test_several_processes_may_rewrite_at_once(path: Path, start: Callable[..., Any]) -> None:
    """Processes that open a file of layout 1 together all succeed, and each row is there once."""
    rows = many_of_layout_1(path)
    processes = [start(OPEN, path) for _ in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=30)
        assert out == "go\ndone\n", err
    async with SQLite(path) as db:
        assert await db.get_many(list(rows)) == rows


async def test_a_file_that_claims_a_layout_is_looked_at(path: Path) -> None:
    """A file whose columns are not those of its layout is refused, and left as it is."""
    shutil.copy(LAYOUT_1, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
        connection.execute("ALTER TABLE kv RENAME COLUMN version TO revision")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(SQLiteError, match="not as kvik made them") as caught:
        await SQLite(path).connect()
    assert caught.value.code == "misconfigured"
    assert path.read_bytes() == before
