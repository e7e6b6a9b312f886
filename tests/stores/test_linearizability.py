"""Concurrent operations on a key look as if done one after the other, also where some are cancelled."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import kvik
from kvik import KV

from .linearizability import Impossible, Operation, State, explains

_CALLERS = 5
_CALLS = 6  # of each caller: with more the search takes long where much is cancelled
_MAX_TURNS = 40  # of the loop, after which a call is cancelled


class Recorder:
    """Calls of one key, some of them cancelled, and the history that they make."""

    def __init__(self, kv: KV, key: str, seed: int) -> None:
        self.history: list[Operation] = []
        self._kv = kv
        self._key = key
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._values = (f"v{number}" for number in range(10_000))

    async def caller(self) -> None:
        """Make some calls, one after the other."""
        verbs = [self._read, self._read_many, self._write, self._write_many, self._create, self._replace]
        verbs += [self._append, self._remove, self._remove_if, self._pop]
        for _ in range(_CALLS):
            await self._random.choice(verbs)()

    async def _read(self) -> None:
        await self._call("get", lambda: self._kv.get(self._key, None), _found)

    async def _read_many(self) -> None:
        await self._call(
            "get_many", lambda: self._kv.get_many([self._key]), lambda found: _found(found.get(self._key))
        )

    async def _write(self) -> None:
        value = next(self._values)
        await self._call(f"set {value}", lambda: self._kv.set(self._key, value), lambda _: lambda _: value)

    async def _write_many(self) -> None:
        value = next(self._values)
        await self._call(
            f"set_many {value}", lambda: self._kv.set_many({self._key: value}), lambda _: lambda _: value
        )

    async def _remove(self) -> None:
        await self._call("delete", lambda: self._kv.delete(self._key), lambda _: lambda _: None)

    async def _create(self) -> None:
        value = next(self._values)
        await self._call(
            f"create {value}",
            lambda: self._kv.set(self._key, value, if_absent=True),
            lambda _: lambda state: value if state is None else _impossible(),
        )

    async def _replace(self) -> None:
        value = next(self._values)
        entry = await self._kv.entry(self._key, None)
        if entry is not None:
            await self._call(
                f"replace {entry.value} by {value}",
                lambda: self._kv.set(self._key, value, if_version=entry.version),
                lambda _: lambda state: value if state == entry.value else _impossible(),
            )

    async def _remove_if(self) -> None:
        entry = await self._kv.entry(self._key, None)
        if entry is not None:
            await self._call(
                f"delete_if {entry.value}",
                lambda: self._kv.delete(self._key, if_version=entry.version),
                lambda _: lambda state: None if state == entry.value else _impossible(),
            )

    async def _append(self) -> None:
        value = next(self._values)

        def longer(state: State) -> str:
            return f"{state or ''}+{value}"

        def seen(entry: Any) -> Callable[[State], State]:
            return lambda state: longer(state) if entry is None or entry.value == longer(state) else _impossible()

        await self._call(f"update {value}", lambda: self._kv.update(self._key, longer), seen)

    async def _pop(self) -> None:
        def seen(value: Any) -> Callable[[State], State]:
            return lambda state: None if value in (_UNSEEN, state) else _impossible()

        await self._call("pop", lambda: self._kv.pop(self._key, None), seen, unseen=_UNSEEN)

    async def _call(
        self,
        name: str,
        call: Callable[[], Awaitable[Any]],
        seen: Callable[[Any], Callable[[State], State]],
        unseen: Any = None,
    ) -> None:
        """Make a call and note it; `seen` makes of its result what it did to the state."""
        called = time.monotonic()
        task = asyncio.ensure_future(call())
        if self._random.random() < 0.3:
            for _ in range(self._random.randrange(_MAX_TURNS)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        returned = time.monotonic()
        if task.cancelled():
            if not name.startswith("get"):
                self._note(f"{name}, cancelled", seen(unseen), called)
            return
        error = task.exception()
        if error is None:
            self._note(f"{name} -> {task.result()}", seen(task.result()), called, returned)
        elif isinstance(error, kvik.Conflict) and error.outcome == "not_applied":
            current = error.current.value if error.current is not None else None
            self._note(f"{name} met {current}", _found(current), called, returned)
        else:
            raise error

    def _note(
        self, name: str, apply: Callable[[State], State], called: float, returned: float | None = None
    ) -> None:
        if returned is None:
            self.history.append(Operation(name, apply, called, is_certain=False))
        else:
            self.history.append(Operation(name, apply, called, returned))


_UNSEEN = object()


def _impossible() -> State:
    raise Impossible


def _found(value: State) -> Callable[[State], State]:
    return lambda state: state if state == value else _impossible()


@pytest.mark.parametrize("seed", range(4))
async def test_concurrent_and_cancelled_calls_are_linearizable(kv: KV, seed: int) -> None:
    """Nothing acknowledged is lost, nothing is read that was not there, and no condition is passed by."""
    recorder = Recorder(kv, "k", seed)
    async with asyncio.TaskGroup() as callers:
        for _ in range(_CALLERS):
            callers.create_task(recorder.caller())
    assert explains(recorder.history), "\n".join(
        f"{each.called:.6f} {each.returned:.6f} {each.name}" for each in recorder.history
    )


async def test_cancelled_increments_count_once_or_never(kv: KV) -> None:
    """No sum comes twice, and the last one is that of the acknowledged and some of the cancelled ones."""
    chance = random.Random(1)  # noqa: S311 - repeatable, not secret
    sums: list[int] = []
    cancelled = 0

    async def count() -> None:
        nonlocal cancelled
        for _ in range(8):
            task = asyncio.ensure_future(kv.increment("n"))
            if chance.random() < 0.3:
                for _ in range(chance.randrange(_MAX_TURNS)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                cancelled += 1
            else:
                sums.append(task.result())

    async with asyncio.TaskGroup() as callers:
        for _ in range(_CALLERS):
            callers.create_task(count())
    total = await kv.increment("n", 0)
    assert len(set(sums)) == len(sums)
    assert len(sums) <= total <= len(sums) + cancelled


def test_the_search_finds_what_cannot_have_happened() -> None:
    """A stale read, a lost write and a condition passed by have no explanation; an unknown write may have one."""
    write = Operation("set a", lambda _: "a", 0, 1)
    again = Operation("set b", lambda _: "b", 2, 3)
    stale = Operation("get a", _found("a"), 4, 5)
    assert explains([write, again, Operation("get b", _found("b"), 4, 5)])
    assert not explains([write, again, stale])
    assert not explains([write, Operation("get nothing", _found(None), 2, 3)])
    assert explains([write, again, Operation("set a, cancelled", lambda _: "a", 2, is_certain=False), stale])
    create = Operation("create", lambda state: "c" if state is None else _impossible(), 2, 3)
    assert not explains([write, create])
    assert explains([Operation("set a", lambda _: "a", 0, 2.5), create])
