"""What the requests of one operation share: a deadline, and the doubt whether something was written."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from ._connection import Connection
from ._errors import DynamoDBError, Outcome
from ._events import Events
from ._failures import out_of_time
from ._options import Options
from ._retry import Retry, RetryPolicy

Check: TypeAlias = Callable[[dict[str, Any]], None]
"""Looks at a reply and raises DynamoDBError where it is to count as a failure."""


@dataclass(frozen=True, slots=True)
class Request:
    """Hold one request, to be sent once or more."""

    name: str
    payload: Mapping[str, Any]
    check: Check | None = None
    reserved: bool = False


class Operations:
    """Begin operations, under one retry budget."""

    def __init__(self, options: Options, connection: Connection, events: Events) -> None:
        self.options = options
        self.events = events
        self.policy = RetryPolicy()
        self.send = connection.send
        self.remaining: Callable[[], float | None] = lambda: None
        self._ready = connection.transport

    def begin(self) -> "Operation":
        """Begin what a caller asked for: the driver's total time, or what the caller has left if that is less.

        Raises DynamoDBError: not connected, closed, or no time left.
        """
        self._ready()
        left = self.remaining()
        total = self.options.total_timeout
        operation = self.start(total if left is None else min(left, total))
        operation.check_time()
        return operation

    def start(self, total: float | None = None) -> "Operation":
        """Begin an operation of the driver's own."""
        clock = asyncio.get_running_loop().time
        return Operation(self, clock() + (self.options.total_timeout if total is None else total))


class Operation:
    """Send requests until the deadline, each retried by the policy, and remember what is in doubt.

    Once any attempt of a write may have reached the server without a verified answer, every later failure is
    ``unknown``, whatever its kind.
    """

    def __init__(self, operations: Operations, deadline: float) -> None:
        self._operations = operations
        self._deadline = deadline
        self.outcome: Outcome = "not_applied"

    def part(self) -> "Operation":
        """Give an operation with the same deadline, and doubts of its own."""
        return Operation(self._operations, self._deadline)

    def seconds_left(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def check_time(self) -> None:
        """Raise DynamoDBError with code ``deadline_exceeded`` if no time is left."""
        if self.seconds_left() <= 0:
            raise out_of_time(self._operations.options.target)

    async def read(
        self, name: str, payload: Mapping[str, Any], *, check: Check | None = None, reserved: bool = False
    ) -> dict[str, Any]:
        """Send what changes nothing."""
        return await self._run(Request(name, payload, check, reserved=reserved), write=False)

    async def write(self, name: str, payload: Mapping[str, Any], *, check: Check | None = None) -> dict[str, Any]:
        """Send what changes something, and may be sent twice with the effect of once."""
        return await self._run(Request(name, payload, check), write=True)

    def settle(self, error: DynamoDBError) -> None:
        """Let the doubts of this operation and of its newest error be one."""
        if "unknown" in {error.outcome, self.outcome}:
            self.outcome = error.outcome = "unknown"

    async def _run(self, request: Request, *, write: bool) -> dict[str, Any]:
        try:
            return await self._operations.policy.run(
                partial(self._send, request),
                total=self.seconds_left(),
                write=write,
                on_retry=partial(self._retried, request.name),
            )
        except DynamoDBError as error:
            self.settle(error)
            raise

    async def _send(self, request: Request, within: float) -> dict[str, Any]:
        self.check_time()
        events = self._operations.events
        try:
            reply = await self._operations.send(
                request.name, request.payload, within=within, reserved=request.reserved
            )
            if request.check is not None:
                request.check(reply)
        except DynamoDBError as error:
            if error.code == "throttled":
                events.throttled(request.name, error)
            raise
        if self._operations.options.report_capacity:
            events.consumed(request.name, reply)
        return reply

    def _retried(self, name: str, retry: Retry) -> None:
        self.settle(retry.error)
        self._operations.events.retried(name, retry.attempt, retry.pause, retry.error)
