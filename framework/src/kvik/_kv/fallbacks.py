"""What the facade can build safely for a driver that lacks it: batches one by one, counters by version.

Keys here are the store's own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import perf_counter
from typing import Any

from .._exits import ends_task
from ..kv_errors import KVError, Outcome, PartialFailure
from .contention import ATTEMPTS, retry_conflicts
from .counters import added
from .driver import Driver
from .time_slice import next_slice, slice_end

_AT_ONCE = 16
"""Operations of one batch that run at the same time."""


async def get_many(driver: Driver, keys: Sequence[str]) -> dict[str, str]:
    """Read several keys; give those found, PartialFailure if only some could be read."""
    if "batch" in driver.capabilities:
        return await driver.get_many(keys)
    found: dict[str, str] = {}

    async def read(key: str) -> None:
        value = await driver.get(key)
        if value is not None:
            found[key] = value

    done, errors = await _each(keys, read)
    if errors:
        raise _failure(driver, "get_many", found, errors, done=len(done), outcome="not_applied")
    return found


async def set_many(driver: Driver, items: Mapping[str, str], expires_at: float | None) -> None:
    """Write several keys; PartialFailure if only some could be."""
    if "batch" in driver.capabilities:
        return await driver.set_many(items, expires_at)

    async def write(key: str) -> None:
        if expires_at is None:
            await driver.set(key, items[key])
        else:
            await driver.set_expiring(key, items[key], expires_at)

    return await _write_each(driver, items, write, "set_many")


async def delete_many(driver: Driver, keys: Sequence[str]) -> None:
    """Delete several keys; PartialFailure if only some could be."""
    if "batch" in driver.capabilities:
        return await driver.delete_many(keys)
    return await _write_each(driver, keys, driver.delete, "delete_many")


async def increment(driver: Driver, key: str, delta: int) -> int:
    """Add to a number, and give the sum; Unsupported if the driver has neither counters nor conditions."""
    if "counter" in driver.capabilities or "conditional" not in driver.capabilities:
        return await driver.increment(key, delta)

    async def attempt() -> int:
        value, version, expires_at = await driver.get_versioned(key) or ("0", None, None)
        total = added(value, delta)
        await driver.set_if(key, str(total), version, expires_at)
        return total

    return await retry_conflicts(attempt, ATTEMPTS)


async def _write_each(
    driver: Driver, keys: Collection[str], write: Callable[[str], Awaitable[None]], operation: str
) -> None:
    done, errors = await _each(keys, write)
    if errors:
        raise _failure(driver, operation, done, errors, done=len(done))


async def _each(
    keys: Collection[str], call: Callable[[str], Awaitable[None]]
) -> tuple[list[str], dict[str, KVError]]:
    """Call for every key, 16 at a time, to the end whatever fails; if cancelled, wait for those under way.

    Give the keys for which that succeeded, and the errors of the others.
    """
    done: list[str] = []
    errors: dict[str, KVError] = {}
    waiting = iter(keys)

    async def work() -> None:
        end = slice_end(_AT_ONCE)  # for drivers that answer without ever waiting
        for key in waiting:
            try:
                await call(key)
            except KVError as error:
                errors[key] = error
            except asyncio.CancelledError as raised:
                if ends_task(raised):
                    raise
                errors[key] = KVError(f"{raised!r} was raised")  # a TaskGroup would pass over it
            else:
                done.append(key)
            if perf_counter() >= end:
                end = await next_slice(_AT_ONCE)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_AT_ONCE, len(keys))):
            group.create_task(work())
    return done, errors


def _failure(
    driver: Driver,
    operation: str,
    results: Any,
    errors: Mapping[str, KVError],
    *,
    done: int,
    outcome: Outcome = "unknown",
) -> PartialFailure:
    return PartialFailure(
        f"{len(errors)} of {len(errors) + done} keys failed: "
        + ", ".join(sorted({error.code for error in errors.values()})),
        store=driver.name,
        operation=operation,
        outcome=outcome,
        results=results,
        errors=errors,
    )
