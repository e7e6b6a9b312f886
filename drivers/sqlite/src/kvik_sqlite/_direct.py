"""Reads on the caller's own thread: handing a read to another costs ten times what the read itself does.

Never where it could block the event loop for long:
- in WAL mode a reader waits for no writer, and a busy timeout of 0 ends what would have to wait for a lock;
- a large value is refused by its row's header alone;
- a page that is in no cache has to come from the disk, and after a crash of another process a reader may have to
  look through the WAL. Nothing tells beforehand, so each read is timed, and after a slow one all go to the threads
  for a while, twice as long if the last pause did not help.
Whatever goes wrong here, the same read in a thread gives the answer or the error.
"""

import sqlite3
import threading
import time
from collections.abc import Callable

from ._errors import Versioned
from ._reads import Clock, refuse_large_values, small_entry
from ._schema import close_connection

SLOW_SECONDS = 0.001
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0
_ENOUGH = 100  # fast reads after a pause show that it was over: a busy machine makes one slow now and then


class DirectReads:
    """Read small values on the given connection, and close it when stopped."""

    def __init__(self, connection: sqlite3.Connection, *, timer: Callable[[], float] = time.perf_counter) -> None:
        connection.execute("PRAGMA busy_timeout = 0")
        refuse_large_values(connection)
        self._connection = connection
        self._timer = timer
        self._lock = threading.Lock()  # against close(), which comes from another thread
        self._closed = False
        self._paused_until = -1.0
        self._pause = 0.0
        self._fast_reads = _ENOUGH

    def attempt(self, key: bytes, clock: Clock) -> tuple[Versioned | None] | None:
        """Return the entry, None if there is none, in a tuple; or None where a thread has to read it."""
        began = self._timer()
        if began < self._paused_until or not self._lock.acquire(blocking=False):
            return None
        try:
            if self._closed:
                return None
            return (small_entry(self._connection, key, clock),)
        except Exception:  # noqa: BLE001 - the thread meets it too, and tells
            return None
        finally:
            self._lock.release()
            self._note(began, self._timer())

    def stop(self) -> None:
        """Read no more, and close the connection; harmless when repeated."""
        with self._lock:
            self._closed = True
        close_connection(self._connection)

    def _note(self, began: float, ended: float) -> None:
        if ended - began <= SLOW_SECONDS:
            self._fast_reads += 1
            return
        helped = self._fast_reads >= _ENOUGH
        self._pause = _FIRST_PAUSE if helped else min(2 * self._pause, _LONGEST_PAUSE)
        self._paused_until = ended + self._pause
        self._fast_reads = 0
