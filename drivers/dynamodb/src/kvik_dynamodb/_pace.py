"""Long work in the event loop, which gets its turns meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from time import perf_counter
from typing import Final, TypeVar

T = TypeVar("T")

_TURN: Final = 0.001
"""Seconds of work after which others get their turn."""

_AT_ONCE: Final = 8  # looking at the clock costs as much as looking at a key


async def paced(many: Iterable[T]) -> AsyncIterator[list[T]]:
    """Give a few at a time, with a pause for other tasks when that has taken a while."""
    rest = iter(many)
    began = perf_counter()
    while some := list(islice(rest, _AT_ONCE)):
        yield some
        if perf_counter() - began > _TURN:
            await asyncio.sleep(0)
            began = perf_counter()
