"""Who is told of operations, of what, and in which order."""

import asyncio
from typing import Any

import pytest

from kvik import KV, MemoryStore, Unavailable
from kvik._observers import Observers, outcome_of


class Onlooker:
    """An observer that notes what it is told, in a list that several may share."""

    def __init__(self, name: str, told: list[tuple[Any, ...]]) -> None:
        self.name = name
        self.told = told

    def request_began(self, _: Any) -> str:
        raise AssertionError("there is no request here")

    def request_ended(self, _: Any, __: Any) -> None:
        raise AssertionError("there is no request here")

    def operation_began(self, operation: Any) -> str:
        self.told.append((self.name, "began", operation.name))
        return f"begun by {self.name}"

    def operation_ended(self, operation: Any, error: Any, seconds: float, begun: Any) -> None:
        assert 0 <= seconds < 60
        about = (operation.store, operation.driver, operation.name)
        self.told.append((self.name, *about, outcome_of(error), begun))


class Broken(MemoryStore):
    """A store that cannot be reached, or hangs."""

    async def get(self, key: str) -> str | None:
        raise ConnectionError("gone")

    async def delete(self, key: str) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def told() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def observers() -> Observers:
    return Observers()


async def test_nobody_need_look_on(observers: Observers) -> None:
    """Without observers a store works as ever."""
    kv = KV(MemoryStore(), observers=observers)
    await kv.set("k", "v")
    assert await kv.get("k") == "v"


async def test_an_observer_is_told_of_the_end(observers: Observers, told: list[tuple[Any, ...]]) -> None:
    """Of store, driver and verb, and how it went: ok, by the code of its error, or cancelled."""
    observers.add(Onlooker("one", told))
    kv = KV(Broken(), name="sessions", observers=observers)
    await kv.set("k", "v")
    with pytest.raises(Unavailable):
        await kv.get("k")
    hanging = asyncio.create_task(kv.delete("k"))
    await asyncio.sleep(0)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert told == [
        ("one", "sessions", "Broken", "set", "ok", None),
        ("one", "sessions", "Broken", "get", "unavailable", None),
        ("one", "sessions", "Broken", "delete", "cancelled", None),
    ]


async def test_the_outermost_surrounds_the_others(observers: Observers, told: list[tuple[Any, ...]]) -> None:
    """It alone is told of the begin; the end is told to the others, the last that was added first, then to it."""
    observers.add(Onlooker("one", told))
    observers.add_outermost(Onlooker("outermost", told))
    observers.add(Onlooker("two", told))
    await KV(MemoryStore(), observers=observers).set("k", "v")
    about = ("default", "MemoryStore", "set", "ok")
    assert told == [
        ("outermost", "began", "set"),
        ("two", *about, None),
        ("one", *about, None),
        ("outermost", *about, "begun by outermost"),
    ]


async def test_an_observer_that_comes_late_is_told_of_the_end(
    observers: Observers, told: list[tuple[Any, ...]]
) -> None:
    """An outermost that is added while an operation is under way was not told of its begin."""

    class Adding(MemoryStore):
        async def set(self, key: str, value: str) -> None:
            observers.add_outermost(Onlooker("late", told))

    await KV(Adding(), observers=observers).set("k", "v")
    assert told == [("late", "default", "Adding", "set", "ok", None)]
