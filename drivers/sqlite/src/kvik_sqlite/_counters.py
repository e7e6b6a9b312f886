"""Counting: a number is stored as its text, read and written like any other value.

Parsed here, not by SQL: there `cast('abc' as integer) + 1` is 1, and what overflows becomes a float.
"""

import re
import sqlite3
from typing import Final

from ._errors import NotTextError, SQLiteError, SQLiteTypeError
from ._reads import Clock, is_live
from ._writes import new_version, put

INTEGERS: Final = range(-(2**63), 2**63)  # signed 64 bits

_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")

# One byte more than the longest number has, whatever the value's size. Bytes: substr() of a text stops at NUL.
_READ = "SELECT typeof(value), substr(cast(value AS BLOB), 1, 21), expires_at FROM kv WHERE key = ?"
_UPDATE = "UPDATE kv SET value = ?, version = ? WHERE key = ?"


def increment(connection: sqlite3.Connection, key: bytes, delta: int, clock: Clock) -> int:
    """Add to a number and return the sum; keep its expiry. A key that is not there counts as 0.

    Raise `invalid_value` if what is there is no number, or if the sum needs more than signed 64 bits.
    """
    row = connection.execute(_READ, (key,)).fetchone()
    if row is None or not is_live(row[2], clock):
        put(connection, key, str(delta))
        return delta
    if row[0] != "text":
        raise NotTextError
    text = row[1] or b""  # of nothing, substr() makes NULL
    total = check_integer(_parse(text) + delta, "the sum")
    connection.execute(_UPDATE, (str(total), new_version(), key))
    return total


def check_integer(number: object, what: str) -> int:
    """Return the number; raise `invalid_value` unless it is an int of signed 64 bits."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise SQLiteTypeError(f"{what} must be int, not {type(number).__name__}", code="invalid_value")
    if number not in INTEGERS:
        raise SQLiteError(f"{what} needs more than signed 64 bits", code="invalid_value")
    return number


def _parse(text: bytes) -> int:
    if not _NUMBER.fullmatch(text):
        raise SQLiteError("the stored value is no decimal number, so it cannot count", code="invalid_value")
    return check_integer(int(text), "the stored number")
