"""Listing keys in the order of their bytes, a page at a time.

A cursor is the last key that was looked at: it needs nothing kept in memory, and is good after a restart.
"""

import base64
import sqlite3

from ._errors import SQLiteError
from ._limits import encode_text
from ._reads import Clock, decode, is_live

# One lower bound: SQLite seeks to the first that it meets, and would check each row against a second.
_PAGE = "SELECT key, expires_at FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_MOST = 1000  # rows of a page, however many were asked for
_BEHIND_ALL = b"\xff"  # no UTF-8 begins with it

Page = tuple[list[str], str | None]


def page(connection: sqlite3.Connection, *, prefix: bytes, after: bytes, limit: int, clock: Clock) -> Page:
    """Return the live keys among the next rows, and the cursor to go on with, or None at the end.

    Rows are counted before the expired ones are left out, so that a page costs no more where there are many.
    """
    most = min(limit, _MOST)
    start = after + b"\0" if after else prefix  # the first bytes behind a key are the same with a NUL
    rows = connection.execute(_PAGE, (start, _end(prefix), most)).fetchall()
    keys = [decode(key) for key, expires_at in rows if is_live(expires_at, clock)]
    return keys, encode_cursor(rows[-1][0]) if len(rows) == most else None


def encode_prefix(prefix: object) -> bytes:
    """Return the prefix's UTF-8; raise `invalid_key` for one that no key could begin with."""
    return encode_text(prefix, "prefix", "invalid_key")


def encode_cursor(key: bytes) -> str:
    """Return the cursor that goes on after this key."""
    return base64.urlsafe_b64encode(key).decode()


def decode_cursor(cursor: str | None, prefix: bytes) -> bytes:
    """Return the key to go on after; raise `invalid_value` for what no scan of this prefix has returned."""
    if cursor is None:
        return b""  # before every key
    try:
        key = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except (AttributeError, ValueError):  # of what is no str, and of what is no base64
        key = b""
    if not key or not key.startswith(prefix):
        raise SQLiteError(
            "this cursor is none that a scan of this prefix has returned; begin again without one",
            code="invalid_value",
        )
    return key


def _end(prefix: bytes) -> bytes:
    """Return the first bytes behind all that begins with the prefix; UTF-8 has no byte 255, so +1 is one too."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else _BEHIND_ALL
