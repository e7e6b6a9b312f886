"""Writing one key, as functions of a connection.

Each runs inside the transaction that the writer has opened, so it may read first and decide; and it may run a
second time, when the first was rolled back.
"""

import secrets
import sqlite3

from ._errors import SQLiteError
from ._limits import Value
from ._reads import Clock, is_live, live_row_in_pieces, version_text, versioned

_PUT = """
INSERT INTO kv (key, value, version, expires_at) VALUES (?, cast(? AS TEXT), ?, ?)
ON CONFLICT (key) DO UPDATE
SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
"""
_REMOVE = "DELETE FROM kv WHERE key = ?"
_VERSION = "SELECT version, expires_at FROM kv WHERE key = ?"


def put(connection: sqlite3.Connection, key: bytes, value: Value, expires_at: float | None = None) -> str:
    """Create or replace a key, and return its new version."""
    version = new_version()
    connection.execute(_PUT, (key, value, version, expires_at))
    return version.hex()


def put_if(
    connection: sqlite3.Connection,
    key: bytes,
    value: Value,
    *,
    version: str | None,
    expires_at: float | None,
    clock: Clock,
) -> str:
    """Do the same if the key has this version, or with None if it is not there; else raise `conflict`."""
    _demand(connection, key, version, clock)
    return put(connection, key, value, expires_at)


def remove(connection: sqlite3.Connection, key: bytes) -> None:
    """Delete a key if it is there."""
    connection.execute(_REMOVE, (key,))


def remove_if(connection: sqlite3.Connection, key: bytes, version: str, clock: Clock) -> None:
    """Delete a key if it has this version; else, also if it is not there, raise `conflict`."""
    _demand(connection, key, version, clock)
    remove(connection, key)


def new_version() -> bytes:
    """Return 128 random bits: unlike a counter, they name one write even in a file restored from a backup."""
    return secrets.token_bytes(16)


def _demand(connection: sqlite3.Connection, key: bytes, wanted: str | None, clock: Clock) -> None:
    row = connection.execute(_VERSION, (key,)).fetchone()
    # As text: a version that this store never made is not equal, whatever it looks like.
    found = version_text(row[0]) if row is not None and is_live(row[1], clock) else None
    if found != wanted:
        raise SQLiteError(
            "the key is there already" if wanted is None else "the key does not have this version",
            code="conflict",
            current=versioned(live_row_in_pieces(connection, key, clock)),
        )
