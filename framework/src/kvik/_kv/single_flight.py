"""One maker for each key and process: who asks for the same meanwhile, gets what that one makes."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from ..kv_errors import DeadlineExceeded
from .deadline import OPERATION_TIMEOUT, remaining


class SingleFlight:
    """Share the work of concurrent callers; nothing is kept when it is done."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Future[Any]] = {}

    async def run(self, key: Hashable, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do the work, or wait for who does it already, and return or raise what it did.

        Where that one was cancelled, or ran out of its own time, another of those who wait does it.
        """
        loop = asyncio.get_running_loop()
        # What another loop has begun cannot be waited for here: that loop may have ended without ending it.
        while (flight := self._flights.get(key)) is not None and flight.get_loop() is loop:
            await _landed(flight)
            if not flight.cancelled():
                return flight.result()
        flight = self._flights[key] = loop.create_future()
        try:
            result = await work()
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, DeadlineExceeded):
                flight.set_exception(error)
                flight.exception()  # nobody may wait for it
            raise
        else:
            flight.set_result(result)
            return result
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.cancel()


async def _landed(flight: asyncio.Future[Any]) -> None:
    """Wait until it is done, in whatever way, within the caller's own deadline, or the limit of an operation."""
    left = remaining()
    await asyncio.wait({flight}, timeout=OPERATION_TIMEOUT if left is None else left)
    if not flight.done():
        raise DeadlineExceeded(
            "another task was still making the value", operation="get_or_set", outcome="not_applied"
        )
