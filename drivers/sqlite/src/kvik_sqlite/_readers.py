"""Reads: a few threads with a connection each. In WAL mode a reader waits for no writer."""

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from ._errors import translate
from ._queue import Operation, Queue
from ._reads import refuse_large_values
from ._schema import close_connection

T = TypeVar("T")


class Readers:
    """Run reads on the given connections, one thread each, and close them when stopped."""

    def __init__(self, connections: list[sqlite3.Connection], path: Path) -> None:
        for each in connections:
            refuse_large_values(each)
        self._path = path
        self._queue = Queue()
        self._threads = [
            threading.Thread(target=self._serve, args=(each,), name="kvik-sqlite-reader", daemon=True)
            for each in connections
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Queue a read: a function of a connection."""
        operation = Operation(work)
        self._queue.put(operation)
        return operation.future

    def stop(self, seconds: float) -> bool:
        """Finish what is queued and close the connections; return False if `seconds` were too few."""
        self._queue.close()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self, connection: sqlite3.Connection) -> None:
        try:
            while operations := self._queue.take(1):
                for operation in operations:
                    if operation.begin():
                        self._run(operation, connection)
        finally:
            close_connection(connection)

    def _run(self, operation: Operation[Any], connection: sqlite3.Connection) -> None:
        try:
            answer = operation.work(connection)
        except BaseException as error:  # noqa: BLE001 - it is the caller's; the thread has to go on
            operation.future.set_exception(translate(error, self._path))
        else:
            operation.future.set_result(answer)
