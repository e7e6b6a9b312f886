"""What the SQLite driver's tests share: a path, a connected store, and the file seen from outside."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kvik_sqlite import SQLite


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
