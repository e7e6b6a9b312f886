"""The file: how a connection to it is opened, and how the first one makes it ours.

What is persisted, for good: `application_id` says that the file is a kvik store, `user_version` which layout
it has. A file with other tables, or from a later kvik, is refused and left as it is; one of an earlier layout is
rewritten when it is opened, in one transaction.
"""

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from ._directory_lock import directory_lock
from ._errors import SQLiteError, primary_code
from ._forks import FileId, this_process
from ._reads import decode

Durability: TypeAlias = Literal["full", "normal"]

APPLICATION_ID = int.from_bytes(b"kvik")
SCHEMA_VERSION = 2

# Not WITHOUT ROWID: by SQLite's advice that is for rows far smaller than a page; values are of any size.
# The value comes last, because reading a column means walking through all of the row that lies before it.
_TABLE = """
    CREATE TABLE kv (
        expires_at REAL,                -- seconds since the epoch, or NULL
        version BLOB NOT NULL,          -- 128 random bits, new at every write
        key BLOB NOT NULL PRIMARY KEY,  -- UTF-8
        value TEXT NOT NULL
    )
    """
_INDEX = "CREATE INDEX kv_expires_at ON kv (expires_at) WHERE expires_at IS NOT NULL"
_SET_VERSION = f"PRAGMA user_version = {SCHEMA_VERSION}"
_CHECK = "SELECT expires_at, version, key, value FROM kv LIMIT 0"

# What makes each layout the current one: 0 is an empty file; in 1 the value came before version and expiry.
_UPGRADES = {
    0: (_TABLE, _INDEX, f"PRAGMA application_id = {APPLICATION_ID}"),
    1: (
        "ALTER TABLE kv RENAME TO kv_1",
        "DROP INDEX kv_expires_at",
        _TABLE,
        "INSERT INTO kv (key, value, version, expires_at) SELECT key, value, version, expires_at FROM kv_1",
        "DROP TABLE kv_1",
        _INDEX,
    ),
    SCHEMA_VERSION: (),
}

_RETRY_SECONDS = 0.01


def open_connection(path: Path, durability: Durability, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection in autocommit, which waits for a lock at most `busy_timeout` seconds."""
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,  # opened in one thread, then used by one other
    )
    connection.text_factory = decode  # the default puts the value into its error's text
    try:
        connection.execute(f"PRAGMA synchronous = {durability}")
        # Some builds of SQLite zero each page that becomes free, which makes deleting as slow as writing.
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute(f"PRAGMA fullfsync = {durability == 'full'}")  # macOS: past the drive's cache as well
    except BaseException:
        connection.close()
        raise
    return connection


def close_connection(connection: sqlite3.Connection) -> None:
    """Close a connection, while no other one of this process closes."""
    with this_process.closing:
        connection.close()


def create(path: Path) -> None:
    """Make an empty file if there is none; raise where the path names no file and none can be made.

    So it can be told from others before SQLite opens it.
    """
    if "\0" in str(path) or not _can_be_encoded(path):
        raise SQLiteError(f"{str(path)!a}: no file can have this name; give another path", code="misconfigured")
    if not path.parent.is_dir():
        raise SQLiteError(
            f"{path}: the directory {path.parent} does not exist; create it, or give another path",
            code="misconfigured",
        )
    target = Path(os.path.realpath(path))
    with suppress(FileExistsError):
        target.touch(0o644, exist_ok=False)
    if not (target.is_file() or target.is_dir()):  # SQLite itself refuses the latter
        raise SQLiteError(f"{path}: this is a device or a pipe; the path must name a file", code="misconfigured")


def _can_be_encoded(path: Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def files_in_use(connection: sqlite3.Connection, path: Path) -> Mapping[Path, FileId]:
    """Return the files that the connection works on: the database, the WAL and the WAL's index."""
    connection.execute("PRAGMA user_version").fetchone()  # SQLite opens the latter when it first reads
    beside = os.path.realpath(path)
    return {each: FileId.of(each) for each in (path, Path(f"{beside}-wal"), Path(f"{beside}-shm"))}


def prepare(path: Path, durability: Durability, busy_timeout: float) -> None:
    """Make a store of an empty file, and refuse one that is not ours; several processes may do so at once.

    Without the directory's lock, processes that open a new file at the same moment collide: switching to WAL
    answers "locked" at once, whatever the busy timeout. The retry is for those that hold no such lock.
    """
    deadline = time.monotonic() + busy_timeout
    with directory_lock(path.parent, deadline):
        while True:
            try:
                with closing(open_connection(path, durability, 0)) as connection:
                    _make_current(connection, path)
                    _enter_wal(connection, path)
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return


def _make_current(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the current layout; raise where it may only be read, which BEGIN alone does not."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        upgrade = _upgrade(connection, path)
        for statement in upgrade:
            connection.execute(statement)
        connection.execute(_SET_VERSION)  # a write, also where it changes nothing
        connection.execute(_CHECK)
        connection.execute("COMMIT" if upgrade else "ROLLBACK")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _upgrade(connection: sqlite3.Connection, path: Path) -> Sequence[str]:
    """Return the statements that bring the file to the current layout; raise if it is not a file of ours."""
    application_id, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application_id != APPLICATION_ID and (application_id, version, tables) != (0, 0, 0):
        raise SQLiteError(
            f"{path}: this database belongs to another program, and was left as it is; give another path",
            code="misconfigured",
        )
    if version not in _UPGRADES or (version == 0 and tables):
        raise SQLiteError(
            f"{path}: schema version {version} is unknown, this kvik-sqlite reads {SCHEMA_VERSION} and earlier; "
            "use the kvik-sqlite that made the file, or a newer one",
            code="misconfigured",
        )
    return _UPGRADES[version]


def _enter_wal(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise SQLiteError(
            f"{path}: SQLite cannot use WAL here (journal mode {mode}); put the file on a local disk",
            code="misconfigured",
        )
