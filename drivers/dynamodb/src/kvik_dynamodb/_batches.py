"""Batches: any number of keys in few requests, several at a time.

Keys are looked at, and requests begun, in turns of the event loop that stay short, however many or large they are.

A request may be done in part. What is left is sent again at once, for the server is at work; a request of
which nothing was done counts as throttled, and the retry policy paces it. A key that is still left is an
error of that key, never a miss.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from ._errors import DynamoDBError, Outcome, Target, partial_failure
from ._expressions import Payload
from ._failures import broken, unprocessed
from ._item import new_token
from ._limits import check_key, check_not_text, check_value
from ._operations import Check, Operation
from ._pace import paced
from ._requests import Requests

_REQUESTS_AT_ONCE = 8  # leaves room on the 32 connections for everybody else
_MOST_TEXT = 512 * 1024  # characters of values in one write; 16 MB may be, but are encoded and signed at one go

Results = TypeVar("Results", dict[str, str], list[str])


class Batches:
    """Read and write many keys; each write has its token, and a retry reuses it."""

    def __init__(
        self, requests: Requests, target: Target, clock: Callable[[], float], *, consistent: bool
    ) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._target = target
        self._clock = clock
        self._consistent = consistent

    async def get_many(self, operation: Operation, keys: Iterable[str]) -> dict[str, str]:
        """Give the values of the live ones, in the order of the keys."""
        unique = await _unique(keys)
        found = await self._run(
            operation, unique, _Reading(self._requests, self._clock, consistent=self._consistent)
        )
        ordered: dict[str, str] = {}
        async for some in paced(unique):
            ordered.update((key, found[key]) for key in some if key in found)
        return ordered

    async def set_many(self, operation: Operation, items: Mapping[str, str], expires_at: float | None) -> None:
        """Create or replace."""
        if not isinstance(items, Mapping):  # dict() would make something of a list of texts
            raise TypeError(f"set_many takes a mapping of keys to values, not {type(items).__name__}")
        values, most = dict(items), self._layout.limits.max_value_bytes
        async for some in paced(values):
            for key in some:
                check_key(key)
                check_value(values[key], most)
        expiry = self._layout.expiry(expires_at, self._clock())

        def put(key: str) -> Payload:
            return {"PutRequest": {"Item": self._layout.item(key, values[key], new_token(), expiry)}}

        await self._run(operation, values, _Writing(self._requests, put, lambda key: len(values[key])))

    async def delete_many(self, operation: Operation, keys: Iterable[str]) -> None:
        """Delete; missing keys are fine."""

        def delete(key: str) -> Payload:
            return {"DeleteRequest": {"Key": self._layout.key(key)}}

        await self._run(operation, await _unique(keys), _Writing(self._requests, delete))

    async def _run(self, operation: Operation, keys: Collection[str], work: "_Work[Results]") -> Results:
        errors: dict[str, DynamoDBError] = {}

        async def finish(part: list[str]) -> None:
            errors.update(await self._finish(operation.part(), part, work))

        await _bounded(finish, _split(keys, work.most, work.weigh))
        errors.update(work.errors)
        if errors:
            raise self._failure(errors, work, asked=len(keys))
        return work.results

    async def _finish(self, operation: Operation, keys: list[str], work: "_Work[Any]") -> dict[str, DynamoDBError]:
        """Send until nothing is left, and give the errors of what stays."""
        while keys:
            try:
                reply = await work.send(operation, keys, self._progress(work, keys))
            except DynamoDBError as error:
                return dict.fromkeys(keys, error)
            left = dict.fromkeys(work.left(reply))
            work.take(reply, [key for key in keys if key not in left])
            keys = list(left)
        return {}

    def _progress(self, work: "_Work[Any]", asked: list[str]) -> Check:
        def check(reply: Payload) -> None:
            left = work.left(reply)
            if not set(left).issubset(asked):
                raise broken(self._target, "it names keys that were not asked for")
            if len(left) >= len(asked):
                raise unprocessed(self._target)

        return check

    def _failure(self, errors: dict[str, DynamoDBError], work: "_Work[Any]", *, asked: int) -> DynamoDBError:
        in_doubt = [error for error in errors.values() if error.outcome == "unknown"]
        first = next(iter(in_doubt or errors.values()))
        if len(errors) == asked and len({error.code for error in errors.values()}) == 1:
            return first
        outcome: Outcome = "unknown" if in_doubt or work.writes else "not_applied"
        return partial_failure(self._target, work.results, errors, outcome)


class _Work(Protocol, Generic[Results]):
    """What differs between reading and writing."""

    most: int
    weigh: Callable[[str], int]
    writes: bool
    results: Results
    errors: dict[str, DynamoDBError]

    async def send(self, operation: Operation, keys: list[str], check: Check) -> Payload:
        """Send one request; the same again for what is sent again."""

    def left(self, reply: Payload) -> list[str]:
        """Give the keys that the server did not get to."""

    def take(self, reply: Payload, done: list[str]) -> None:
        """Note what was done."""


def _weightless(_: str) -> int:
    return 0


class _Reading:
    most = 100  # docs: BatchGetItem; more than 16 MB come as unprocessed keys
    writes = False

    def __init__(self, requests: Requests, clock: Callable[[], float], *, consistent: bool) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._clock = clock
        self._consistent = consistent
        self.weigh: Callable[[str], int] = _weightless
        self.results: dict[str, str] = {}
        self.errors: dict[str, DynamoDBError] = {}

    async def send(self, operation: Operation, keys: list[str], check: Check) -> Payload:
        payload = self._requests.get_many(keys, consistent=self._consistent)
        return await operation.read("BatchGetItem", payload, check=check)

    def left(self, reply: Payload) -> list[str]:
        parts = (reply.get("UnprocessedKeys") or {}).values()
        return [self._layout.key_of(key) for part in parts for key in part["Keys"]]

    def take(self, reply: Payload, done: list[str]) -> None:  # noqa: ARG002 - a missing key is done as well
        now = self._clock()
        for item in (item for items in reply["Responses"].values() for item in items):
            key = self._layout.key_of(item)
            try:
                value = self._layout.value(item, now)
            except DynamoDBError as corrupt:
                self.errors[key] = corrupt
            else:
                if value is not None:
                    self.results[key] = value


class _Writing:
    most = 25  # docs: BatchWriteItem
    writes = True

    def __init__(
        self, requests: Requests, make: Callable[[str], Payload], weigh: Callable[[str], int] = _weightless
    ) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._make = make
        self._under_way: dict[str, Payload] = {}
        self.weigh = weigh
        self.results: list[str] = []
        self.errors: dict[str, DynamoDBError] = {}

    async def send(self, operation: Operation, keys: list[str], check: Check) -> Payload:
        for key in keys:
            self._under_way[key] = self._under_way.get(key) or self._make(key)
        payload = self._requests.write_many(self._under_way[key] for key in keys)
        return await operation.write("BatchWriteItem", payload, check=check)

    def left(self, reply: Payload) -> list[str]:
        return [
            self._layout.key_of(
                write["PutRequest"]["Item"] if "PutRequest" in write else write["DeleteRequest"]["Key"]
            )
            for writes in (reply.get("UnprocessedItems") or {}).values()
            for write in writes
        ]

    def take(self, reply: Payload, done: list[str]) -> None:  # noqa: ARG002 - the reply names only what is left
        for key in done:
            del self._under_way[key]
        self.results.extend(done)


async def _unique(keys: Iterable[str]) -> Collection[str]:
    """Give each key once, in the order in which they come. Raises DynamoDBError for one that is none."""
    check_not_text(keys)
    unique: dict[str, None] = {}
    async for some in paced(list(keys)):
        for key in some:
            check_key(key)
            unique[key] = None
    return unique


def _split(keys: Iterable[str], most: int, weigh: Callable[[str], int]) -> Iterator[list[str]]:
    """Give parts of at most so many keys and, where it has several, of about half a megabyte."""
    part: list[str] = []
    weight = 0
    for key in keys:
        more = weigh(key)
        if part and (len(part) == most or weight + more > _MOST_TEXT):
            yield part
            part, weight = [], 0
        part.append(key)
        weight += more
    if part:
        yield part


async def _bounded(work: Callable[[list[str]], Awaitable[None]], parts: Iterator[list[str]]) -> None:
    """Work on several parts at a time; no two begin in the same turn of the loop, for a request may be large."""
    turn = asyncio.Lock()

    async def worker(part: list[str] | None) -> None:
        while part:
            async with turn:
                await asyncio.sleep(0)
            await work(part)
            part = next(parts, None)

    begun = list(islice(parts, _REQUESTS_AT_ONCE))
    if len(begun) == 1:
        await work(begun[0])
        return
    async with asyncio.TaskGroup() as group:
        for part in begun:
            group.create_task(worker(part))
