"""Long work on the event loop, in slices: whatever else waits for the loop has its turn between two of them."""

import asyncio
import time
from typing import Final

_SECONDS: Final = 0.001
"""A fifth of what a call may keep the loop: a slice ends after an item only, and other work may be as long."""


class TimeSlice:
    """Tell work that goes on item by item, in so many tasks at once, when it is the others' turn."""

    __slots__ = ("_end", "_seconds")

    def __init__(self, tasks: int = 1) -> None:
        self._seconds = _SECONDS / tasks
        self._begin()

    def is_over(self) -> bool:
        """Tell whether it is time for `give_way`."""
        return time.perf_counter() >= self._end

    async def give_way(self) -> None:
        """Let the others have their turn, and begin another slice."""
        await asyncio.sleep(0)
        self._begin()

    def _begin(self) -> None:
        self._end = time.perf_counter() + self._seconds
