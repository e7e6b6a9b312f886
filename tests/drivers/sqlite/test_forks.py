"""Forks: what a child of a process with an open store may do, and what is refused."""

import subprocess  # noqa: TC003 - as everywhere here: imports are not split by use
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from kvik_sqlite import SQLite

Start: TypeAlias = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the fork of POSIX")

COMMON = """
import asyncio, gc, os, sys, threading, warnings
from pathlib import Path
from kvik_sqlite import SQLite, SQLiteError

warnings.simplefilter("ignore")  # Python 3.12 warns of a fork where there are threads

def attempt(path):
    async def main():
        async with SQLite(path) as db:
            await db.set("child", str(path))
    try:
        asyncio.run(main())
    except SQLiteError as error:
        says_what_to_do = "spawn" in str(error) and "after the fork" in str(error)
        os.write(1, f"{error.code}:{error.outcome}:{says_what_to_do}\\n".encode())
    else:
        os.write(1, b"connected\\n")

def in_child(function, *arguments):
    if (child := os.fork()) == 0:
        function(*arguments)
        os._exit(0)
    os.waitpid(child, 0)

loop = asyncio.new_event_loop()
path = Path(sys.argv[1])
"""


def lines(process: "subprocess.Popen[str]") -> list[str]:
    """Wait for a good end of the process, and return what it said."""
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    return out.splitlines()


REFUSED = "misconfigured:not_applied:True"

ANOTHER_STORE = """
db = SQLite(path)
loop.run_until_complete(db.connect())
directory = path.parent
(directory / "symbolic.db").symlink_to(path)
os.link(path, directory / "hard.db")
(directory / "folder").mkdir()
(directory / "link").symlink_to(directory)
os.chdir(directory)
for other in (path, "store.db", "./folder/../store.db", "link/store.db", "symbolic.db", "hard.db"):
    in_child(attempt, other)
in_child(in_child, attempt, path)  # a grandchild
in_child(attempt, "another.db")
loop.run_until_complete(db.set("parent", "value"))
loop.run_until_complete(db.close())
"""


async def test_a_child_may_not_connect_another_store_to_the_file(path: Path, start: Start) -> None:
    """A child is refused the file that its parent had open, by whatever path, and free to open others."""
    assert lines(start(COMMON + ANOTHER_STORE, path)) == [REFUSED] * 7 + ["connected"]
    async with SQLite(path) as db:
        assert await db.scan("", None, 10) == (["parent"], None)


AFTER_THE_PARENTS_CLOSE = """
db = SQLite(path)
loop.run_until_complete(db.connect())
read, write = os.pipe()
if (child := os.fork()) == 0:
    os.read(read, 1)
    attempt(path)
    os._exit(0)
loop.run_until_complete(db.close())
os.write(write, b"x")
os.waitpid(child, 0)
in_child(attempt, path)  # nothing is open now
"""


async def test_a_child_that_was_forked_from_an_open_store_is_refused_for_good(path: Path, start: Start) -> None:
    """What the child inherited stays when the parent closes; a child of a process that has closed may connect."""
    assert lines(start(COMMON + AFTER_THE_PARENTS_CLOSE, path)) == [REFUSED, "connected"]


FORK_FIRST = """
db = SQLite(path)
def use():
    child_loop = asyncio.new_event_loop()
    child_loop.run_until_complete(db.connect())
    child_loop.run_until_complete(db.set(str(os.getpid()), "value"))
    child_loop.run_until_complete(db.close())
    os.write(1, b"written\\n")

for _ in range(3):
    in_child(use)
"""


async def test_a_store_that_is_connected_after_the_fork_works(path: Path, start: Start) -> None:
    """Workers that are forked before anything is connected each connect the store that they inherited."""
    assert lines(start(COMMON + FORK_FIRST, path)) == ["written"] * 3
    async with SQLite(path) as db:
        assert len((await db.scan("", None, 10))[0]) == 3


DROP_WHAT_WAS_INHERITED = """
db = SQLite(path)
loop.run_until_complete(db.connect())
loop.run_until_complete(db.set("before", "value"))

def drop():
    global db
    del db
    gc.collect()

in_child(drop)
loop.run_until_complete(db.set("after", "value"))
print(loop.run_until_complete(db.health_check())["status"], flush=True)
os._exit(0)  # nothing is closed
"""


async def test_a_child_that_drops_the_store_does_not_close_it(path: Path, start: Start) -> None:
    """A child whose collector meets the parent's store leaves its file, WAL and locks alone."""
    assert lines(start(COMMON + DROP_WHAT_WAS_INHERITED, path)) == ["UP"]
    async with SQLite(path) as db:
        assert await db.get_many(["before", "after"]) == {"before": "value", "after": "value"}


FORK_WHILE_A_THREAD_CONNECTS = """
db = SQLite(path, busy_timeout=0.5)
import fcntl, time
directory = os.open(path.parent, os.O_RDONLY)
fcntl.flock(directory, fcntl.LOCK_EX)  # connect() waits for this, holding locks of its own
thread = threading.Thread(target=lambda: asyncio.run(db.connect()))
threading.excepthook = lambda _: None
thread.start()
while not path.exists():  # from then on connect() holds a lock, and a little later it has the file open
    pass
time.sleep(float(sys.argv[2]))

def use():
    try:
        asyncio.run(db.connect())
    except SQLiteError as error:
        os.write(1, f"{error.code}\\n".encode())
    asyncio.run(db.close())
    os.write(1, b"closed\\n")

in_child(use)
thread.join()
"""


@pytest.mark.parametrize("seconds", ["0", "0.1"])
async def test_a_fork_while_another_thread_connects_leaves_no_lock_behind(
    path: Path, start: Start, seconds: str
) -> None:
    """A child that is forked amid a connect does not wait for ever; once the file is open it is refused."""
    said = lines(start(COMMON + FORK_WHILE_A_THREAD_CONNECTS, path, seconds, measured=False))
    assert said[-1] == "closed"
    if seconds != "0":
        assert said == ["misconfigured", "closed"]
