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

SMALL_BYTES = 4096  # as many small operations as make a group are then as large as a chunk of a batch


@dataclass(slots=True, eq=False)
class Operation(Generic[T]):
    """Carry a function of a connection to a thread, and its answer back.

    The future's own states decide a race with a cancellation: what is cancelled before `begin` never runs.
    """

    work: Callable[[sqlite3.Connection], T]
    deadline: float = math.inf  # on time.monotonic(): how long it may wait for the file's lock
    size: int = 0  # about the bytes that it writes
    future: Future[T] = field(default_factory=Future)

    def begin(self) -> bool:
        """Return whether the operation is still wanted; from then on it cannot be cancelled."""
        return self.future.set_running_or_notify_cancel()


class Queue:
    """Hand operations to threads; once closed, take no more but give what is there.

    Small ones and large ones are each taken in order, but do not wait for one another: a large one is never kept
    back by many small ones, nor they by many large ones.
    """

    def __init__(self) -> None:
        self._small: deque[Operation[Any]] = deque()
        self._large: deque[Operation[Any]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, operation: Operation[Any]) -> None:
        """Add an operation; raise once the queue is closed."""
        with self._changed:
            if self._closed:
                raise SQLiteError("the store is closed", code="unavailable")
            (self._large if operation.size > SMALL_BYTES else self._small).append(operation)
            self._changed.notify()

    def take(self, most: int, most_bytes: int = 0) -> list[Operation[Any]]:
        """Wait for work and return a group as `add_to` bounds it; an empty list means closed and done."""
        with self._changed:
            self._changed.wait_for(lambda: self._small or self._large or self._closed)
            return self._fill([], most, most_bytes)

    def add_to(self, group: list[Operation[Any]], most: int, most_bytes: int) -> None:
        """Add to a group, without waiting, what fits into it.

        It has room for `most` small operations, and for large ones of together `most_bytes`, or one of any size.
        """
        with self._changed:
            self._fill(group, most, most_bytes)

    def close(self) -> None:
        """Take no more, and wake everybody who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fill(self, group: list[Operation[Any]], most: int, most_bytes: int) -> list[Operation[Any]]:
        while self._small and len(group) < most:
            group.append(self._small.popleft())
        if self._large:
            size = sum(each.size for each in group if each.size > SMALL_BYTES)
            while self._large and (size == 0 or size + self._large[0].size <= most_bytes):
                operation = self._large.popleft()
                group.append(operation)
                size += operation.size
        return group
