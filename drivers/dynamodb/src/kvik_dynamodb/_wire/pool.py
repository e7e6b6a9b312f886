"""Connections, lent to one request at a time: at most so many, first come, first served."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from .http import HTTPConnection

_LONGEST_IDLE: Final = 10.0
"""Seconds; servers, and what stands between, forget connections that are idle for longer."""

_LONGEST_LIFE: Final = 300.0
"""Seconds, give or take a tenth: all are to follow when a name gets other addresses, but not at once."""


class Pool:
    """Lend connections, and keep those that come back whole.

    A place is waited for with `enter` and given back with `leave`; in between a connection may be taken.
    ``dial`` makes one. Of those at rest the one used last is lent first, so that a few do all the work when
    there is little, and the others can go.
    """

    def __init__(self, dial: Callable[[], Awaitable[HTTPConnection]], limit: int) -> None:
        self._dial = dial
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._places = asyncio.Semaphore(limit)
        self._idle: deque[HTTPConnection] = deque()  # the one at rest for the longest is first
        self._lent: set[HTTPConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Tell whether `enter` would have to wait."""
        return self._places.locked()

    async def enter(self) -> None:
        """Wait for a place, first come, first served."""
        await self._places.acquire()

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()

    def rested(self) -> HTTPConnection | None:
        """Lend a connection that is at rest, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and self._loop.time() < connection.retires_at:
                self._lent.add(connection)
                return connection
            connection.abort()
        return None

    async def fresh(self) -> HTTPConnection:
        """Lend a new connection. Raises OSError."""
        connection = await self._dial()
        connection.retires_at = self._loop.time() + _LONGEST_LIFE * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        self._lent.add(connection)
        return connection

    def give_back(self, connection: HTTPConnection) -> None:
        """Keep a connection for the next request, if it can take one."""
        self._lent.discard(connection)
        if connection.is_open:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            self._sweep = self._sweep or self._loop.call_later(_LONGEST_IDLE, self._drop_idle)

    def forget_rested(self) -> None:
        """Close what is at rest: one has turned out to be dead, so most will be."""
        while self._idle:
            self._idle.pop().abort()

    async def close(self, grace: float) -> None:
        """Wait so many seconds for what is under way, then close everything."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                for _ in range(self._limit):
                    await self._places.acquire()
        if self._sweep is not None:
            self._sweep.cancel()
        connections = [*self._idle, *self._lent]
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    def _drop_idle(self) -> None:
        oldest = self._loop.time() - _LONGEST_IDLE
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().abort()
        self._sweep = None
        if self._idle:
            self._sweep = self._loop.call_at(self._idle[0].idle_since + _LONGEST_IDLE, self._drop_idle)
