"""The file under an open store: removed, replaced, without its locks, or not to be written any more."""

# ruff: noqa: ASYNC240 - a test may wait for its files

import os
import shutil
import sqlite3
import subprocess  # noqa: TC003 - as everywhere here: imports are not split by use
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from kvik_sqlite import SQLite, SQLiteError

Start: TypeAlias = Callable[..., "subprocess.Popen[str]"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed or replaced on Windows")


async def status(db: SQLite) -> tuple[str, str]:
    """Return the health's status and its error."""
    health = await db.health_check()
    return health["status"], health["details"].get("error", "")


@posix
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_health_is_down_when_a_file_is_removed(db: SQLite, path: Path, suffix: str) -> None:
    """A database, or a part of it, that was deleted is told, with what to do, although reads and writes go on."""
    await db.set("k", "value")
    assert await status(db) == ("UP", "")
    Path(f"{path}{suffix}").unlink()
    assert await db.get("k") == "value"
    down, error = await status(db)
    assert down == "DOWN"
    assert "restart every process" in error


@posix
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_health_is_down_when_a_file_is_replaced(db: SQLite, path: Path, suffix: str) -> None:
    """A file of the same name and content is another file: what is written goes to the old one."""
    await db.set("k", "value")
    place = Path(f"{path}{suffix}")
    shutil.copy(place, f"{place}.copy")
    os.replace(f"{place}.copy", place)  # noqa: PTH105 - as deployments do
    assert (await status(db))[0] == "DOWN"


@posix
async def test_health_is_up_through_a_symbolic_link(path: Path) -> None:
    """A path that leads to the file by a link, also one with a relative target, is the file."""
    path.with_name("data").mkdir()
    path.symlink_to(Path("data") / "real.db")
    async with SQLite(path) as db:
        await db.set("k", "value")
        assert await status(db) == ("UP", "")
        path.unlink()
        path.symlink_to(Path("data") / "other.db")
        assert (await status(db))[0] == "DOWN"


READ_AND_CLOSE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT 1 FROM kv").fetchall()
connection.close()
"""


@posix
async def test_health_tells_that_the_locks_are_gone(db: SQLite, path: Path, start: Start) -> None:
    """After the app itself has read the file, another process may delete the WAL: then health is DOWN."""
    await db.set("k", "value")
    path.read_bytes()  # the kernel drops this process's locks as the file is closed
    assert start(READ_AND_CLOSE, path).wait(30) == 0
    assert not Path(f"{path}-wal").exists()
    assert (await status(db))[0] == "DOWN"


async def test_health_is_up_after_a_vacuum_of_another_program(db: SQLite, outside: sqlite3.Connection) -> None:
    """VACUUM by another program, which rewrites the whole file, leaves the store in place and in order."""
    await db.set_many({f"key {number}": "x" * 1000 for number in range(500)})
    await db.delete_many([f"key {number}" for number in range(490)])
    outside.execute("VACUUM")
    assert await status(db) == ("UP", "")
    await db.set("k", "value")
    assert len((await db.scan("", None, 100))[0]) == 11


@posix
async def test_a_device_is_no_file() -> None:
    """A path that names a device, where all would be lost, is refused."""
    with pytest.raises(SQLiteError, match="must name a file") as caught:
        await SQLite("/dev/null").connect()
    assert caught.value.code == "misconfigured"


OPEN_AS_NOBODY = """
import asyncio, os, sys
from kvik_sqlite import SQLite, SQLiteError

async def main(path):
    await asyncio.to_thread(int)  # imports what another user may not be able to read
    if os.geteuid() == 0:  # whom no permission binds
        os.seteuid(65534)
    db = SQLite(path)
    try:
        await db.connect()
    except SQLiteError as error:
        print(error.code, error.outcome)
    print((await db.health_check())["status"])

asyncio.run(main(sys.argv[1]))
os.seteuid(os.getuid())  # for what is written at the end, such as coverage's data
"""


@posix
@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("left_behind", [False, True])
async def test_a_file_that_may_only_be_read_is_told_at_connect(
    start: Start, layout: str, *, left_behind: bool
) -> None:
    """A file of mode 0444 in a folder that can be written to is `misconfigured`, and health is DOWN."""
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which other users cannot even enter
        path = Path(name) / "store.db"
        if layout == "old":
            shutil.copy(Path(__file__).with_name("layout_1.sqlite"), path)
        else:
            async with SQLite(path) as db:
                await db.set("k", "value")
        if left_behind:  # by a process that was killed
            Path(f"{path}-wal").touch()
        Path(name).chmod(0o777)
        path.chmod(0o444)
        before = path.read_bytes()
        out, err = start(OPEN_AS_NOBODY, path).communicate(timeout=30)
        assert (out.split(), err) == (["misconfigured", "not_applied", "DOWN"], "")
        assert path.read_bytes() == before


MAKE_READ_ONLY = """
import asyncio, os, sys
from kvik_sqlite import SQLite

async def main(path):
    await asyncio.to_thread(int)  # as above
    if os.geteuid() == 0:
        os.seteuid(65534)
    async with SQLite(path) as db:
        await db.set("k", "value")
        print((await db.health_check())["status"])
        os.chmod(path, 0o444)
        print((await db.health_check())["status"])

asyncio.run(main(sys.argv[1]))
os.seteuid(os.getuid())  # for what is written at the end, such as coverage's data
"""


@posix
async def test_health_is_down_when_the_file_may_not_be_written_any_more(start: Start) -> None:
    """A file that became read-only under the store, as on a file system after a fault, is told."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        out, err = start(MAKE_READ_ONLY, Path(name) / "store.db").communicate(timeout=30)
        assert (out.split(), err) == (["UP", "DOWN"], "")
