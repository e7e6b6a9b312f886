"""What the SQLite driver's tests share: a path, a store, a clock, the file from outside, other processes."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from kvik_sqlite import SQLite

Process: TypeAlias = "subprocess.Popen[str]"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a database that is not there yet."""
    return tmp_path / "store.db"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[SQLite]:
    """Give a connected store over a new file, which waits for a lock for a short time only."""
    async with SQLite(path, busy_timeout=0.2) as store:
        yield store


@pytest.fixture
def outside(db: SQLite, path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to the file of `db` that is not kvik's."""
    assert db
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        yield connection


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(db: SQLite) -> Clock:
    """Give `db` a clock of its own, after it was connected."""
    clock = Clock()
    db.clock = clock
    return clock


@pytest.fixture
def refuse(outside: sqlite3.Connection) -> Callable[[str], None]:
    """Give a function that makes SQLite refuse every write of a key."""

    def refuse(key: str) -> None:
        outside.execute(
            f"CREATE TRIGGER refusal_{key} BEFORE INSERT ON kv WHEN new.key = x'{key.encode().hex()}' "
            "BEGIN SELECT raise(ABORT, 'refused'); END"
        )

    return refuse


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Return a function that starts Python on a program's text; what still runs at the end is killed.

    With `measured=False` its coverage is not measured: that takes locks, which a fork may leave held.
    """
    started: list[Process] = []

    def start(program: str, *arguments: str | Path, under: tuple[str, ...] = (), measured: bool = True) -> Process:
        environment = {name: value for name, value in os.environ.items() if measured or "COVERAGE" not in name}
        process = subprocess.Popen(
            [*under, sys.executable, "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # a group of its own: what it has forked is killed with it
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        with contextlib.suppress(ProcessLookupError, AttributeError):  # nothing is left; Windows
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
