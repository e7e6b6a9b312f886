"""Long work on the event loop, in slices: whatever else waits for the loop has its turn between two of them.

    end = slice_end()
    for item in items:
        ...
        if perf_counter() >= end:
            end = await next_slice()

That is written out in each loop, for a call in its place would take as long as what most of them do with an item.
"""

import asyncio
from time import perf_counter
from typing import Final

_SECONDS: Final = 0.001
"""A fifth of what a call may keep the loop: a slice ends after an item only, and other work may be as long."""


def slice_end(tasks: int = 1) -> float:
    """Give the moment at which a slice that begins now is over, where so many tasks do the same work."""
    return perf_counter() + _SECONDS / tasks


async def next_slice(tasks: int = 1) -> float:
    """Let others have their turn, and begin another slice."""
    await asyncio.sleep(0)
    return slice_end(tasks)
