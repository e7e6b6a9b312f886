"""The SQL of each operation, as a function of a connection.

Keys are UTF-8 in a BLOB, because SQLite's text functions stop at NUL. A write runs inside the transaction
that the writer has opened, so it may read first and decide.
"""

import secrets
import sqlite3
import time
from pathlib import Path

from ._errors import NotTextError

_GET = "SELECT value FROM kv WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"
_PUT = """
INSERT INTO kv (key, value, version) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version, expires_at = NULL
"""
_REMOVE = "DELETE FROM kv WHERE key = ?"


def get(connection: sqlite3.Connection, key: bytes) -> str | None:
    """Return the live value of a key, or None."""
    row = connection.execute(_GET, (key, time.time())).fetchone()
    if row is None:
        return None
    if not isinstance(row[0], str):
        raise NotTextError
    return row[0]


def put(connection: sqlite3.Connection, key: bytes, value: str) -> None:
    """Create or replace a key, under a new version and without an expiry."""
    connection.execute(_PUT, (key, value, new_version()))


def remove(connection: sqlite3.Connection, key: bytes) -> None:
    """Delete a key if it is there."""
    connection.execute(_REMOVE, (key,))


def probe(connection: sqlite3.Connection, path: Path) -> dict[str, str | int]:
    """Read from the file itself, and return its journal mode and its size in bytes, without the WAL's."""
    connection.execute("PRAGMA shrink_memory")  # or the answer would come from the page cache
    connection.execute("SELECT 1 FROM kv LIMIT 1").fetchone()
    (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return {"journal_mode": journal_mode, "size": path.stat().st_size}  # stat fails if the file was removed


def new_version() -> bytes:
    """Return 128 random bits: unlike a counter, they name one write even in a file restored from a backup."""
    return secrets.token_bytes(16)
