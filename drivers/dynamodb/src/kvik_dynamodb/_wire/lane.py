"""The way of requests to one server and back: over a pooled connection, within their time.

What fails here is a DynamoDBError, whose outcome tells whether the server may have got the request.
"""

import asyncio
from functools import partial
from typing import Literal

from .._errors import DynamoDBError, Target, closed, timed_out
from .._events import Events
from .._failures import broken, connect_timed_out, out_of_time, read_timed_out, unreachable
from .dialing import Endpoint, dial
from .http import ConnectionBrokenError, HTTPConnection, Reply
from .pool import Pool


class Lane:
    """Carry ``limit`` requests at a time; others wait. Times are in seconds."""

    def __init__(
        self,
        endpoint: Endpoint,
        target: Target,
        events: Events,
        *,
        limit: int,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        self._target = target
        self._events = events
        self._loop = asyncio.get_running_loop()
        make = partial(dial, endpoint, within=connect_timeout, silence=read_timeout)
        self._pool = Pool(make, limit, on_rest=partial(events.connected, "demand"))
        self._closed = False

    async def exchange(self, request: bytes, deadline: float) -> Reply:
        """Send a request and give its reply, by a time of the loop's clock."""
        if self._closed:
            raise closed(self._target)
        places = self._pool.places
        if places.are_taken:
            await self._wait_for_a_place(deadline)
        else:
            places.take()
        try:
            if self._closed:  # while this waited
                raise closed(self._target)
            rested = self._pool.rested()
            if rested is None:
                fresh = await self._connect(deadline, "demand")
                return await self._exchange_on(fresh, request, deadline)
            return await self._exchange_on(rested, request, deadline)
        except StaleConnectionError:
            return await self._exchange_anew(request, deadline)
        finally:
            places.give_back()

    async def close(self, grace: float) -> None:
        """Refuse further requests, wait so many seconds for those under way, and close every connection."""
        self._closed = True
        await self._pool.close(grace)

    async def _wait_for_a_place(self, deadline: float) -> None:
        began = self._loop.time()
        try:
            async with asyncio.timeout_at(deadline):
                await self._pool.places.wait()
        except TimeoutError:
            raise timed_out(self._target, deadline - began, started=False) from None
        finally:
            self._events.waited(self._loop.time() - began)

    async def _exchange_on(self, connection: HTTPConnection, request: bytes, deadline: float) -> Reply:
        was_used = connection.was_used
        now = self._loop.time()
        try:
            if deadline <= now:
                raise out_of_time(self._target)
            return await connection.exchange(request, deadline)
        except TimeoutError:
            if was_used:  # its way may be gone without a word, and then theirs is too who have been heard no later
                self._pool.forget_rested(since=now)
            if self._loop.time() >= deadline:
                raise timed_out(self._target, deadline - now, started=True) from None
            raise read_timed_out(self._target) from None
        except ConnectionBrokenError as error:
            if was_used and error.silent:
                raise StaleConnectionError from error
            raise broken(self._target, str(error)) from error
        finally:
            self._pool.give_back(connection)

    async def _exchange_anew(self, request: bytes, deadline: float) -> Reply:
        """Send again at once: a connection that was kept alive had died, which says nothing about the server."""
        self._pool.forget_rested()
        try:
            fresh = await self._connect(deadline, "stale")
            reply = await self._exchange_on(fresh, request, deadline)
        except DynamoDBError as error:
            error.outcome = "unknown"  # the dead connection may have delivered the request
            raise
        return reply._replace(is_second=True)

    async def _connect(self, deadline: float, reason: Literal["demand", "stale"]) -> HTTPConnection:
        if self._closed:
            raise closed(self._target)
        if deadline <= self._loop.time():
            raise out_of_time(self._target)
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._pool.fresh()
        except TimeoutError:
            too_late = out_of_time if deadline <= self._loop.time() else connect_timed_out
            raise too_late(self._target) from None
        except (OSError, UnicodeError) as error:  # the latter for a name that DNS cannot have
            raise unreachable(self._target, error) from error
        self._events.connected(reason)
        return connection


class StaleConnectionError(Exception):
    """Say that a connection which had served before was found dead, without a byte of a reply."""
