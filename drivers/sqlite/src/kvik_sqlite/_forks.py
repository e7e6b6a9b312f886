"""What a fork does to SQLite: nothing that a process has open is any good in its child.

SQLite keeps one account per process of the locks that it holds on a file. A child inherits the account but not the
locks, so that a connection of the child's own to the same file would go without them: others would not see it, and
the last of them to close would delete the WAL that it still writes to.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from weakref import WeakSet

from ._errors import SQLiteError


@dataclass(frozen=True, slots=True)
class FileId:
    """The file itself, whichever path leads to it."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileId":
        """Return the id of the file that is at the path now; it is not opened."""
        status = path.stat()
        return cls(status.st_dev, status.st_ino)


class Opened(Protocol):
    """What holds the connections to a file."""

    def begin_as_child(self) -> None:
        """Free the locks that threads of the parent may have held."""


class Process:
    """The process that runs: its id, kept because each read needs it, and the files that it must not open.

    `closing` is held while a connection is closed: SQLite removes its WAL when the last one closes, and two that
    close at the same time each take the other for the last.
    """

    def __init__(self) -> None:
        self.id = os.getpid()
        self.closing = threading.Lock()
        self._known: WeakSet[Opened] = WeakSet()
        self._open: dict[Opened, FileId] = {}
        self._inherited: set[FileId] = set()
        self._kept: list[Opened] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_as_child)

    def know(self, opened: Opened) -> None:
        """Have it free its locks in every child, whether it is open or only about to be."""
        self._known.add(opened)

    def add(self, opened: Opened, path: Path) -> FileId:
        """Note that the file at the path is opened, before it is; raise where it was open when we were forked.

        It counts as open until `remove` is called for the same object.
        """
        file = FileId.of(path)
        if file in self._inherited:
            raise SQLiteError(
                f"{path}: this process was forked while its parent had this file open, so SQLite's locks on it "
                "would not hold here; connect only after the fork, or start worker processes by spawn",
                code="misconfigured",
            )
        self._open[opened] = file
        return file

    def remove(self, opened: Opened) -> None:
        """Note that it is closed."""
        self._open.pop(opened, None)

    def _begin_as_child(self) -> None:
        self.id = os.getpid()
        self.closing = threading.Lock()
        for opened in self._known:
            opened.begin_as_child()
        for opened, file in self._open.items():
            self._inherited.add(file)
            self._kept.append(opened)  # or the collector would close the parent's connections from here
        self._open = {}


this_process: Final = Process()
