"""Where a worker stood when it crashed, or was ended because it did not answer."""

import contextlib
import faulthandler
import os

_MAX_REPORT = 16 * 1024


class CrashReport:
    """The stacks of a process's threads, written by Python's fault handler and read by the parent process."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)

    def enable(self) -> None:
        """Have this process, the child, report its stacks when SIGABRT or a fault ends it."""
        os.close(self._reader)
        faulthandler.enable(self._writer)

    def keep_reader(self) -> None:
        """Leave the writing to the child."""
        os.close(self._writer)

    def read(self) -> str:
        """Return the stacks, "" where the process ended otherwise."""
        with contextlib.suppress(BlockingIOError):  # it has ended, but a process that it forked has not
            return os.read(self._reader, _MAX_REPORT).decode(errors="replace").strip()
        return ""

    def close(self) -> None:
        """Close the parent's end."""
        os.close(self._reader)
