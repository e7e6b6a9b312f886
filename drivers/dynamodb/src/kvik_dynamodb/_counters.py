"""Counters: ordinary values in decimal, written as conditional writes.

DynamoDB's own ADD wants a Number, where the value is a String, and would revive expired items.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ._conditional import ConditionalWrites
from ._errors import Target
from ._failures import contention
from ._item import Stored
from ._limits import check_key, refused
from ._operations import Operation

_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_SIGNED_64_BITS = range(-(2**63), 2**63)
_FIRST_PAUSE = 0.005  # seconds, at most; about what the winner's write takes
_LONGEST_PAUSE = 0.1


class Counters:
    """Add to numbers; tasks of one process take turns at a key, other processes are met by conditions."""

    def __init__(self, writes: ConditionalWrites, target: Target) -> None:
        self._writes = writes
        self._target = target
        self._turns = Turns()

    def begin_anew(self) -> None:
        """Wait for nothing that another event loop has left."""
        self._turns = Turns()

    async def increment(self, operation: Operation, key: str, delta: int) -> int:
        """Add, keep the expiry, and give the sum."""
        check_key(key)
        _check_delta(delta)
        try:
            async with self._turns.turn(key, within=operation.seconds_left()):
                return await self._add(operation, key, delta)
        except TooLongError:
            raise contention(self._target) from None

    async def _add(self, operation: Operation, key: str, delta: int) -> int:
        stored = await self._writes.read(operation, key)
        attempt = 0
        while True:
            total = _sum(stored, delta)
            refusal = await self._writes.replace(operation, key, str(total), stored)
            if refusal is None:
                return total
            stored = refusal.stored
            await self._pause(operation, attempt)
            attempt += 1

    async def _pause(self, operation: Operation, attempt: int) -> None:
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))
        pause = random.uniform(0, longest)  # noqa: S311 - jitter is no secret
        if pause >= operation.seconds_left():
            raise contention(self._target)
        await asyncio.sleep(pause)


class TooLongError(Exception):
    """Say that a turn did not come in time."""


@dataclass(slots=True)
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    tasks: int = 0


class Turns:
    """Let one task at a time work on a key, first come, first served; only keys in use take memory."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    def __len__(self) -> int:
        return len(self._queues)

    @asynccontextmanager
    async def turn(self, key: str, *, within: float) -> AsyncIterator[None]:
        """Wait for the turn. Raises TooLongError after ``within`` seconds."""
        queue = self._queues.setdefault(key, _Queue())
        queue.tasks += 1
        try:
            await _acquire(queue.lock, within)
            try:
                yield
            finally:
                queue.lock.release()
        finally:
            queue.tasks -= 1
            if not queue.tasks:
                del self._queues[key]


async def _acquire(lock: asyncio.Lock, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            await lock.acquire()
    except TimeoutError:
        raise TooLongError from None


def _check_delta(delta: object) -> None:
    if isinstance(delta, bool) or not isinstance(delta, int):
        raise refused(f"a delta is an int, not {type(delta).__name__}", "invalid_value")
    if delta not in _SIGNED_64_BITS:
        raise refused("a delta is a signed 64-bit number", "invalid_value")


def _sum(stored: Stored | None, delta: int) -> int:
    text = "0" if stored is None else stored.value
    if not _NUMBER.fullmatch(text) or int(text) not in _SIGNED_64_BITS:
        raise refused("the stored value is no signed 64-bit number in canonical decimal", "invalid_value")
    total = int(text) + delta
    if total not in _SIGNED_64_BITS:
        raise refused("the sum is no signed 64-bit number", "invalid_value")
    return total
