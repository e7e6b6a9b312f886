"""Several processes, and processes that die: the driver where it has to prove itself."""

# ruff: noqa: ASYNC240 - a test may wait for its files

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from kvik_sqlite import SQLite, SQLiteError

Process: TypeAlias = "subprocess.Popen[str]"
Start: TypeAlias = Callable[..., Process]

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork, signals and limits of POSIX")


def say(process: Process, line: str = "go") -> None:
    """Send a line to the process."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process: Process) -> str:
    """Wait for a line of the process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: Process) -> list[str]:
    """Wait for the end of the process, which must be a good one, and return the lines that it still says."""
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out.split()


WRITE_TOGETHER = """
import asyncio, sys
from kvik_sqlite import SQLite

async def write(db, name):
    for number in range(50):
        await db.set(f"{name}-{number}", "value")
        assert await db.get(f"{name}-{number}") == "value"

async def main(path, name):
    async with SQLite(path) as db:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*[write(db, f"{name}-{task}") for task in range(4)])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_write_one_file(path: Path, start: Start) -> None:
    """Four processes of four tasks write one file at the same time: no error, and nothing is lost."""
    processes = [start(WRITE_TOGETHER, path, str(number)) for number in range(4)]
    assert [hear(process) for process in processes] == ["ready"] * 4
    for process in processes:
        say(process)
    for process in processes:
        finish(process)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM kv").fetchone() == (4 * 4 * 50,)


OPEN_TOGETHER = """
import asyncio, sys
from kvik_sqlite import SQLite

async def main(directory, name):
    for number in range(8):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with SQLite(f"{directory}/{number}.db") as db:
            await db.set(name, "value")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_open_a_new_file_at_once(tmp_path: Path, start: Start) -> None:
    """Six processes that open a file which is not there yet, at the same moment, all succeed."""
    processes = [start(OPEN_TOGETHER, tmp_path, str(number)) for number in range(6)]
    for _ in range(8):
        assert [hear(process) for process in processes] == ["ready"] * 6
        for process in processes:
            say(process)
    for process in processes:
        finish(process)
    for number in range(8):
        async with SQLite(tmp_path / f"{number}.db") as db:
            assert [await db.get(str(name)) for name in range(6)] == ["value"] * 6


COUNT_TOGETHER = """
import asyncio, sys
from kvik_sqlite import SQLite, SQLiteError

async def count_by_condition(db):
    while True:
        entry = await db.get_versioned("k")
        try:
            if entry is None:
                return await db.set_if("k", "1", None)
            return await db.set_if("k", str(int(entry[0]) + 1), entry[1])
        except SQLiteError as error:
            if error.code != "conflict":
                raise

async def count(db, turns):
    for turn in turns:
        await (db.increment("k", 1) if turn % 2 else count_by_condition(db))

async def main(path):
    async with SQLite(path, durability="normal", busy_timeout=60) as db:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        turns = iter(range(500))
        await asyncio.gather(*[count(db, turns) for _ in range(8)])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_count_exactly(path: Path, start: Start) -> None:
    """Two processes of eight tasks count to 1000, by conditional writes and by increment: none is lost."""
    processes = [start(COUNT_TOGETHER, path) for _ in range(2)]
    assert [hear(process) for process in processes] == ["ready"] * 2
    for process in processes:
        say(process)
    for process in processes:
        finish(process)
    async with SQLite(path) as db:
        assert await db.get("k") == "1000"


HOLD_THE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


async def test_a_lock_of_another_process_is_waited_for_in_bounds(db: SQLite, path: Path, start: Start) -> None:
    """While another process holds the lock, reads go on and a write is `throttled` after busy_timeout."""
    await db.set("k", "old")
    process = start(HOLD_THE_LOCK, path)
    assert hear(process) == "held"
    began = time.monotonic()
    with pytest.raises(SQLiteError) as caught:
        await db.set("k", "new")
    assert 0.2 <= time.monotonic() - began < 2
    assert (caught.value.code, caught.value.outcome, caught.value.retryable) == ("throttled", "not_applied", True)
    assert await db.get("k") == "old"
    say(process)
    finish(process)
    await db.set("k", "new")
    assert await db.get("k") == "new"


HOLD_THE_DIRECTORY = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


@posix
async def test_connect_gives_up_on_the_directorys_lock(path: Path, start: Start) -> None:
    """Connect fails as `throttled` when another process holds the directory's lock for too long."""
    process = start(HOLD_THE_DIRECTORY, path.parent)
    assert hear(process) == "held"
    with pytest.raises(SQLiteError, match="holds a lock on this directory") as caught:
        await SQLite(path, busy_timeout=0.05).connect()
    assert (caught.value.code, caught.value.retryable) == ("throttled", True)
    say(process)
    finish(process)


USE_AFTER_FORK = """
import asyncio, os, sys
from kvik_sqlite import SQLite, SQLiteError

def attempt(awaitable):
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(awaitable)
    except SQLiteError as error:
        os.write(1, f"{error.code}:{'fork' in str(error)}\\n".encode())

parent = asyncio.new_event_loop()
db = SQLite(sys.argv[1])
parent.run_until_complete(db.connect())
if os.fork() == 0:
    for call in (db.get("k"), db.set("k", "value"), db.connect(), db.close()):
        attempt(call)
    os._exit(0)
os.wait()
parent.run_until_complete(db.set("k", "of the parent"))
parent.run_until_complete(db.close())
"""


@posix
async def test_use_after_a_fork_is_refused(path: Path, start: Start) -> None:
    """A child that was forked after connect gets a clear error from every verb, and the parent goes on."""
    assert finish(start(USE_AFTER_FORK, path)) == ["misconfigured:True"] * 4
    async with SQLite(path) as db:
        assert await db.get("k") == "of the parent"


FAIL_TO_COMMIT = """
import asyncio, os, resource, sys
from kvik_sqlite import SQLite, SQLiteError

async def main(path):
    async with SQLite(path) as db:
        await db.set("before", "value")
        size = os.stat(path + "-wal").st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10_000, resource.RLIM_INFINITY))
        results = await asyncio.gather(
            *[db.set(f"during-{number}", "x" * 100_000) for number in range(3)], return_exceptions=True
        )
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for error in results:
            print(error.code, error.outcome)
        await db.set("after", "value")

asyncio.run(main(sys.argv[1]))
"""


@posix
async def test_a_commit_that_the_disk_fails_is_unknown(path: Path, start: Start) -> None:
    """When the disk fails during COMMIT the outcome is unknown; when it works again, so does the store."""
    assert finish(start(FAIL_TO_COMMIT, path)) == ["unavailable", "unknown"] * 3
    async with SQLite(path) as db:
        assert [await db.get("before"), await db.get("after")] == ["value", "value"]


FILL_THE_DISK = """
import asyncio, os, subprocess, sys
from kvik_sqlite import SQLite, SQLiteError

async def main(directory):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", directory], check=True)
    async with SQLite(directory + "/store.db") as db:
        await db.set("before", "value")
        small = [db.set(f"small-{number}", "value") for number in range(3)]
        results = await asyncio.gather(db.set("large", "x" * 1_000_000), *small, return_exceptions=True)
        print(results[0].code, results[0].outcome, *results[1:])
        print(await db.get("before"), await db.get("small-2"), await db.get("large"))

asyncio.run(main(sys.argv[1]))
"""


IN_ITS_OWN_MOUNTS = ("unshare", "--mount", "--map-root-user")


def may_mount() -> bool:
    """Tell whether this machine lets a test mount a small disk of its own."""
    if shutil.which("unshare") is None:
        return False
    attempt = [*IN_ITS_OWN_MOUNTS, "mount", "-t", "tmpfs", "none", tempfile.gettempdir()]
    return subprocess.run(attempt, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs Linux and the right to mount in a namespace of its own")
async def test_a_full_disk_fails_only_what_does_not_fit(tmp_path: Path, start: Start) -> None:
    """On a disk that is really full a large value is not applied, and small ones of its group are written."""
    expected = ["unavailable", "not_applied", "None", "None", "None", "value", "value", "None"]
    assert finish(start(FILL_THE_DISK, tmp_path, under=IN_ITS_OWN_MOUNTS)) == expected


OPEN_AS_NOBODY = """
import asyncio, os, sys
from kvik_sqlite import SQLite, SQLiteError

async def main(path):
    await asyncio.to_thread(int)  # imports what another user may not be able to read
    if os.geteuid() == 0:  # whom no permission binds
        os.seteuid(65534)
    try:
        await SQLite(path).connect()
    except SQLiteError as error:
        print(error.code, error.outcome)

asyncio.run(main(sys.argv[1]))
"""


@posix
async def test_a_file_that_may_not_be_written_is_told_at_connect(start: Start) -> None:
    """A file, or a directory, that this user may only read is `misconfigured`, at connect and not at a write."""
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which other users cannot even enter
        directory = Path(name)
        path = directory / "store.db"
        async with SQLite(path):
            pass
        path.chmod(0o444)
        directory.chmod(0o555)
        try:
            assert finish(start(OPEN_AS_NOBODY, path)) == ["misconfigured", "not_applied"]
            assert finish(start(OPEN_AS_NOBODY, directory / "new.db")) == ["misconfigured", "not_applied"]
        finally:
            directory.chmod(0o755)
        assert [file.name for file in directory.iterdir()] == ["store.db"]


WRITE_AS_MUCH_AS_POSSIBLE = """
import asyncio, sys, time
from kvik_sqlite import SQLite

async def main(path, name):
    async with SQLite(path, durability="normal") as db:
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.monotonic() + 1
        async def write(task):
            written = 0
            while time.monotonic() < end:
                await db.set(f"{name}-{task}-{written % 50}", "value")
                written += 1
            return written
        print(sum(await asyncio.gather(*[write(task) for task in range(8)])))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_write_share_the_lock(path: Path, start: Start) -> None:
    """Of two processes that write as much as they can, neither has a small part of the other's share."""
    processes = [start(WRITE_AS_MUCH_AS_POSSIBLE, path, str(number)) for number in range(2)]
    assert [hear(process) for process in processes] == ["ready"] * 2
    for process in processes:
        say(process)
    fewer, more = sorted(int(finish(process)[0]) for process in processes)
    assert more < 3 * fewer
