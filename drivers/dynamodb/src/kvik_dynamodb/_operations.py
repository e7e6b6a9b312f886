"""What the requests of one operation share: a deadline, and the doubt whether something was written."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._connection import Connection
from ._errors import DynamoDBError, Outcome
from ._events import Events
from ._failures import broken, out_of_time
from ._options import Options
from ._replies import is_well_formed
from ._retry import Retry, RetryPolicy

Check: TypeAlias = Callable[[dict[str, Any]], None]
"""Looks at a reply and raises DynamoDBError where it is to count as a failure."""


class Operations:
    """Begin operations, under one retry budget."""

    def __init__(self, options: Options, connection: Connection, events: Events) -> None:
        self.options = options
        self.connection = connection
        self.events = events
        self.policy = RetryPolicy(lambda: connection.max_attempts)
        self.remaining: Callable[[], float | None] = lambda: None

    def begin(self) -> "Operation":
        """Begin what a caller asked for: the driver's total time, or what the caller has left if that is less.

        Raises DynamoDBError: not connected, closed, or no time left.
        """
        self.connection.transport()
        left = self.remaining()
        total = self.options.total_timeout
        if left is not None and left < total:
            total = left
        if total <= 0:
            raise out_of_time(self.options.target)
        return self.start(total)

    def start(self, total: float | None = None) -> "Operation":
        """Begin an operation of the driver's own."""
        now = asyncio.get_running_loop().time()
        return Operation(self, now + (self.options.total_timeout if total is None else total))


class Operation:
    """Send requests until the deadline, each retried by the policy, and remember what is in doubt.

    Once any attempt of a write may have reached the server without a verified answer, every later failure is
    ``unknown``, whatever its kind. ``deadline`` is a time of the loop's clock.
    """

    __slots__ = ("deadline", "operations", "outcome")

    def __init__(self, operations: Operations, deadline: float) -> None:
        self.operations = operations
        self.deadline = deadline
        self.outcome: Outcome = "not_applied"

    def part(self, deadline: float | None = None) -> "Operation":
        """Give an operation with doubts of its own, and the same deadline unless another is named."""
        return Operation(self.operations, self.deadline if deadline is None else deadline)

    def seconds_left(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()

    def read(
        self, name: str, payload: Mapping[str, Any], *, check: Check | None = None, reserved: bool = False
    ) -> Awaitable[dict[str, Any]]:
        """Send what changes nothing; a ``check`` is that of a part of a batch."""
        request = _Request(self, name, payload, check, self.deadline, write=False, reserved=reserved)
        return self.operations.policy.run(request, patient=check is not None)

    def write(
        self, name: str, payload: Mapping[str, Any], *, check: Check | None = None
    ) -> Awaitable[dict[str, Any]]:
        """Send what changes something, and may be sent twice with the effect of once; ``check`` as in read."""
        request = _Request(self, name, payload, check, self.deadline, write=True)
        return self.operations.policy.run(request, patient=check is not None)

    def settle(self, error: DynamoDBError) -> None:
        """Let the doubts of this operation and of its newest error be one."""
        if "unknown" in {error.outcome, self.outcome}:
            self.outcome = error.outcome = "unknown"


@dataclass(slots=True)
class _Request:
    """One request of an operation, to be sent once or more."""

    operation: Operation
    name: str
    payload: Mapping[str, Any]
    check: Check | None
    deadline: float
    write: bool
    reserved: bool = False

    async def send(self) -> dict[str, Any]:
        operations = self.operation.operations
        if self.operation.seconds_left() <= 0:
            raise out_of_time(operations.options.target)
        transport = operations.connection.transport()
        reply = await transport.call(self.name, self.payload, self.deadline, reserved=self.reserved)
        options = operations.options
        if not is_well_formed(self.name, reply, options.partition_key_name):
            raise broken(options.target, "it has not the shape of DynamoDB's answers")
        if self.check is not None:
            self.check(reply)
        if options.report_capacity:
            operations.events.consumed(self.name, reply)
        return reply

    def failed(self, error: DynamoDBError) -> None:
        self.operation.settle(error)
        if error.code == "throttled":
            self.operation.operations.events.throttled(self.name, error)

    def retried(self, retry: Retry) -> None:
        self.operation.operations.events.retried(self.name, retry.attempt, retry.pause, retry.error)
