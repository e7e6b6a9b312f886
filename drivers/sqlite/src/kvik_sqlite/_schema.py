"""The file: how a connection to it is opened, and how the first one makes it ours.

What is persisted, for good: `application_id` says that the file is a kvik store, `user_version` which layout
it has. A file with other tables, or from a later kvik, is refused and left as it is.
"""

import sqlite3
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from ._directory_lock import directory_lock
from ._errors import SQLiteError, primary_code

Durability: TypeAlias = Literal["full", "normal"]

APPLICATION_ID = int.from_bytes(b"kvik")
SCHEMA_VERSION = 1

# Not WITHOUT ROWID: by SQLite's advice that is for rows far smaller than a page; values are of any size.
_SCHEMA = (
    """
    CREATE TABLE kv (
        key BLOB NOT NULL PRIMARY KEY,  -- UTF-8
        value TEXT NOT NULL,
        version BLOB NOT NULL,          -- 128 random bits, new at every write
        expires_at REAL                 -- seconds since the epoch, or NULL
    )
    """,
    "CREATE INDEX kv_expires_at ON kv (expires_at) WHERE expires_at IS NOT NULL",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_RETRY_SECONDS = 0.01

_closing = threading.Lock()


def open_connection(path: Path, durability: Durability, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection in autocommit, which waits for a lock at most `busy_timeout` seconds."""
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,  # opened in one thread, then used by one other
    )
    connection.text_factory = partial(str, encoding="utf-8")  # the default puts the value into its error's text
    try:
        connection.execute(f"PRAGMA synchronous = {durability}")
        connection.execute(f"PRAGMA fullfsync = {durability == 'full'}")  # macOS: past the drive's cache as well
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def close_connection(connection: sqlite3.Connection) -> None:
    """Close a connection, while no other one of this process closes.

    SQLite removes its WAL when the last one closes; two at the same time each take the other for the last.
    """
    with _closing:
        connection.close()


def prepare(path: Path, durability: Durability, busy_timeout: float) -> None:
    """Make the file if it is not there, and refuse one that is not ours; several processes may do so at once.

    Without the directory's lock, processes that open a new file at the same moment collide: switching to WAL
    answers "locked" at once, whatever the busy timeout. The retry is for those that hold no such lock.
    """
    if not path.parent.is_dir():
        raise SQLiteError(
            f"{path}: the directory {path.parent} does not exist; create it, or give another path",
            code="misconfigured",
        )
    deadline = time.monotonic() + busy_timeout
    with directory_lock(path.parent, deadline):
        while True:
            try:
                with closing(open_connection(path, durability, 0)) as connection:
                    _create_schema(connection, path)
                    _enter_wal(connection, path)
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return


def _create_schema(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")  # also proves that the file can be written
    try:
        if not _is_ours(connection, path):
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Tell a store of ours (True) from an empty file (False); raise for everything else."""
    application_id, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if (application_id, version, tables) == (0, 0, 0):
        return False
    if application_id != APPLICATION_ID:
        raise SQLiteError(
            f"{path}: this database belongs to another program, and was left as it is; give another path",
            code="misconfigured",
        )
    if version != SCHEMA_VERSION:
        raise SQLiteError(
            f"{path}: schema version {version} is unknown, this kvik-sqlite reads version {SCHEMA_VERSION}; "
            "use the kvik-sqlite that made the file, or a newer one",
            code="misconfigured",
        )
    return True


def _enter_wal(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise SQLiteError(
            f"{path}: SQLite cannot use WAL here (journal mode {mode}); put the file on a local disk",
            code="misconfigured",
        )
