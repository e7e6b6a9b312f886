"""Reads with a version, and writes that happen only if a version still holds.

A write carries a token, and the token it leaves in the item is the version. So a write whose reply was lost
and whose retry finds its own token has succeeded, where a mere counter would report a false conflict.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ._errors import ConditionFailedError, DynamoDBError, Target, Versioned, conflict
from ._expressions import Payload
from ._item import TOKEN, Item, Stored, new_token
from ._limits import check_version
from ._operations import Operation
from ._requests import Requests

# What may be a token and can be sent as it is. Anything else is read and compared first: the hash of what
# another program wrote, and whatever no store of ours has issued.
_TOKEN = re.compile(r"(?!v:)[!-~]{1,256}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Say what a write found that was not to be there, None: nothing."""

    stored: Stored | None
    cause: ConditionFailedError


class ConditionalWrites:
    """Write under conditions; the clock is read once for a write, so that one moment decides all of it."""

    def __init__(self, requests: Requests, target: Target, clock: Callable[[], float]) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._expressions = requests.expressions
        self._target = target
        self._clock = clock

    async def read(self, operation: Operation, key: str) -> Stored | None:
        """Give what is stored now."""
        return self._layout.read(await self._read_item(operation, key), self._clock())

    async def get_versioned(self, operation: Operation, key: str) -> Versioned | None:
        """Give value, version and expiry."""
        stored = await self.read(operation, key)
        return None if stored is None else stored.versioned

    async def set_if(
        self, operation: Operation, key: str, value: str, *, version: str | None, expires_at: float | None
    ) -> str:
        """Write if this is the version, None: if there is nothing; give the new version."""
        token, now = new_token(), self._clock()
        if version is not None:
            check_version(version)
        put = self._requests.put(self._layout.item(key, value, token, self._layout.expiry(expires_at, now)))
        condition = await self._condition(operation, key, version, now)
        self._demand(operation, await self._attempt(operation, "PutItem", {**put, **condition}, now, token=token))
        return token

    async def delete_if(self, operation: Operation, key: str, version: str) -> None:
        """Delete if this is the version."""
        check_version(version)
        delete, now = self._requests.delete(key), self._clock()
        condition = await self._condition(operation, key, version, now)
        self._demand(operation, await self._attempt(operation, "DeleteItem", {**delete, **condition}, now))

    async def replace(self, operation: Operation, key: str, value: str, read: Stored | None) -> Refusal | None:
        """Write if all is as it was read, keeping the rest of a live item; None: it is written.

        Raises DynamoDBError with code ``conflict`` if it is in doubt whether it is written.
        """
        token, now = new_token(), self._clock()
        condition = self._expressions.unchanged(read, now)
        if read is not None and read.has_more:
            name, request = "UpdateItem", self._requests.update(key, value, token, condition)
        else:  # what an expired item has besides does not come to life again
            item = self._layout.item(key, value, token, None if read is None else read.expiry)
            name, request = "PutItem", {**self._requests.put(item), **condition}
        refusal = await self._attempt(operation, name, request, now, token=token)
        if operation.outcome == "unknown":
            self._demand(operation, refusal)
        return refusal

    async def _condition(self, operation: Operation, key: str, version: str | None, now: float) -> Payload:
        if version is None:
            return self._expressions.absent(now)
        if _TOKEN.fullmatch(version):
            return self._expressions.has_token(version, now)
        stored = self._layout.read(await self._read_item(operation, key), now)
        if stored is None or stored.version != version:
            raise self._conflict(operation, stored)
        return self._expressions.unchanged(stored, now)

    async def _attempt(
        self, operation: Operation, name: str, request: Payload, now: float, *, token: str | None = None
    ) -> Refusal | None:
        try:
            await operation.write(name, request)
        except ConditionFailedError as error:
            item = error.item
            if item is None:  # nothing is there, or the server does not tell
                item = await self._read_item(operation, self._layout.key_of(request.get("Item") or request["Key"]))
            if token is not None and item is not None and item.get(TOKEN) == {"S": token}:
                return None  # an attempt whose reply was lost has done it
            return Refusal(self._found(operation, item, now), error)
        return None

    async def _read_item(self, operation: Operation, key: str) -> Item | None:
        return (await operation.read("GetItem", self._requests.get(key, consistent=True))).get("Item")

    def _found(self, operation: Operation, item: Item | None, now: float) -> Stored | None:
        try:
            return self._layout.read(item, now)
        except DynamoDBError as corrupt:
            operation.settle(corrupt)
            raise

    def _demand(self, operation: Operation, refusal: Refusal | None) -> None:
        if refusal is not None:
            raise self._conflict(operation, refusal.stored) from refusal.cause

    def _conflict(self, operation: Operation, found: Stored | None) -> DynamoDBError:
        current = None if found is None else found.versioned
        return conflict(self._target, current, operation.outcome)
