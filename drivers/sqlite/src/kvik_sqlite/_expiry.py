"""Removing what has expired: a few rows with each commit, found by the index on their expiry.

Without writes nothing is removed; but nothing grows then either, and readers do not see an expired row anyway.
"""

import sqlite3
import time

# One statement's worth; between two of them the clock is looked at, as a row may be of any size.
_FEW = 8
_REMOVE = f"DELETE FROM kv WHERE rowid IN (SELECT rowid FROM kv WHERE expires_at <= ? LIMIT {_FEW})"  # noqa: S608 - a constant


def remove_expired(connection: sqlite3.Connection, now: float, seconds: float) -> None:
    """Remove rows that have expired by `now`, for about `seconds` at most."""
    until = time.monotonic() + seconds
    while connection.execute(_REMOVE, (now,)).rowcount == _FEW and time.monotonic() < until:
        pass
