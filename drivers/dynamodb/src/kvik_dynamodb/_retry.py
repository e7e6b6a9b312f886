"""When to send a request again: the policy above the seam, the same for every transport."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ._errors import DynamoDBError, Outcome

T = TypeVar("T")

_ATTEMPTS = 4
_BASE = 0.025  # seconds before the first retry, at most; doubled for each further one
_THROTTLED_BASE = 1.0  # a throttled table needs its next second, not the next millisecond
_LONGEST_PAUSE = 20.0


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
        self.tokens = min(self.capacity, self.tokens + amount)


@dataclass(frozen=True, slots=True)
class Retry:
    """Tell an observer of one retry; ``pause`` is in seconds."""

    attempt: int
    pause: float
    error: DynamoDBError


class RetryPolicy:
    """Send with at most four attempts, full jitter, and a deadline that always wins."""

    def __init__(self) -> None:
        self._budget = Budget()

    async def run(
        self,
        send: Callable[[float], Awaitable[T]],
        *,
        total: float,
        write: bool,
        on_retry: Callable[[Retry], None],
    ) -> T:
        """Call ``send(seconds left)`` until it succeeds, fails for good, or ``total`` seconds are over.

        The outcome of the error raised belongs to the whole call: after one attempt of a write that may have
        been applied, no later failure can prove that nothing was. A read changes nothing, whatever happens.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + total
        outcome: Outcome = "not_applied"
        earned = 1
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                reply = await send(deadline - clock())
            except DynamoDBError as error:
                outcome = "unknown" if write and error.outcome == "unknown" else outcome
                error.outcome = outcome
                pause = pause_before_retry(attempt, error)
                cost = 5 if error.code == "throttled" else 14
                if not error.retryable or attempt == _ATTEMPTS or clock() + pause >= deadline:
                    raise
                if not self._budget.spend(cost):
                    raise
                earned = cost
                on_retry(Retry(attempt, pause, error))
            else:
                self._budget.earn(earned)
                return reply
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover - tells the type checker


def pause_before_retry(attempt: int, error: DynamoDBError) -> float:
    """Give the seconds to wait after attempt 1, 2, …; never less than the server asked for."""
    base = _THROTTLED_BASE if error.code == "throttled" else _BASE
    longest = min(_LONGEST_PAUSE, base * 2 ** (attempt - 1))
    return max(random.uniform(0, longest), error.retry_after or 0.0)  # noqa: S311 - jitter is no secret
