"""Reading one key or many, as functions of a connection.

Keys are UTF-8 in a BLOB, because SQLite's text functions stop at NUL. A connection that reads is limited to
SMALL_BYTES of a value: SQLite sees the size in the row's header and refuses a larger one before it loads any of
it. Large values are then read in pieces, as copying one at once would keep the interpreter's lock, and with it
the event loop, for many milliseconds.
"""

import math
import os
import sqlite3
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from ._errors import NotTextError, SQLiteError, Versioned
from ._forks import FileId

Clock: TypeAlias = Callable[[], float]
Row: TypeAlias = tuple[str, float | None, bytes]  # value, when it expires, version

NO_ROW: Final[Row] = ("", -math.inf, b"")  # stands for one that is not there: it expired before all time

_EXPIRY: Final = (float, type(None))

SMALL_BYTES = 64 * 1024  # 16 pages
_PIECE_BYTES = 512 * 1024
_BREATH = 0.0001  # seconds: long enough for the loop to wake up and take the interpreter's lock

# The value comes first, so that a large one is refused before anything else is read.
# The key is given as a bytearray: for bytes the sqlite3 module looks for an adapter each time, in vain.
_ROW = "SELECT value, expires_at, version FROM kv WHERE key = ?"
_ABOUT_ROW = "SELECT rowid, typeof(value), version, expires_at FROM kv WHERE key = ?"


def refuse_large_values(connection: sqlite3.Connection) -> None:
    """Make the connection raise sqlite3.DataError in place of a value larger than SMALL_BYTES."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SMALL_BYTES)


def is_live(expires_at: float | None, clock: Clock) -> bool:
    """Tell whether a row is there for its readers; raise NotTextError for an expiry that is not a number."""
    if expires_at is None:
        return True
    if not isinstance(expires_at, float):
        raise NotTextError
    return expires_at > clock()


def decode(text: bytes) -> str:
    """Return the text of UTF-8; raise NotTextError, which unlike Python's own error does not hold the bytes."""
    try:
        return str(text, "utf-8")
    except UnicodeDecodeError:
        raise NotTextError from None


def small_row(cursor: sqlite3.Cursor, key: bytes) -> Row:
    """Return the row of a key, live or not, or NO_ROW; sqlite3.DataError where its value is large."""
    row: Row | None = cursor.execute(_ROW, (bytearray(key),)).fetchone()
    if row is None:
        return NO_ROW
    value, expires_at, version = row
    if not (isinstance(value, str) and isinstance(version, bytes) and isinstance(expires_at, _EXPIRY)):
        raise NotTextError
    return row


def live_row(connection: sqlite3.Connection, key: bytes, clock: Clock) -> Row:
    """Return the row of a live key, or NO_ROW; the value may be of any size."""
    try:
        row = small_row(connection.cursor(), key)
    except (sqlite3.DataError, NotTextError):
        with _one_state(connection):
            return live_row_in_pieces(connection, key, clock)
    return row if is_live(row[1], clock) else NO_ROW


def live_row_in_pieces(connection: sqlite3.Connection, key: bytes, clock: Clock) -> Row:
    """Return the same inside a transaction that is open already."""
    row = connection.execute(_ABOUT_ROW, (key,)).fetchone()
    if row is None:
        return NO_ROW
    rowid, kind, version, expires_at = row
    if not is_live(expires_at, clock):
        return NO_ROW
    if kind != "text" or not isinstance(version, bytes):
        raise NotTextError
    return _value_in_pieces(connection, rowid), expires_at, version


def versioned(row: Row) -> Versioned | None:
    """Return a row as the contract shows it, None for NO_ROW."""
    if row is NO_ROW:
        return None
    value, expires_at, version = row
    return value, version_text(version), expires_at


def version_text(version: object) -> str:
    """Return a stored version as the contract shows it; raise NotTextError for what this driver never stores."""
    if not isinstance(version, bytes):
        raise NotTextError
    return version.hex()


def values(connection: sqlite3.Connection, keys: Sequence[bytes], clock: Clock) -> dict[str, str]:
    """Return the values of those keys that are live."""
    marks = ", ".join("?" * len(keys))
    query = f"SELECT key, value, expires_at FROM kv WHERE key IN ({marks})"  # noqa: S608 - question marks only
    try:
        rows = connection.execute(query, keys).fetchall()
    except sqlite3.DataError:  # one is large
        found = {key: live_row(connection, key, clock) for key in keys}
        return {decode(key): each[0] for key, each in found.items() if each is not NO_ROW}
    if not all(isinstance(value, str) for _, value, _ in rows):
        raise NotTextError
    return {decode(key): value for key, value, expires_at in rows if is_live(expires_at, clock)}


def probe(connection: sqlite3.Connection, path: Path, files: Mapping[Path, FileId]) -> dict[str, str | int]:
    """Read from the file itself, and return its journal mode and its size in bytes, without the WAL's.

    Raise unless each of `files` is still at its path: SQLite goes on with what it has open, whatever others see.
    """
    connection.execute("PRAGMA shrink_memory")  # or the answer would come from the page cache
    connection.execute("SELECT 1 FROM kv LIMIT 1").fetchone()
    (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    for place, file in files.items():
        if not place.exists() or FileId.of(place) != file:
            raise SQLiteError(
                f"{place}: deleted, moved or replaced while it was open, so what is written here is lost "
                "to others; restart every process that uses the store",
                code="unavailable",
            )
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError("the file may not be written any more")
    return {"journal_mode": journal_mode, "size": path.stat().st_size}


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
        try:
            while piece := blob.read(_PIECE_BYTES):
                value += decoder.decode(piece)  # in place, for nobody else holds the text: no copy of it all
                time.sleep(_BREATH)
            return value + decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise NotTextError from None
