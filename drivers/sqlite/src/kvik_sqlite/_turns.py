"""Taking turns with other processes that write.

SQLite's write lock has no queue: it goes to whoever asks next, which is nearly always the process that has just
released it, and another that looks for it now and then gets a small share. So a process that sees others write
pauses after each commit for as long as they need to notice.
"""

import sqlite3
import time
from typing import Final

PAUSE: Final = 0.0005  # seconds; those who wait look every millisecond or two
_LOOK_EVERY: Final = 0.005  # seconds between two looks
_REMEMBERED: Final = 0.5  # seconds after another's commit in which it may be waiting for the next


class Turns:
    """Decides whether to pause, from the thread that writes on this connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen: int | None = None
        self._looked = 0.0
        self._shared_until = 0.0

    def look(self) -> None:
        """See whether others have written since the last time; called within a transaction."""
        now = time.monotonic()
        if now < self._looked + _LOOK_EVERY:
            return
        self._looked = now
        (seen,) = self._connection.execute("PRAGMA data_version").fetchone()  # changes with others' commits alone
        if self._seen not in {None, seen}:
            self._shared_until = now + _REMEMBERED
        self._seen = seen

    def pause(self) -> None:
        """Let others have the lock, if they have written of late; called without a transaction."""
        if time.monotonic() < self._shared_until:
            time.sleep(PAUSE)
