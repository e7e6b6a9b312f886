"""The WAL's size: bounded, also where values are being read at every moment.

By itself SQLite copies the WAL into the database at every thousand pages, but begins it anew only when nobody
reads from it just then; with readers that overlap, that moment never comes. It does when writes wait a little: a
read that begins once all is copied needs nothing of the WAL, so that only those under way have to end.
"""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

WAL_BYTES: Final = 8 * 1024 * 1024  # twice of where SQLite itself begins anew, when it can
_FIRST_WAIT: Final = 0.05  # seconds for readers to end
_LONGEST_WAIT: Final = 1.0  # enough for a value of 16 MiB; a transaction left open is waited for in vain
_SHARE: Final = 10  # of the time, one part at most is waited in vain


class WALLimit:
    """Keeps the WAL from growing beyond WAL_BYTES for long, from the thread that writes.

    `lock_seconds` is the connection's busy timeout, which is put back.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, lock_seconds: float) -> None:
        self._connection = connection
        self._wal = f"{os.path.realpath(path)}-wal"
        self._lock_seconds = lock_seconds
        self._wait = _FIRST_WAIT
        self._not_before = 0.0

    def enforce(self) -> None:
        """Empty the WAL if it is too large, which may take as long as readers need to end.

        When they do not, it is tried again after a while, and waited for longer.
        """
        began = time.monotonic()
        if began < self._not_before or not self._is_too_large():
            return
        if self._empty():
            self._wait = _FIRST_WAIT
        else:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._not_before = began + _SHARE * (time.monotonic() - began)

    def _is_too_large(self) -> bool:
        try:
            return os.stat(self._wal).st_size > WAL_BYTES  # noqa: PTH116 - at each commit, in half of Path's time
        except OSError:
            return False  # health tells that it is gone

    def _empty(self) -> bool:
        with suppress(sqlite3.Error):  # of the disk, say: the next write tells
            self._set_busy_timeout(self._wait)
            try:
                (is_busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return not is_busy
            finally:
                self._set_busy_timeout(self._lock_seconds)
        return False

    def _set_busy_timeout(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
