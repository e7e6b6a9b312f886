"""Rows that were read, kept while the file stays as it was then: to read one of them again needs no SQLite.

Never stale, also where other processes write. With a row goes the WAL-index header (see _wal_index) as it was
*before* the row was read, and the row counts only while the header is the same: no commit can have come between.
A copy of the header that was made amid a commit equals no state, or the old one, and the commit is not done then.

When the header has changed nothing is thrown away at once, which would stop the event loop for long: rows of
earlier states are replaced or pushed out one by one. A state is known by the very object that holds it: one that
looks like an earlier state, as after the recovery from a crash, is still another.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ._reads import Row

ROW_BYTES: Final = 500  # what Python's objects take around a key and a value: 390 to 510 were measured


class RowCache:
    """Keep rows of at most `most_bytes` together, those that were used last; not safe for several threads at once.

    `read_header` gives the header as it is now.
    """

    def __init__(self, read_header: Callable[[], bytes], most_bytes: int) -> None:
        self._read_header = read_header
        self._most_bytes = most_bytes
        self._bytes = 0
        self._state = b""
        self._rows: OrderedDict[bytes, tuple[bytes, Row, int]] = OrderedDict()  # by last use: state, row, bytes

    def find(self, key: bytes) -> Row | None:
        """Look at the header, and return the key's row if it was read in this state."""
        state = self._read_header()
        if state != self._state:
            self._state = state
            return None
        kept = self._rows.get(key)
        if kept is None or kept[0] is not self._state:
            return None
        self._rows.move_to_end(key)
        return kept[1]

    def keep(self, key: bytes, row: Row) -> None:
        """Keep the key's row, which must have been read after the last `find`."""
        value = row[0]
        size = ROW_BYTES + len(key) + len(value) * (1 if value.isascii() else 4)
        replaced = self._rows.pop(key, None)
        self._bytes += size if replaced is None else size - replaced[2]
        self._rows[key] = (self._state, row, size)
        while self._bytes > self._most_bytes:
            self._drop_oldest()

    def clear(self) -> None:
        """Forget all rows, one by one: at once would keep the interpreter's lock, and the event loop, for long."""
        while self._rows:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, _, size) = self._rows.popitem(last=False)
        self._bytes -= size
