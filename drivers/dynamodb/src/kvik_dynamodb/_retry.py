"""When to send a request again: the policy above the seam, the same for every transport."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ._errors import DynamoDBError, Outcome

_ATTEMPTS = 4
_BASE = 0.025  # seconds before the first retry, at most; doubled for each further one
_THROTTLED_BASE = 1.0  # a throttled table needs its next second, not the next millisecond
_LONGEST_PAUSE = 20.0
_TIME_FOR_ONE = 0.1  # seconds that an attempt should have


@dataclass(slots=True)
class Budget:
    """Keep a brown-out from multiplying the load: retries cost tokens, successes earn them back.

    The figures are those of the AWS SDKs' retry specification as botocore has them.
    """

    capacity: int = 500
    tokens: int = 500

    def spend(self, cost: int) -> bool:
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def earn(self, amount: int) -> None:
        if self.tokens < self.capacity:
            self.tokens = min(self.capacity, self.tokens + amount)


@dataclass(frozen=True, slots=True)
class Retry:
    """Tell of one retry; ``pause`` is in seconds."""

    attempt: int
    pause: float
    error: DynamoDBError


class Attempts(Protocol):
    """What can be sent more than once; ``deadline`` is a time of the loop's clock."""

    write: bool
    deadline: float

    async def send(self) -> dict[str, Any]:
        """Send once. Raises DynamoDBError."""

    def failed(self, error: DynamoDBError) -> None:
        """Look at each failure, whose outcome is that of all attempts so far."""

    def retried(self, retry: Retry) -> None:
        """Look at each retry, before its pause."""


class RetryPolicy:
    """Send a configured number of times at most, with full jitter and a deadline that always wins."""

    def __init__(self, max_attempts: Callable[[], int | None] = lambda: None) -> None:
        self._max_attempts = max_attempts
        self._budget = Budget()

    async def run(self, attempts: Attempts, *, patient: bool = False) -> dict[str, Any]:
        """Send until that succeeds, fails for good, or the time is over.

        ``patient``: throttling counts as no attempt, for a part of a batch that is larger than what a table takes
        in a second; unless a number of attempts is configured.

        The outcome of the error raised belongs to the whole call: after one attempt of a write that may have
        been applied, no later failure can prove that nothing was. A read changes nothing, whatever happens.
        """
        try:
            reply = await attempts.send()
        except DynamoDBError as error:
            first = error
        else:
            self._budget.earn(1)
            return reply
        return await self._send_again(attempts, first, patient=patient)

    async def _send_again(self, attempts: Attempts, error: DynamoDBError, *, patient: bool) -> dict[str, Any]:
        outcome: Outcome = "not_applied"
        attempt, counted = 1, 0
        while True:
            outcome = "unknown" if attempts.write and error.outcome == "unknown" else outcome
            error.outcome = outcome
            attempts.failed(error)
            is_throttled = error.code == "throttled"
            cost = 5 if is_throttled else 14
            if patient and is_throttled and self._max_attempts() is None:
                pause = _within(attempts.deadline, pause_before_retry(min(attempt, _ATTEMPTS), error), error)
            else:
                counted += 1
                pause = pause_before_retry(counted, error)
            if counted >= (self._max_attempts() or _ATTEMPTS) or not self._allows(attempts, error, pause, cost):
                raise error
            attempts.retried(Retry(attempt, pause, error))
            await asyncio.sleep(pause)
            attempt += 1
            try:
                reply = await attempts.send()
            except DynamoDBError as another:
                error = another
            else:
                self._budget.earn(cost)
                return reply

    def _allows(self, attempts: Attempts, error: DynamoDBError, pause: float, cost: int) -> bool:
        in_time = asyncio.get_running_loop().time() + pause < attempts.deadline
        return error.retryable and in_time and self._budget.spend(cost)


def _within(deadline: float, pause: float, error: DynamoDBError) -> float:
    """Shorten a pause to what leaves time for the attempt behind it, but not below what the server asked for."""
    left = deadline - asyncio.get_running_loop().time()
    return max(min(pause, left / 2), error.retry_after or 0.0) if left > _TIME_FOR_ONE else left


def pause_before_retry(attempt: int, error: DynamoDBError) -> float:
    """Give the seconds to wait after attempt 1, 2, …; never less than the server asked for."""
    base = _THROTTLED_BASE if error.code == "throttled" else _BASE
    longest = min(_LONGEST_PAUSE, base * 2 ** (attempt - 1))
    return max(random.uniform(0, longest), error.retry_after or 0.0)  # noqa: S311 - jitter is no secret
