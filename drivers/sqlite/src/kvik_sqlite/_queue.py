"""What waits for a thread: operations, handed over through a queue that can be closed."""

import math
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ._errors import SQLiteError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Operation(Generic[T]):
    """Carry a function of a connection to a thread, and its answer back.

    The future's own states decide a race with a cancellation: what is cancelled before `begin` never runs.
    """

    work: Callable[[sqlite3.Connection], T]
    deadline: float = math.inf  # on time.monotonic(): how long it may wait for the file's lock
    future: Future[T] = field(default_factory=Future)

    def begin(self) -> bool:
        """Return whether the operation is still wanted; from then on it cannot be cancelled."""
        return self.future.set_running_or_notify_cancel()


class Queue:
    """Hand operations to threads, in order; once closed, take no more but give what is there."""

    def __init__(self) -> None:
        self._operations: deque[Operation[Any]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, operation: Operation[Any]) -> None:
        """Add an operation; raise once the queue is closed."""
        with self._changed:
            if self._closed:
                raise SQLiteError("the store is closed", code="unavailable")
            self._operations.append(operation)
            self._changed.notify()

    def take(self, most: int) -> list[Operation[Any]]:
        """Wait for work and return at most that many operations; an empty list means closed and done."""
        with self._changed:
            self._changed.wait_for(lambda: self._operations or self._closed)
            return self._pop(most)

    def take_now(self, most: int) -> list[Operation[Any]]:
        """Return at most that many operations without waiting."""
        with self._changed:
            return self._pop(most)

    def close(self) -> None:
        """Take no more, and wake everybody who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _pop(self, most: int) -> list[Operation[Any]]:
        return [self._operations.popleft() for _ in range(min(most, len(self._operations)))]
