"""Callers go away at any moment: whatever they were waiting for, the store goes on."""
# ruff: noqa: S101, ASYNC110 - tests assert, and a driver's task sets no event of ours

import asyncio
import threading
import time
from collections.abc import Coroutine, Generator
from typing import Any, Final

import pytest

from ..._kv.driver import Driver
from .fixtures import StoreFixtures
from .verbs import NEW, OLD, VERBS, prepared, skip_without_verb

PATIENCE: float = 5.0
"""Seconds within which a store must answer after a cancellation; hundreds of times what it needs."""

_MOST_AWAITS: Final = 40
_LEAKS: Final = 40
_OWN_TASKS: Final = 4  # that a driver may start by itself meanwhile
_POOLED_THREADS: Final = 36  # of any pool's, Python's own for instance; a thread lost at each cancellation is more


class CancellationTests(StoreFixtures):
    """Cancel an operation at each await in turn."""

    @pytest.mark.parametrize("verb", VERBS)
    async def test_a_store_is_usable_after_a_cancellation(self, driver: Driver, verb: str) -> None:
        """Wherever an operation is cancelled, the next ones work, on this key and on others."""
        skip_without_verb(driver.store, verb)
        for moment in range(1, _MOST_AWAITS):
            key = f"key-{moment}"
            call = await prepared(driver, verb, key)
            was_over_before = await interrupted(call(), moment)
            await _check_usable(driver, key)
            if was_over_before:
                return

    @pytest.mark.parametrize("verb", ["set", "set_if", "increment"])
    async def test_a_cancelled_write_is_done_or_not(self, driver: Driver, verb: str) -> None:
        """After a cancelled write the value is the old one or the new one, whole."""
        skip_without_verb(driver.store, verb)
        for moment in range(1, _MOST_AWAITS):
            call = await prepared(driver, verb, f"key-{moment}")
            was_over_before = await interrupted(call(), moment)
            assert await driver.get(f"key-{moment}") in {OLD, NEW}, "a cancelled write is done or not, never half"
            if was_over_before:
                return

    async def test_cancelled_operations_leave_nothing_behind(self, driver: Driver) -> None:
        """However many are cancelled, no task is left of them, and no more threads than a pool has."""
        await _cancel_many(driver, 4)  # what the driver starts at its first use is there now
        tasks, threads = await _tasks_left(), threading.active_count()
        await _cancel_many(driver, _LEAKS)
        more = await _tasks_left(at_most=tasks + _OWN_TASKS) - tasks
        assert more <= _OWN_TASKS, f"cancelled operations leave no task: {more} of {_LEAKS} are left"
        more = threading.active_count() - threads
        assert more <= _POOLED_THREADS, f"cancelled operations leave no thread: {more} of {_LEAKS} are left"


async def interrupted(operation: Coroutine[Any, Any, Any], moment: int) -> bool:
    """Cancel an operation when it waits for the `moment`-th time; tell whether it was over before that."""
    waits = _CancelledAtWait(operation, moment)

    async def run() -> None:
        await waits

    task = asyncio.create_task(run())
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    assert done, f"an operation ends when it is cancelled; it did not, at its await number {moment}"
    if not task.cancelled():
        task.result()
    return waits.count < moment


class _CancelledAtWait:
    """Run a coroutine, counting how often it waits, and cancel the task at one of these times."""

    def __init__(self, operation: Coroutine[Any, Any, Any], moment: int) -> None:
        self.count = 0
        self._operation = operation
        self._moment = moment

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        step: Any = self._operation.send
        given: Any = None
        while True:
            try:
                waits_for = step(given)
            except StopIteration:
                return
            self.count += 1
            if self.count == self._moment:
                task.cancel()
            try:
                given = yield waits_for
                step = self._operation.send
            except BaseException as error:  # noqa: BLE001 - whatever the task is thrown, the operation has to see
                step, given = self._operation.throw, error


async def _check_usable(driver: Driver, key: str) -> None:
    __tracebackhide__ = True
    try:
        async with asyncio.timeout(PATIENCE):
            await driver.set("probe", key)
            assert await driver.get("probe") == key, "a store is usable after a cancellation"
            await driver.delete(key)
            await driver.set(key, "after")
            assert await driver.get(key) == "after", "a cancelled operation's key is usable"
    except TimeoutError:
        pytest.fail(f"a store is usable after a cancellation; it gave no answer within {PATIENCE:g} s")


async def _cancel_many(driver: Driver, number: int) -> None:
    """Cancel reads and writes, at their first and second await."""
    for count in range(number):
        call = await prepared(driver, ("get", "set")[count % 2], f"key-{number}-{count}")
        await interrupted(call(), 1 + count // 2 % 2)


async def _tasks_left(at_most: int = 0) -> int:
    """Count the tasks, when those that are about to end have had the time to."""
    for _ in range(20):
        await asyncio.sleep(0)
    end = time.monotonic() + PATIENCE
    while at_most and len(asyncio.all_tasks()) > at_most and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return len(asyncio.all_tasks())
