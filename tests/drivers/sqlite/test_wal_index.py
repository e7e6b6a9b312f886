"""The WAL-index header: where it is found, where not, and that it is let go before it is gone."""

import ctypes
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from subprocess import Popen

import pytest

from kvik_sqlite import SQLite
from kvik_sqlite._wal_index import view_header

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the header is looked for on Linux only")


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to a new file with a WAL."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE kv (key, value)")
        yield connection


@pytest.fixture
def maps(connection: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a file that is read in place of the kernel's, at first with the same text."""
    connection.execute("SELECT * FROM kv").fetchall()
    maps = tmp_path / "maps"
    maps.write_bytes(Path("/proc/self/maps").read_bytes())
    monkeypatch.setattr("kvik_sqlite._wal_index._MAPS", maps)
    return maps


def test_the_header_changes_with_each_commit_alone(connection: sqlite3.Connection, path: Path) -> None:
    """Reads leave the header as it is; each commit, of either connection, makes it one that never was."""
    read_header = view_header(connection)
    assert read_header is not None
    seen = {read_header()}
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for number in range(1, 200):
            (connection, other)[number % 2].execute("INSERT INTO kv VALUES (?, 'value')", (number,))
            seen.add(read_header())
            (other, connection)[number % 2].execute("SELECT * FROM kv").fetchall()
            seen.add(read_header())
            assert len(seen) == 1 + number


def test_a_checkpoint_leaves_or_changes_the_header(connection: sqlite3.Connection) -> None:
    """Through checkpoints of each kind the header stays one, and goes on to change with each commit."""
    read_header = view_header(connection)
    assert read_header is not None
    seen = {read_header()}
    for number, kind in enumerate(["PASSIVE", "FULL", "RESTART", "TRUNCATE"] * 5, start=1):
        connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()
        between = read_header()
        connection.execute("INSERT INTO kv VALUES (?, 'value')", (number,))
        assert read_header() not in seen | {between}
        seen |= {between, read_header()}


@pytest.fixture
def mapping(maps: Path, path: Path) -> bytes:
    """Give the line of the header's mapping."""
    (line,) = [line for line in maps.read_bytes().splitlines() if line.endswith(b" %s-shm" % os.fsencode(path))]
    return line


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line + b" (deleted)",
        lambda line: line.replace(b"rw-s", b"rw-p"),
        lambda line: line.replace(b" 00000000 ", b" 00008000 "),
        lambda line: line + b"\n" + line,
        lambda line: line.replace(b"store.db", b"/store.db"),
        lambda line: line.replace(b"store.db", b"store\\012db"),
    ],
    ids=["deleted", "private", "another part", "twice", "another path", "escaped"],
)
def test_another_mapping_is_none(
    connection: sqlite3.Connection, maps: Path, mapping: bytes, change: Callable[[bytes], bytes]
) -> None:
    """What is not, beyond doubt, where SQLite has this file's header is not looked at."""
    assert view_header(connection) is not None
    maps.write_bytes(maps.read_bytes().replace(mapping, change(mapping)))
    assert view_header(connection) is None


@pytest.mark.parametrize("place", [0, 12, 47, 48, 95])
def test_another_layout_is_none(connection: sqlite3.Connection, maps: Path, mapping: bytes, place: int) -> None:
    """An unknown version, a header that is not there yet, or copies that differ: nothing is looked at."""
    assert view_header(connection) is not None
    original = int(mapping.split(b"-")[0], 16)
    altered = bytearray(ctypes.string_at(original, 96))
    altered[place] ^= 2
    memory = (ctypes.c_char * 96).from_buffer(altered)
    address = b"%x-" % ctypes.addressof(memory)
    maps.write_bytes(maps.read_bytes().replace(b"%x-" % original, address))
    assert view_header(connection) is None


def test_no_wal_has_no_header(path: Path) -> None:
    """A database without a WAL has none."""
    with closing(sqlite3.connect(path)) as connection:
        assert view_header(connection) is None


@pytest.mark.parametrize("missing", ["maps", "ctypes"])
async def test_all_works_without_it(path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Where the kernel does not tell its mappings, or Python has no ctypes, every read asks SQLite."""
    if missing == "maps":
        monkeypatch.setattr("kvik_sqlite._wal_index._MAPS", path / "not there")
    else:
        monkeypatch.setitem(sys.modules, "ctypes", None)
    async with SQLite(path) as db:
        assert db._file._open.direct._cache is None  # type: ignore[union-attr] # noqa: SLF001 - nothing else tells
        for number in range(3):
            await db.set("k", str(number))
            assert [await db.get("k"), await db.get("k")] == [str(number)] * 2


WATCH_WHAT_IS_OPENED = """
import asyncio, sys
from kvik_sqlite import SQLite

def watch(event, arguments):
    if event in {"open", "os.open", "mmap.__new__"}:
        print(event, arguments[0])

async def main(path):
    async with SQLite(path) as db:
        await db.set("k", "value")
        assert [await db.get("k"), await db.get("k")] == ["value"] * 2

sys.addaudithook(watch)
asyncio.run(main(sys.argv[1]))
"""


async def test_no_descriptor_of_the_file_is_ours(path: Path, start: Callable[..., Popen[str]]) -> None:
    """Looking at the header opens nothing: closing a descriptor of that file would drop SQLite's locks."""
    process = start(WATCH_WHAT_IS_OPENED, path)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "open /proc/self/maps\n" in out
    assert "-shm" not in out
    assert "mmap" not in out
