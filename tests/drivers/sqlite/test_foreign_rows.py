"""Rows that another program wrote, or the disk altered: no verb raises anything but a SQLiteError."""

import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from kvik_sqlite import SQLite, SQLiteError

Call: TypeAlias = Callable[[SQLite], Coroutine[Any, Any, object]]

READS: dict[str, Call] = {
    "get": lambda db: db.get("k"),
    "get_versioned": lambda db: db.get_versioned("k"),
    "get_many": lambda db: db.get_many(["k"]),
    "set_if": lambda db: db.set_if("k", "new", "version"),
    "set_if absent": lambda db: db.set_if("k", "new", None),
    "delete_if": lambda db: db.delete_if("k", "version"),
    "increment": lambda db: db.increment("k", 1),
    "scan": lambda db: db.scan("", None, 10),
}
EXPIRY = set(READS)  # what looks at the expiry: all
VERSION = {"get", "get_versioned", "set_if", "set_if absent", "delete_if"}
VALUE = set(READS) - {"scan"}

ALTERED: dict[str, tuple[str, set[str]]] = {
    "expiry of text": ("expires_at = 'soon'", EXPIRY),
    "expiry of bytes": ("expires_at = x'00'", EXPIRY),
    "version of text": ("version = 'first'", VERSION),
    "version of a number": ("version = 7", VERSION),
    "value of bytes": ("value = x'3132'", VALUE),
    "value not UTF-8": ("value = cast(x'ff31' AS TEXT)", VALUE - {"increment"}),
    "large value of bytes": ("value = zeroblob(100000)", VALUE),
    "large value not UTF-8": ("value = cast(zeroblob(100000) || x'ff' AS TEXT)", VALUE - {"increment"}),
    "key not UTF-8": ("key = x'6bff'", {"scan"}),
    "huge key": ("key = cast(x'6b' || zeroblob(100000) AS BLOB)", {"scan"}),
    "huge version": ("version = zeroblob(100000)", {"get_versioned", "get"}),
}


@pytest.mark.parametrize("altered", ALTERED)
async def test_a_row_of_another_program_is_corrupt(db: SQLite, outside: sqlite3.Connection, altered: str) -> None:
    """A key, value, version or expiry of another type than kvik's is `corrupt`; other verbs go on as ever."""
    assignment, concerned = ALTERED[altered]
    for name, call in READS.items():
        await db.set("k", "12")
        outside.execute(f"UPDATE kv SET {assignment}")  # noqa: S608 - the test's own literal
        try:
            await call(db)
        except SQLiteError as error:
            code, outcome = error.code, error.outcome
            assert outcome == "not_applied"
            assert (code == "corrupt") or (name not in concerned and code in {"conflict", "invalid_value"}), name
        else:
            assert name not in concerned
        outside.execute("DELETE FROM kv")


async def test_a_row_without_a_loop_in_between_is_corrupt(db: SQLite, outside: sqlite3.Connection) -> None:
    """A row that is read at once, on the loop's own thread, is looked at as closely."""
    await db.set("k", "value")
    assert [await db.get("k"), await db.get("k")] == ["value", "value"]
    outside.execute("UPDATE kv SET expires_at = 'soon'")
    for call in (db.get("k"), db.get_versioned("k")):
        with pytest.raises(SQLiteError, match="version or expiry") as caught:
            await call
        assert caught.value.code == "corrupt"
