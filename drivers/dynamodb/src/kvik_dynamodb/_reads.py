"""Reads of one value: those that are asked for in the same turn of the event loop share a request.

A read may join only what has not been sent yet, else it could miss a write that was acknowledged meanwhile. So
each waits for the end of the turn before it is sent, and nobody joins later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from ._batches import Batches
from ._errors import DynamoDBError
from ._failures import out_of_time
from ._operations import Operation
from ._requests import Requests

_ANY_KEY = ""  # no key is empty

Values: TypeAlias = Mapping[str, str]


class Reads:
    """Read values; ``together`` lets reads of several keys become one BatchGetItem."""

    def __init__(
        self,
        requests: Requests,
        batches: Batches,
        clock: Callable[[], float],
        *,
        consistent: bool,
        together: bool,
    ) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._batches = batches
        self._clock = clock
        self._consistent = consistent
        self._together = together
        self._open: dict[str, _Group | tuple[Operation, str]] = {}  # a group only where there are several

    def begin_anew(self) -> None:
        """Share nothing with what another event loop has left."""
        self._open = {}

    async def get(self, operation: Operation, key: str) -> str | None:
        """Give the value of a live item."""
        payload = self._requests.get(key, consistent=self._consistent)
        place = _ANY_KEY if self._together else key
        of_this_loop = self._open
        opened = of_this_loop.get(place)
        if opened is not None:
            if isinstance(opened, tuple):
                opened = of_this_loop[place] = _Group(self._read, *opened)
            return await opened.join(operation, key)
        of_this_loop[place] = (operation, key)
        try:
            await asyncio.sleep(0)
        finally:
            opened = of_this_loop.pop(place)
            if isinstance(opened, _Group):
                opened.is_open = False
        if isinstance(opened, _Group):
            return await opened.join(operation, key)
        reply = await operation.read("GetItem", payload)
        return self._layout.value(reply.get("Item"), self._clock())

    async def _read(self, operation: Operation, keys: list[str]) -> Values:
        if len(keys) > 1:
            return await self._batches.get_many(operation, keys)
        reply = await operation.read("GetItem", self._requests.get(keys[0], consistent=self._consistent))
        value = self._layout.value(reply.get("Item"), self._clock())
        return {} if value is None else {keys[0]: value}


class _Group:
    """Read what several callers of one turn want, in a task that is none of theirs.

    ``is_open``: more of them may still join.
    """

    def __init__(
        self, read: Callable[[Operation, list[str]], Awaitable[Values]], operation: Operation, key: str
    ) -> None:
        self._read = read
        self._operation = operation
        self._deadline = operation.deadline
        self._keys = {key: None}
        self._task: asyncio.Task[Values] | None = None
        self._waiting = 0
        self.is_open = True

    async def join(self, operation: Operation, key: str) -> str | None:
        """Wait for the value, no longer than the operation may take."""
        self._deadline = max(self._deadline, operation.deadline)
        self._keys[key] = None
        self._task = task = self._task or asyncio.create_task(self._run())
        self._waiting += 1
        try:
            await asyncio.wait({task}, timeout=operation.seconds_left())
        finally:
            self._waiting -= 1
            if not self._waiting:
                task.cancel()
        if not task.done():
            raise out_of_time(operation.operations.options.target)
        return _value(task, key)

    async def _run(self) -> Values:
        if self.is_open:  # an eager task, as Python 3.12 has them, begins before the others have joined
            await asyncio.sleep(0)
        return await self._read(self._operation.part(self._deadline), list(self._keys))


def _value(task: asyncio.Task[Values], key: str) -> str | None:
    error = task.exception()
    if error is None:
        return task.result().get(key)
    if not isinstance(error, DynamoDBError):
        raise error
    if isinstance(error.results, dict) and key not in (error.errors or {}):  # a batch that failed for other keys
        return error.results.get(key)
    raise (error.errors or {}).get(key, error).again() from error.__cause__
