"""The file: what is persisted, and which files are refused."""

# ruff: noqa: ASYNC240 - a test may wait for its files

import hashlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from kvik_sqlite import SQLite, SQLiteError
from kvik_sqlite._schema import _enter_wal


def make(path: Path, script: str) -> bytes:
    """Make a database by a script, not by kvik, and return the file's digest."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return digest(path)


def digest(path: Path) -> bytes:
    """Digest the file, so that a difference is seen."""
    return hashlib.sha256(path.read_bytes()).digest()


async def test_the_layout_is_pinned(db: SQLite, outside: sqlite3.Connection) -> None:
    """A row is no expiry, a version of 128 bits, key BLOB and value TEXT: files of today must stay valid."""
    await db.set("k\0é", "value")
    query = "SELECT key, value, typeof(version), length(version), expires_at FROM kv"
    assert outside.execute(query).fetchall() == [("k\0é".encode(), "value", "blob", 16, None)]
    columns = [column[1:4] for column in outside.execute("PRAGMA table_info(kv)")]
    assert columns == [("expires_at", "REAL", 0), ("version", "BLOB", 1), ("key", "BLOB", 1), ("value", "TEXT", 1)]


async def test_the_file_says_whose_it_is(db: SQLite, outside: sqlite3.Connection) -> None:
    """The header names kvik and the schema's version, and the journal is a WAL."""
    assert db
    (application_id,) = outside.execute("PRAGMA application_id").fetchone()
    assert application_id.to_bytes(4) == b"kvik"
    assert outside.execute("PRAGMA user_version").fetchone() == (2,)
    assert outside.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_every_write_makes_a_new_version(db: SQLite, outside: sqlite3.Connection) -> None:
    """Setting a key again, also to the same value, changes its version."""
    versions = set()
    for _ in range(3):
        await db.set("k", "same")
        versions.add(outside.execute("SELECT version FROM kv").fetchone()[0])
    assert len(versions) == 3


async def test_expires_at_is_honoured(db: SQLite, outside: sqlite3.Connection) -> None:
    """A row whose time has passed is missing; one whose time is to come is not."""
    await db.set("past", "value")
    await db.set("future", "value")
    outside.execute("UPDATE kv SET expires_at = ? WHERE key = x'70617374'", (time.time() - 1,))
    outside.execute("UPDATE kv SET expires_at = ? WHERE key != x'70617374'", (time.time() + 60,))
    assert [await db.get("past"), await db.get("future")] == [None, "value"]


async def test_set_clears_an_expiry(db: SQLite, outside: sqlite3.Connection) -> None:
    """A key that is set again lives for good."""
    await db.set("k", "old")
    outside.execute("UPDATE kv SET expires_at = 1")
    await db.set("k", "new")
    assert await db.get("k") == "new"


async def test_an_unknown_schema_version_is_refused(path: Path) -> None:
    """A file that a later kvik made is refused with both versions, and left as it is."""
    async with SQLite(path):
        pass
    before = make(path, "PRAGMA user_version = 3")
    with pytest.raises(SQLiteError, match=r"version 3 is unknown.*reads 2") as caught:
        await SQLite(path).connect()
    assert caught.value.code == "misconfigured"
    assert digest(path) == before


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE kv (key, value)",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 7",
        "PRAGMA journal_mode = WAL; CREATE TABLE theirs (a)",
    ],
)
async def test_a_strangers_database_is_refused_untouched(path: Path, script: str) -> None:
    """A database that is not kvik's is refused, and not a byte of it changes."""
    before = make(path, script)
    with pytest.raises(SQLiteError, match="belongs to another program") as caught:
        await SQLite(path).connect()
    assert caught.value.code == "misconfigured"
    assert digest(path) == before


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """A file of no bytes, as `touch` or an interrupted first open leaves it, is used."""
    path.touch()
    async with SQLite(path) as db:
        await db.set("k", "value")
        assert await db.get("k") == "value"


async def test_a_file_that_is_no_database_is_corrupt(path: Path) -> None:
    """A file of another kind is refused as no database, and left as it is."""
    path.write_text("Dear diary, " * 1000)
    before = digest(path)
    with pytest.raises(SQLiteError, match="no SQLite database") as caught:
        await SQLite(path).connect()
    assert caught.value.code == "corrupt"
    assert digest(path) == before


async def test_a_missing_directory_is_misconfigured(tmp_path: Path) -> None:
    """A missing directory is not made; the message names it and says what to do."""
    with pytest.raises(SQLiteError, match=r"directory .*nowhere does not exist; create it") as caught:
        await SQLite(tmp_path / "nowhere" / "store.db").connect()
    assert (caught.value.code, caught.value.retryable) == ("misconfigured", False)
    assert not (tmp_path / "nowhere").exists()


async def test_a_directory_in_place_of_the_file_is_misconfigured(tmp_path: Path) -> None:
    """A path that names a directory is refused."""
    with pytest.raises(SQLiteError, match="must name a file") as caught:
        await SQLite(tmp_path).connect()
    assert caught.value.code == "misconfigured"
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


async def test_a_name_that_the_file_system_refuses_is_misconfigured(tmp_path: Path) -> None:
    """An error of the operating system, not of SQLite, is translated too."""
    with pytest.raises(SQLiteError) as caught:
        await SQLite(tmp_path / ("x" * 300)).connect()
    assert caught.value.code == "misconfigured"


@pytest.mark.parametrize("name", ["with space.db", "per%20cent?mode=ro#.db", "file:store.db", "📦.db"])
async def test_any_file_name_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    """A path is a path, never a URI."""
    async with SQLite(tmp_path / name) as db:
        await db.set("k", "value")
    assert (tmp_path / name).exists()


async def test_a_relative_path_is_fixed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path belongs to the directory in which the driver was made, whatever happens before connect."""
    monkeypatch.chdir(tmp_path)
    store = SQLite("store.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with store:
        assert (tmp_path / "store.db").exists()


def test_a_place_without_wal_is_misconfigured(path: Path) -> None:
    """Where SQLite cannot use a WAL, as in memory or on some network file systems, that is said."""
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(SQLiteError, match="put the file on a local disk") as caught,
    ):
        _enter_wal(connection, path)
    assert caught.value.code == "misconfigured"


async def test_damage_is_told_as_corrupt(path: Path) -> None:
    """A file of which the inside was overwritten answers `corrupt`, never a wrong value or a missing key."""
    async with SQLite(path) as db:
        for number in range(200):
            await db.set(f"key {number}", "value" * 100)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    async with SQLite(path) as db:
        for call in (db.get("key 1"), db.set("key 1", "value")):
            with pytest.raises(SQLiteError, match="restore it from a backup") as caught:
                await call
            assert (caught.value.code, caught.value.outcome) == ("corrupt", "not_applied")


async def test_damage_to_the_schema_is_told_at_connect(path: Path) -> None:
    """A flipped bit anywhere in the schema's text is a SQLiteError; none leaves a store that fails later."""
    async with SQLite(path) as db:
        await db.set("k", "value")
    sound = path.read_bytes()
    start = sound.index(b"CREATE TABLE kv (")
    for place in range(start, start + 300, 7):
        for bit in (1, 128):
            path.write_bytes(sound[:place] + bytes([sound[place] ^ bit]) + sound[place + 1 :])
            await open_damaged(path)


async def open_damaged(path: Path) -> None:
    """Open a file whose schema's text is damaged, unless that is in a comment, where it does no harm."""
    db = SQLite(path)
    try:
        async with db:
            assert await db.get("k") == "value"
            await db.set("k", "value")
    except SQLiteError as error:
        code, health = error.code, await db.health_check()
        assert (code in {"corrupt", "misconfigured"}, health["status"]) == (True, "DOWN")
