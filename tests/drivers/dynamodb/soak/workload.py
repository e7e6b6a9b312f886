"""Tasks that use a few keys at once through several drivers, and tell of their calls."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from kvik_dynamodb import DynamoDB, DynamoDBError

from .history import History, Outcome, Read, Write

T = TypeVar("T")

VERBS: Final = {
    "get": 42,
    "get_many": 10,
    "set": 16,
    "set_many": 5,
    "delete": 6,
    "set_if": 10,
    "delete_if": 4,
    "increment": 7,
}
"""What is done, each with its share in a hundred operations."""

KEYS: Final = [f"key-{number}" for number in range(12)]
COUNTERS: Final = [f"counter-{number}" for number in range(3)]

_GIVEN_UP: Final = 0.01
"""The share of calls whose caller loses patience in the middle."""


@dataclass(slots=True)
class Workload:
    """So many operations by so many tasks; ``histories`` gets the calls, ``outcomes`` counts them."""

    histories: dict[str, History]
    operations: int
    chance: random.Random
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    longest: float = 0.0
    _begun: int = 0
    _written: int = 0

    async def run(self, drivers: list[DynamoDB]) -> None:
        """Do it, each driver serving several tasks."""
        async with asyncio.TaskGroup() as group:
            for number, driver in enumerate(drivers):
                group.create_task(Worker(self, driver, number).run())

    def next_verb(self) -> str | None:
        """Give what is to be done, None when all has begun."""
        if self._begun >= self.operations:
            return None
        self._begun += 1
        (verb,) = self.chance.choices(list(VERBS), list(VERBS.values()))
        return verb

    def new_value(self) -> str:
        """Give a value that was never written."""
        self._written += 1
        return f"value-{self._written}"

    def of(self, key: str) -> History:
        return self.histories.setdefault(key, History(key))


@dataclass(frozen=True, slots=True)
class Called(Generic[T]):
    """What came of a call; it is ``unknown`` where its caller gave up."""

    start: float
    end: float
    outcome: Outcome
    result: T | None = None
    error: DynamoDBError | None = None

    def outcome_of(self, key: str) -> Outcome:
        """Give the outcome of one key of a batch."""
        if self.error is None or self.error.errors is None:
            return self.outcome
        return self.error.errors[key].outcome if key in self.error.errors else "ok"


class Worker:
    """One task; it deletes no other keys than its own, so that it is known whose a deletion was."""

    def __init__(self, workload: Workload, driver: DynamoDB, number: int) -> None:
        self._work = workload
        self._chance = workload.chance
        self._db = driver
        self._own = KEYS[number] if number < len(KEYS) else None
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> None:
        while (verb := self._work.next_verb()) is not None:
            await getattr(self, f"_{verb}")()

    async def _get(self) -> None:
        key = self._chance.choice(KEYS + COUNTERS)
        called = await self._call("get", self._db.get(key))
        if called.error is None and called.outcome == "ok":
            self._read("get", key, called.result, called)

    async def _get_many(self) -> None:
        keys = self._chance.sample(KEYS + COUNTERS, self._chance.randint(2, 9))
        called = await self._call("get_many", self._db.get_many(keys))
        error = called.error
        if error is not None and isinstance(error.results, dict):
            found, missed = error.results, error.errors or {}
        elif called.result is not None:
            found, missed = called.result, {}
        else:
            return
        for key in keys:
            if key not in missed:
                self._read("get_many", key, found.get(key), called)

    async def _set(self) -> None:
        key, value = self._chance.choice(KEYS), self._work.new_value()
        called = await self._call("set", self._db.set(key, value))
        self._wrote(key, Write("set", value, called.start, called.end, called.outcome))

    async def _set_many(self) -> None:
        items = {key: self._work.new_value() for key in self._chance.sample(KEYS, self._chance.randint(2, 6))}
        called = await self._call("set_many", self._db.set_many(items))
        for key, value in items.items():
            self._wrote(key, Write("set_many", value, called.start, called.end, called.outcome_of(key)))

    async def _delete(self) -> None:
        if (key := self._own) is None:
            return await self._set()
        called = await self._call("delete", self._db.delete(key))
        self._wrote(key, Write("delete", None, called.start, called.end, called.outcome))
        return await self._let_arrive(called)

    async def _set_if(self) -> None:
        key, value = self._chance.choice(KEYS), self._work.new_value()
        seen = await self._get_versioned(key)
        if seen is None:
            return
        expected, version = seen
        called = await self._call("set_if", self._db.set_if(key, value, version))
        self._wrote_if(
            key,
            Write("set_if", value, called.start, called.end, called.outcome, expected, conditional=True),
            called,
        )

    async def _delete_if(self) -> None:
        if (key := self._own) is None:
            return await self._set_if()
        seen = await self._get_versioned(key)
        if seen is None or seen[1] is None:
            return None
        expected, version = seen
        called = await self._call("delete_if", self._db.delete_if(key, version))
        self._wrote_if(
            key,
            Write("delete_if", None, called.start, called.end, called.outcome, expected, conditional=True),
            called,
        )
        return await self._let_arrive(called)

    async def _increment(self) -> None:
        key = self._chance.choice(COUNTERS)
        called = await self._call("increment", self._db.increment(key, 1))
        total = None if called.result is None else str(called.result)
        self._wrote(key, Write("increment", total, called.start, called.end, called.outcome))

    async def _get_versioned(self, key: str) -> tuple[str, str] | tuple[None, None] | None:
        """Give value and version, both None where nothing is; None if the call failed."""
        called = await self._call("get_versioned", self._db.get_versioned(key))
        if called.outcome != "ok" or called.error is not None:
            return None
        found = called.result
        self._read("get_versioned", key, None if found is None else found[0], called)
        return (None, None) if found is None else (found[0], found[1])

    async def _call(self, verb: str, call: Coroutine[Any, Any, T]) -> Called[T]:
        patience = self._chance.uniform(0, 0.01) if self._chance.random() < _GIVEN_UP else None
        start, result, error, code = self._clock(), None, None, "ok"
        outcome: Outcome = "ok"
        try:
            async with asyncio.timeout(patience):
                result = await call
        except TimeoutError:
            code, outcome = "cancelled", "unknown"
        except DynamoDBError as caught:
            error, code, outcome = caught, caught.code, caught.outcome
        called = Called(start, self._clock(), outcome, result, error)
        self._work.outcomes[verb, code if code == "ok" else f"{code}, {outcome}"] += 1
        self._work.longest = max(self._work.longest, called.end - called.start)
        return called

    async def _let_arrive(self, called: Called[Any]) -> None:
        """Wait until whatever was sent has come to the proxy, before another deletion could be taken for it."""
        if called.outcome == "unknown":
            await asyncio.sleep(0.02)

    def _read(self, verb: str, key: str, value: str | None, called: Called[Any]) -> None:
        self._work.of(key).reads.append(Read(verb, value, called.start, called.end))

    def _wrote(self, key: str, write: Write) -> None:
        self._work.of(key).writes.append(write)

    def _wrote_if(self, key: str, write: Write, called: Called[Any]) -> None:
        self._wrote(key, write)
        if called.error is not None and called.error.code == "conflict":
            current = called.error.current
            self._read(f"{write.verb}'s current", key, None if current is None else current[0], called)
