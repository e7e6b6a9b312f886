"""A lock between processes on a directory, which leaves no file behind.

Not on the database file itself: closing a descriptor of that would drop SQLite's own locks on it. Windows cannot
lock a directory; what needs the lock has to retry there.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._errors import SQLiteError

_RETRY_SECONDS = 0.01

if sys.platform == "win32":

    @contextmanager
    def directory_lock(_directory: Path, _deadline: float) -> Iterator[None]:
        """Do nothing."""
        yield

else:
    import fcntl

    @contextmanager
    def directory_lock(directory: Path, deadline: float) -> Iterator[None]:
        """Hold the directory's advisory lock; raise `throttled` if it is not free by `deadline` (monotonic)."""
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            while not _locked(descriptor):
                if time.monotonic() >= deadline:
                    raise SQLiteError(
                        f"{directory}: another process holds a lock on this directory; find it with lsof",
                        code="throttled",
                        retryable=True,
                        reason="locked",
                    )
                time.sleep(_RETRY_SECONDS)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # not left to close(): a forked child may hold a copy
            os.close(descriptor)

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
