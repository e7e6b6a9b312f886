"""The header of the WAL-index: 48 bytes that tell one committed state of the database from every other.

SQLite shares them between all processes that have the file open, in the `-shm` file beside it; its layout is part
of the file format (https://sqlite.org/walformat.html). Every commit, of any process, rewrites them before it is
acknowledged, and nobody sees what it wrote before: with a counter, the log's salts and checksums. A connection's
own page cache holds for as long as these bytes are those of its last read.

They are looked at where SQLite has mapped them. Opening the file would be fatal: when any descriptor of it is
closed, the kernel drops all locks that SQLite holds on it in this process.
"""

import os
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_MAPS: Final = Path("/proc/self/maps")  # Linux has it, others do not
_BYTES: Final = 48
_VERSION: Final = 3_007_000  # of the layout, in the machine's byte order; the same since 2010
_IS_INIT: Final = 12  # where the byte lies that is 1 once the header is there
_ATTEMPTS: Final = 100  # to meet the header while nobody rewrites it

_FILE = "SELECT cast(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"  # a path need not be UTF-8


def view_header(connection: sqlite3.Connection) -> Callable[[], bytes] | None:
    """Return a function that copies the header as it is now, or None where it cannot be found.

    Once `connection` is closed the function must not be called any more: it would crash the process.
    """
    connection.execute("PRAGMA user_version").fetchone()  # SQLite maps the header when it first reads
    address = _address_of(os.path.realpath(connection.execute(_FILE).fetchone()[0]) + b"-shm")
    if address is None:
        return None
    try:
        import ctypes  # noqa: PLC0415 - a millisecond, for those who open a file
    except ImportError:  # Python can be built without it
        return None
    both = (ctypes.c_char * (2 * _BYTES)).from_address(address)
    if not any(_is_header(both.raw) for _ in range(_ATTEMPTS)):
        return None
    return memoryview((ctypes.c_char * _BYTES).from_address(address)).tobytes


def _address_of(path: bytes) -> int | None:
    """Return where this process has the beginning of a file in shared memory; None unless at one place."""
    try:
        maps = _MAPS.read_bytes()
    except OSError:
        return None
    mapping = rb"^([0-9a-f]+)-[0-9a-f]+ ...s 0+ [0-9a-f:]+ [0-9]+ +" + re.escape(path) + rb"$"
    found = re.findall(mapping, maps, re.MULTILINE)
    return int(found[0], 16) if len(found) == 1 else None


def _is_header(both: bytes) -> bool:
    """Tell whether this is a header as we know it, followed by its second copy."""
    known = both.startswith(_VERSION.to_bytes(4, sys.byteorder)) and both[_IS_INIT] == 1
    return known and both[:_BYTES] == both[_BYTES:]
