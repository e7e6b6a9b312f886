"""Connections, lent to one request at a time: at most so many, first come, first served."""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from .http import HTTPConnection

_LONGEST_IDLE: Final = 10.0
"""Seconds; servers, and what stands between, forget connections that are idle for longer."""

_LONGEST_LIFE: Final = 300.0
"""Seconds, give or take a tenth: all are to follow when a name gets other addresses, but not at once."""


class Places:
    """Count who may have a connection. An asyncio.Semaphore does the same, at three times the cost."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count  # none while somebody waits: a place that is given back is his
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def are_taken(self) -> bool:
        """Tell whether a place has to be waited for."""
        return self._free == 0

    def take(self) -> None:
        """Take a place, where they are not all taken."""
        self._free -= 1

    async def acquire(self) -> None:
        """Take a place, waiting for it if need be."""
        if self.are_taken:
            await self.wait()
        else:
            self.take()

    async def wait(self) -> None:
        """Wait for a place and take it, first come, first served."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # it has been passed over already
                    self._waiting.remove(turn)
            else:  # the turn has come in the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a place to who has waited for the longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def all_free(self) -> None:
        """Take all places, as they become free."""
        for _ in range(self._count):
            await self.acquire()


class Pool:
    """Lend connections, and keep those that come back whole.

    Who has one of the ``places`` may take a connection, and gives it back before the place. ``dial`` makes one.
    Of those at rest the one used last is lent first, so that a few do all the work when there is little, and the
    others can go.

    A caller whose time ends while a connection is being made leaves that to go on. The next one that needs a
    connection waits for it; otherwise it comes to rest here, which ``on_rest`` is told. So there are never more
    than ``limit`` connections, those being made included.
    """

    def __init__(
        self,
        dial: Callable[[], Coroutine[Any, Any, HTTPConnection]],
        limit: int,
        on_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._dial = dial
        self._on_rest = on_rest
        self._dialing: set[asyncio.Task[HTTPConnection]] = set()
        self._left: deque[asyncio.Task[HTTPConnection]] = deque()  # those of them that nobody waits for
        self._loop = asyncio.get_running_loop()
        self.places = Places(limit)
        self._idle: deque[HTTPConnection] = deque()  # the one at rest for the longest is first
        self._lent: set[HTTPConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None

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
        if self._left:
            with suppress(OSError):  # it had less time than one that begins now
                return await self._lend_dialed(self._left.popleft())
        dialing = self._loop.create_task(self._dial())
        self._dialing.add(dialing)
        dialing.add_done_callback(self._on_dialed)
        return await self._lend_dialed(dialing)

    async def _lend_dialed(self, dialing: asyncio.Task[HTTPConnection]) -> HTTPConnection:
        try:
            await asyncio.wait({dialing})  # which cancels nothing when its caller leaves
        except BaseException:
            self._left.append(dialing)
            if dialing.done():
                self._on_dialed(dialing)
            raise
        if dialing.cancelled():
            raise ConnectionAbortedError("closed while connecting")
        connection = self._new(dialing)
        self._lent.add(connection)
        return connection

    def _new(self, dialing: asyncio.Task[HTTPConnection]) -> HTTPConnection:
        connection = dialing.result()
        connection.retires_at = self._loop.time() + _LONGEST_LIFE * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        return connection

    def _on_dialed(self, dialing: asyncio.Task[HTTPConnection]) -> None:
        """Keep a connection for which nobody has waited to the end."""
        self._dialing.discard(dialing)
        if dialing not in self._left:
            return
        self._left.remove(dialing)
        if not dialing.cancelled() and dialing.exception() is None:
            self._on_rest()
            self.give_back(self._new(dialing))

    def give_back(self, connection: HTTPConnection) -> None:
        """Keep a connection for the next request, if it can take one."""
        self._lent.discard(connection)
        if connection.is_open:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            self._sweep = self._sweep or self._loop.call_later(_LONGEST_IDLE, self._drop_idle)

    def forget_rested(self, since: float = math.inf) -> None:
        """Close what has rested since before a moment: one has turned out to be dead, so most will be."""
        while self._idle and self._idle[0].idle_since < since:
            self._idle.popleft().abort()

    async def close(self, grace: float) -> None:
        """Wait so many seconds for what is under way, then close everything."""
        for dialing in self._left:
            dialing.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.places.all_free()
        if self._sweep is not None:
            self._sweep.cancel()
        under_way = [*self._dialing]
        for dialing in under_way:
            dialing.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
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
