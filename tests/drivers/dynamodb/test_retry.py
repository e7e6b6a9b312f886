"""The retry policy by itself, over a function that fails as told."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kvik_dynamodb import DynamoDBError
from kvik_dynamodb._retry import Budget, Retry, RetryPolicy, pause_before_retry

REFUSED: dict[str, Any] = {"code": "unavailable", "cause": "network", "retryable": True}
LOST: dict[str, Any] = {**REFUSED, "outcome": "unknown"}
THROTTLED: dict[str, Any] = {"code": "throttled", "cause": "throttled", "retryable": True}
DENIED: dict[str, Any] = {"code": "access_denied", "cause": "access denied"}


def sender(*failures: dict[str, Any]) -> tuple[Callable[[float], Awaitable[str]], list[float]]:
    """Give a function that fails so and then succeeds, and the list of the times it was given."""
    script, calls = iter(failures), list[float]()

    async def send(left: float) -> str:
        calls.append(left)
        if failure := next(script, None):
            raise DynamoDBError("no", **failure)
        return "reply"

    return send, calls


async def run(policy: RetryPolicy, send: Callable[[float], Awaitable[str]], **options: Any) -> str:
    """Run a write under the policy, by default with plenty of time."""
    return await policy.run(send, **{"total": 30.0, "write": True, "on_retry": lambda _: None, **options})


async def test_retryable_failures_are_sent_again() -> None:
    """Three failures are survived, and each is told to the observer."""
    send, calls = sender(REFUSED, LOST, REFUSED)
    told: list[Retry] = []
    assert await run(RetryPolicy(), send, on_retry=told.append) == "reply"
    assert len(calls) == 4
    assert [retry.attempt for retry in told] == [1, 2, 3]


async def test_four_attempts_are_the_most() -> None:
    """The fourth failure is raised."""
    send, calls = sender(*[REFUSED] * 4)
    with pytest.raises(DynamoDBError):
        await run(RetryPolicy(), send)
    assert len(calls) == 4


async def test_other_failures_are_not_sent_again() -> None:
    """What cannot succeed later is raised at once."""
    send, calls = sender(DENIED)
    with pytest.raises(DynamoDBError):
        await run(RetryPolicy(), send)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("failures", "outcome"),
    [
        ([DENIED], "not_applied"),
        ([REFUSED, REFUSED, DENIED], "not_applied"),
        ([LOST, DENIED], "unknown"),
        ([LOST, REFUSED, REFUSED, REFUSED], "unknown"),
        ([REFUSED, LOST, DENIED], "unknown"),
    ],
)
async def test_outcome_belongs_to_the_whole_write(failures: list[dict[str, Any]], outcome: str) -> None:
    """Once an attempt may have been applied, no later failure proves that nothing was."""
    send, _ = sender(*failures)
    with pytest.raises(DynamoDBError) as caught:
        await run(RetryPolicy(), send)
    assert caught.value.outcome == outcome


async def test_a_read_changes_nothing() -> None:
    """A read's outcome is never in doubt."""
    send, _ = sender(LOST, DENIED)
    with pytest.raises(DynamoDBError) as caught:
        await run(RetryPolicy(), send, write=False)
    assert caught.value.outcome == "not_applied"


async def test_retry_after_is_honoured() -> None:
    """The server's wish is the least pause."""
    send, calls = sender({**REFUSED, "retry_after": 0.2})
    await run(RetryPolicy(), send)
    assert calls[0] - calls[1] >= 0.19


async def test_the_deadline_wins_over_retry_after() -> None:
    """A pause that would pass the deadline is not begun: the failure is raised at once."""
    send, calls = sender({**THROTTLED, "retry_after": 60.0})
    told: list[Retry] = []
    with pytest.raises(DynamoDBError) as caught:
        await run(RetryPolicy(), send, on_retry=told.append)
    assert (len(calls), told, caught.value.retry_after) == (1, [], 60.0)


@pytest.mark.parametrize(("kind", "base"), [(REFUSED, 0.025), (THROTTLED, 1.0)])
def test_pauses_double_with_full_jitter(kind: dict[str, Any], base: float) -> None:
    """The pause before a retry is anything up to 25 ms, or a second when throttled, doubled each time."""
    error = DynamoDBError("no", **kind)
    for attempt in (1, 2, 3):
        pauses = [pause_before_retry(attempt, error) for _ in range(400)]
        longest = base * 2 ** (attempt - 1)
        assert 0 <= min(pauses) < 0.1 * longest
        assert 0.9 * longest < max(pauses) <= longest


async def test_a_spent_budget_stops_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """When most calls fail, each is sent once: a brown-out does not multiply the load."""
    monkeypatch.setattr("kvik_dynamodb._retry._BASE", 0.0001)
    policy, sent = RetryPolicy(), 0
    for _ in range(30):
        send, calls = sender(*[REFUSED] * 4)
        with pytest.raises(DynamoDBError):
            await run(policy, send)
        sent += len(calls)
    assert sent == 30 + 500 // 14


def test_budget_is_earned_back_up_to_its_capacity() -> None:
    """Successes return tokens, and never more than were there."""
    budget = Budget(capacity=20, tokens=20)
    assert budget.spend(14)
    assert not budget.spend(14)
    budget.earn(8)
    assert budget.spend(14)
    budget.earn(100)
    assert budget.tokens == 20
