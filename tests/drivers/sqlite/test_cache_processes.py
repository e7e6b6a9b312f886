"""Rows that are kept, while other processes write and die: nothing that was acknowledged is ever missed."""

# ruff: noqa: ASYNC240 - a test may wait for its files

import ctypes
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import TypeAlias

import pytest

from kvik_sqlite import SQLite

Process: TypeAlias = Popen[str]
Start: TypeAlias = Callable[..., Process]


def finish(process: Process) -> None:
    """Wait for the end of the process, which must be a good one."""
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err


WRITE_WHAT_IT_IS_TOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("PRAGMA synchronous = NORMAL")
for line in iter(sys.stdin.readline, ""):
    connection.execute("UPDATE kv SET value = ?", (line.strip(),))
    print("done", flush=True)
"""


async def test_each_write_of_another_process_is_read(db: SQLite, path: Path, start: Start) -> None:
    """Three thousand times another process writes and says so; each time the very value is read, twice."""
    await db.set("k", "0")
    process = start(WRITE_WHAT_IT_IS_TOLD, path)
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(3000):
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert [await db.get("k"), await db.get("k")] == [str(number)] * 2
    finish(process)


COUNT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("PRAGMA synchronous = NORMAL")
(before,) = connection.execute("SELECT value FROM kv").fetchone()
for number in range(int(before) + 1, int(before) + 1 + int(sys.argv[2])):
    connection.execute("UPDATE kv SET value = ?", (str(number),))
    os.write(1, b"%d\\n" % number)
"""

CHECKPOINT = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
print("ready", flush=True)
while True:
    for kind in ("TRUNCATE", "RESTART", "PASSIVE"):
        connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()
        time.sleep(0.001)
"""


async def follow(db: SQLite, process: Process) -> int:
    """Read the key after each number that the process says it has written, and return the last one it said."""
    assert process.stdout is not None
    said = seen = 0
    for line in process.stdout:
        if not line.endswith("\n"):  # a process that was killed amid it
            break
        said = int(line)
        for _ in range(3):
            value = await db.get("k")
            assert value is not None
            assert said <= int(value)
            assert seen <= int(value)  # nor back in time
            seen = int(value)
    return said


@pytest.mark.parametrize("meanwhile", ["nothing", "checkpoints"])
async def test_a_process_that_counts_is_never_behind(db: SQLite, path: Path, start: Start, meanwhile: str) -> None:
    """While another process counts as fast as it can, no read is behind what it has said."""
    await db.set("k", "0")
    if meanwhile == "checkpoints":
        other = start(CHECKPOINT, path)
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
    process = start(COUNT, path, "10000")
    assert await follow(db, process) == 10000
    finish(process)
    assert await db.get("k") == "10000"


async def test_a_process_that_is_killed_leaves_no_stale_row(
    db: SQLite, path: Path, start: Start, outside: sqlite3.Connection
) -> None:
    """After a kill -9 amid writes the last number that was said is read, and so is what is in the file."""
    await db.set("k", "0")
    for round_ in range(10):
        process = start(COUNT, path, "1000000")
        assert process.stdout is not None
        for _ in range(20 + 7 * round_):
            said = int(process.stdout.readline())
            assert int(await db.get("k") or "") >= said
        process.kill()
        last = await follow(db, process)
        value = await db.get("k")
        assert int(value or "") >= last
        assert outside.execute("SELECT value FROM kv").fetchone() == (value,)
        assert await db.get("k") == value


@pytest.mark.skipif(sys.platform != "linux", reason="the header is looked for on Linux only")
@pytest.mark.parametrize("place", [0, 8, 47, 48, 95])
async def test_a_header_that_was_left_half_written_hides_nothing(
    db: SQLite, path: Path, outside: sqlite3.Connection, place: int
) -> None:
    """What a process leaves that dies while it rewrites the header: SQLite mends it, and no kept row is stale."""
    found = re.search(rf"^([0-9a-f]+)-.* {path}-shm$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    assert found is not None
    header = (ctypes.c_ubyte * 96).from_address(int(found[1], 16))
    for number in range(20):
        outside.execute("INSERT OR REPLACE INTO kv (key, value, version) VALUES (x'6b', ?, x'00')", (str(number),))
        assert [await db.get("k"), await db.get("k")] == [str(number)] * 2
        header[place] ^= 0xFF
        assert [await db.get("k"), await db.get("k")] == [str(number)] * 2
        assert await db.get("missing") is None


CLOSE_AMID_READS = """
import sys, threading
from pathlib import Path
from kvik_sqlite._direct import DirectReads
from kvik_sqlite._row_cache import RowCache
from kvik_sqlite._schema import open_connection
from kvik_sqlite._wal_index import view_header

def read(direct, begun):
    for number in range(300):
        direct.attempt(b"k")
    begun.set()
    for number in range(300):
        direct.attempt(b"k")

sys.setswitchinterval(1e-6)
for _ in range(300):
    connection = open_connection(Path(sys.argv[1]), "full", 5)
    header = view_header(connection)
    direct = DirectReads(connection, RowCache(header, 10000) if header else None)
    begun = threading.Event()
    thread = threading.Thread(target=read, args=(direct, begun))
    thread.start()
    begun.wait()
    direct.stop()  # the last connection: the memory is gone
    thread.join()
    assert Path(sys.argv[1] + "-shm").exists() is False
"""


async def test_the_header_is_let_go_before_it_is_gone(path: Path, start: Start) -> None:
    """A close amid reads of another thread, three hundred times: none looks where nothing is mapped any more."""
    async with SQLite(path):
        pass
    finish(start(CLOSE_AMID_READS, path))
