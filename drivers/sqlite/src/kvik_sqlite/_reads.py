"""Reading one key or many, as functions of a connection.

Keys are UTF-8 in a BLOB, because SQLite's text functions stop at NUL. A connection that reads is limited to
SMALL_BYTES of a value: SQLite sees the size in the row's header and refuses a larger one before it loads any of
it. Large values are then read in pieces, as copying one at once would keep the interpreter's lock, and with it
the event loop, for many milliseconds.
"""

import sqlite3
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from ._errors import NotTextError, Versioned

Clock: TypeAlias = Callable[[], float]

SMALL_BYTES = 64 * 1024  # 16 pages
_PIECE_BYTES = 512 * 1024
_BREATH = 0.0001  # seconds: long enough for the loop to wake up and take the interpreter's lock

# The value comes first, and the expiry is not in WHERE: its column lies behind the value, so that asking for it
# would walk through the whole of a large one.
# The key is given as a bytearray: for bytes the sqlite3 module looks for an adapter each time, in vain.
_VALUE = "SELECT value, expires_at FROM kv WHERE key = ?"
_ENTRY = "SELECT value, expires_at, version FROM kv WHERE key = ?"
_ABOUT_ENTRY = "SELECT rowid, typeof(value), version, expires_at FROM kv WHERE key = ?"


def refuse_large_values(connection: sqlite3.Connection) -> None:
    """Make the connection raise sqlite3.DataError in place of a value larger than SMALL_BYTES."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SMALL_BYTES)


def is_live(expires_at: float | None, clock: Clock) -> bool:
    """Tell whether a row is there for its readers."""
    return expires_at is None or expires_at > clock()


def small_value(cursor: sqlite3.Cursor, key: bytes, clock: Clock) -> str | None:
    """Return the value of a live key, or None; sqlite3.DataError where it is large."""
    row = cursor.execute(_VALUE, (bytearray(key),)).fetchone()
    if row is None or not is_live(row[1], clock):
        return None
    return _text(row[0])


def small_entry(cursor: sqlite3.Cursor, key: bytes, clock: Clock) -> Versioned | None:
    """Return value, version and expiry of a live key, or None; sqlite3.DataError where the value is large."""
    row = cursor.execute(_ENTRY, (bytearray(key),)).fetchone()
    if row is None or not is_live(row[1], clock):
        return None
    value, expires_at, version = row
    return _text(value), version.hex(), expires_at


def value(connection: sqlite3.Connection, key: bytes, clock: Clock) -> str | None:
    """Return the value of a live key, or None; it may be of any size."""
    found = entry(connection, key, clock)
    return None if found is None else found[0]


def entry(connection: sqlite3.Connection, key: bytes, clock: Clock) -> Versioned | None:
    """Return value, version and expiry of a live key, or None; the value may be of any size."""
    try:
        return small_entry(connection.cursor(), key, clock)
    except sqlite3.DataError:
        with _one_state(connection):
            return entry_in_pieces(connection, key, clock)


def entry_in_pieces(connection: sqlite3.Connection, key: bytes, clock: Clock) -> Versioned | None:
    """Return the same inside a transaction that is open already."""
    row = connection.execute(_ABOUT_ENTRY, (key,)).fetchone()
    if row is None:
        return None
    rowid, kind, version, expires_at = row
    if not is_live(expires_at, clock):
        return None
    if kind != "text":
        raise NotTextError
    return _value_in_pieces(connection, rowid), version.hex(), expires_at


def values(connection: sqlite3.Connection, keys: Sequence[bytes], clock: Clock) -> dict[str, str]:
    """Return the values of those keys that are live."""
    marks = ", ".join("?" * len(keys))
    query = f"SELECT key, value, expires_at FROM kv WHERE key IN ({marks})"  # noqa: S608 - question marks only
    try:
        rows = connection.execute(query, keys).fetchall()
    except sqlite3.DataError:  # one is large
        found = {key: entry(connection, key, clock) for key in keys}
        return {key.decode(): each[0] for key, each in found.items() if each}
    if not all(isinstance(value, str) for _, value, _ in rows):
        raise NotTextError
    return {key.decode(): value for key, value, expires_at in rows if is_live(expires_at, clock)}


def probe(connection: sqlite3.Connection, path: Path) -> dict[str, str | int]:
    """Read from the file itself, and return its journal mode and its size in bytes, without the WAL's."""
    connection.execute("PRAGMA shrink_memory")  # or the answer would come from the page cache
    connection.execute("SELECT 1 FROM kv LIMIT 1").fetchone()
    (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return {"journal_mode": journal_mode, "size": path.stat().st_size}  # stat fails if the file was removed


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotTextError
    return value


@contextmanager
def _one_state(connection: sqlite3.Connection) -> Iterator[None]:
    """See one state of the file: a row's number may be another key's a moment later."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _value_in_pieces(connection: sqlite3.Connection, rowid: int) -> str:
    decoder = getincrementaldecoder("utf-8")()
    value = ""
    with connection.blobopen("kv", "value", rowid, readonly=True) as blob:
        while piece := blob.read(_PIECE_BYTES):
            value += decoder.decode(piece)  # in place, for nobody else holds the text: no copy of it all
            time.sleep(_BREATH)
    return value + decoder.decode(b"", final=True)
