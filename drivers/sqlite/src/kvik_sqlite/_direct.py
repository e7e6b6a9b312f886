"""Reads on the caller's own thread: handing a read to another costs ten times what the read itself does.

Never where it could block the event loop for long:
- in WAL mode a reader waits for no writer, and a busy timeout of 0 ends what would have to wait for a lock;
- a large value is refused by its row's header alone;
- a page that is in no cache has to come from the disk, and after a crash of another process a reader may have to
  look through the WAL. Nothing tells beforehand, so each read is timed, and slow ones are limited (see Allowance).
Whatever goes wrong here, the same read in a thread gives the answer or the error.

What was read is kept in a RowCache, where there can be one: a row that it still has costs nothing of all this.
"""

import sqlite3
import threading
import time
from collections.abc import Callable

from ._reads import Row, refuse_large_values, small_row
from ._row_cache import RowCache
from ._schema import close_connection

SLOW_SECONDS = 0.001
SAVED_SECONDS = 0.00005  # by a read that no thread was woken for: 50 to 70 µs were measured
MOST_SECONDS = 0.02  # that slow reads may cost at once: a few that met a busy machine, or two a slow disk
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0
_ENOUGH = 100  # fast reads after a pause show that it was over


class DirectReads:
    """Read small values on the given connection, and close it when stopped.

    `cache` may look at memory that is there only while the connection is open; nobody else may use it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        cache: RowCache | None = None,
        *,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.text_factory = str  # the fastest; its errors, which hold the value, never leave this module
        refuse_large_values(connection)
        self._connection = connection
        self._cursor = connection.cursor()  # kept, since making one takes as long as half the rest of this
        self._cache = cache
        self._timer = timer
        self._lock = threading.Lock()  # against close(), which comes from another thread
        self._allowance = Allowance()
        self._paused_until = -1.0

    def attempt(self, key: bytes) -> Row | None:
        """Return the row of a key, live or not, NO_ROW if there is none, or None where a thread has to read it."""
        if not self._lock.acquire(False):  # noqa: FBT003 - twice as fast as by keyword
            return None
        try:
            cache = self._cache
            if cache is None:
                return self._select(key)
            row = cache.find(key)
            if row is None:
                row = self._select(key)
                if row is not None:
                    cache.keep(key, row)
            return row
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Read no more, and close the connection; harmless when repeated."""
        with self._lock:
            cache, self._cache = self._cache, None  # before the memory that it looks at is gone
            close_connection(self._connection)
        if cache is not None:
            cache.clear()

    def _select(self, key: bytes) -> Row | None:
        began = self._timer()
        if began < self._paused_until:
            return None
        try:
            return small_row(self._cursor, key)
        except Exception:  # noqa: BLE001 - the thread meets it too, and tells; also of a connection that is closed
            return None
        finally:
            took = self._timer() - began
            if took <= SLOW_SECONDS:
                self._allowance.fast_reads += 1
            else:
                self._paused_until = began + took + self._allowance.pay(took)


class Allowance:
    """Tell for how long to leave reads to the threads after a slow one.

    Slow reads may cost the loop what fast ones have saved it, and no more. So the one read in hundreds that a
    busy machine interrupts changes nothing, whereas what has to wait for the disk goes to the threads after two or
    three such reads; if it is still slow after the pause, the next one is twice as long.
    """

    def __init__(self) -> None:
        self.fast_reads = 0  # since the last slow one
        self._seconds = MOST_SECONDS
        self._pause = 0.0

    def pay(self, seconds: float) -> float:
        """Pay for a slow read, and return the seconds of the pause that is due, or 0."""
        if self.fast_reads >= _ENOUGH:
            self._pause = 0.0
        saved = self._seconds + self.fast_reads * SAVED_SECONDS
        left = min(saved, MOST_SECONDS) - seconds
        self._seconds, self.fast_reads = max(left, 0.0), 0
        if left >= 0:
            return 0.0
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) or _FIRST_PAUSE
        return self._pause
