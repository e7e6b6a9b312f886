"""Batches: any number of keys in as few requests as DynamoDB takes, several at a time.

A request may be done in part. What is left is sent again at once, for the server is at work; a request of
which nothing was done counts as throttled, and the retry policy paces it. A key that is still left is an
error of that key, never a miss.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from ._errors import DynamoDBError, Outcome, Target, partial_failure
from ._expressions import Payload
from ._failures import unprocessed
from ._item import new_token
from ._limits import check_key
from ._operations import Check, Operation
from ._requests import Requests

_REQUESTS_AT_ONCE = 8  # leaves room on the 32 connections for everybody else

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
        unique = list(dict.fromkeys(keys))
        for key in unique:
            check_key(key)
        found = await self._run(
            operation, unique, _Reading(self._requests, self._clock, consistent=self._consistent)
        )
        return {key: found[key] for key in unique if key in found}

    async def set_many(self, operation: Operation, items: Mapping[str, str], expires_at: float | None) -> None:
        """Create or replace."""
        expiry = self._layout.expiry(expires_at)
        writes = {
            key: {"PutRequest": {"Item": self._layout.item(key, value, new_token(), expiry)}}
            for key, value in items.items()
        }
        await self._run(operation, list(writes), _Writing(self._requests, writes))

    async def delete_many(self, operation: Operation, keys: Iterable[str]) -> None:
        """Delete; missing keys are fine."""
        writes = {key: {"DeleteRequest": {"Key": self._layout.key(key)}} for key in keys}
        await self._run(operation, list(writes), _Writing(self._requests, writes))

    async def _run(self, operation: Operation, keys: list[str], work: "_Work[Results]") -> Results:
        errors: dict[str, DynamoDBError] = {}

        async def finish(part: list[str]) -> None:
            errors.update(await self._finish(operation.part(), part, work))

        parts = [keys[start : start + work.most] for start in range(0, len(keys), work.most)]
        await _bounded(finish, parts)
        errors.update(work.errors)
        if errors:
            raise self._failure(errors, work, asked=len(keys))
        return work.results

    async def _finish(self, operation: Operation, keys: list[str], work: "_Work[Any]") -> dict[str, DynamoDBError]:
        """Send until nothing is left, and give the errors of what stays."""
        while keys:
            try:
                reply = await work.send(operation, keys, self._progress(work, len(keys)))
            except DynamoDBError as error:
                return dict.fromkeys(keys, error)
            left = dict.fromkeys(work.left(reply))
            work.take(reply, [key for key in keys if key not in left])
            keys = list(left)
        return {}

    def _progress(self, work: "_Work[Any]", asked: int) -> Check:
        def check(reply: Payload) -> None:
            if len(work.left(reply)) >= asked:
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
    writes: bool
    results: Results
    errors: dict[str, DynamoDBError]

    async def send(self, operation: Operation, keys: list[str], check: Check) -> Payload: ...

    def left(self, reply: Payload) -> list[str]:
        """Give the keys that the server did not get to."""

    def take(self, reply: Payload, done: list[str]) -> None:
        """Note what was done."""


class _Reading:
    most = 100  # docs: BatchGetItem; more than 16 MB come as unprocessed keys
    writes = False

    def __init__(self, requests: Requests, clock: Callable[[], float], *, consistent: bool) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._clock = clock
        self._consistent = consistent
        self.results: dict[str, str] = {}
        self.errors: dict[str, DynamoDBError] = {}

    async def send(self, operation: Operation, keys: list[str], check: Check) -> Payload:
        payload = self._requests.get_many(keys, consistent=self._consistent)
        return await operation.read("BatchGetItem", payload, check=check)

    def left(self, reply: Payload) -> list[str]:
        parts = reply.get("UnprocessedKeys", {}).values()
        return [self._layout.key_of(key) for part in parts for key in part["Keys"]]

    def take(self, reply: Payload, done: list[str]) -> None:  # noqa: ARG002 - a missing key is done as well
        now = self._clock()
        for item in (item for items in reply["Responses"].values() for item in items):
            key = self._layout.key_of(item)
            try:
                stored = self._layout.read(item, now)
            except DynamoDBError as corrupt:
                self.errors[key] = corrupt
            else:
                if stored is not None:
                    self.results[key] = stored.value


class _Writing:
    most = 25  # docs: BatchWriteItem
    writes = True

    def __init__(self, requests: Requests, by_key: Mapping[str, Payload]) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._by_key = by_key
        self.results: list[str] = []
        self.errors: dict[str, DynamoDBError] = {}

    async def send(self, operation: Operation, keys: list[str], check: Check) -> Payload:
        payload = self._requests.write_many(self._by_key[key] for key in keys)
        return await operation.write("BatchWriteItem", payload, check=check)

    def left(self, reply: Payload) -> list[str]:
        return [
            self._layout.key_of(
                write["PutRequest"]["Item"] if "PutRequest" in write else write["DeleteRequest"]["Key"]
            )
            for writes in reply.get("UnprocessedItems", {}).values()
            for write in writes
        ]

    def take(self, reply: Payload, done: list[str]) -> None:  # noqa: ARG002 - the reply names only what is left
        self.results.extend(done)


async def _bounded(work: Callable[[list[str]], Awaitable[None]], parts: list[list[str]]) -> None:
    waiting = iter(parts)

    async def worker() -> None:
        for part in waiting:
            await work(part)

    async with asyncio.TaskGroup() as group:
        for _ in parts[:_REQUESTS_AT_ONCE]:
            group.create_task(worker())
