"""Bounded time: nothing that the doctor waits for may keep its reader waiting."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Name the longest waits, in seconds."""

    credentials: float = 3.0
    name: float = 2.0
    connect: float = 1.0
    read: float = 2.0
    sampling: float = 1.5
    total: float = 10.0


TIMES = Times()


class Budget:
    """Run what may block, one after the other, until the time for all of it is over."""

    def __init__(self) -> None:
        self._end = time.monotonic() + TIMES.total

    def run(self, most: float, call: Callable[[], T]) -> T:
        """Give the call's result. Raises TimeoutError, and leaves the call to a thread that ends some day."""
        left = min(most, self._end - time.monotonic())
        if left <= 0:
            raise TimeoutError
        future: Future[T] = Future()
        Thread(target=_settle, args=(future, call), daemon=True).start()
        return future.result(left)


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 - raised again where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)
