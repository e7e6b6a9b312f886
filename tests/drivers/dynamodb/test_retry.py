"""The retry policy by itself, over a request that fails as told."""

import asyncio
from typing import Any

import pytest

from kvik_dynamodb import DynamoDBError
from kvik_dynamodb._retry import Budget, Retry, RetryPolicy, pause_before_retry

REFUSED: dict[str, Any] = {"code": "unavailable", "cause": "network", "retryable": True}
LOST: dict[str, Any] = {**REFUSED, "outcome": "unknown"}
THROTTLED: dict[str, Any] = {"code": "throttled", "cause": "throttled", "retryable": True}
DENIED: dict[str, Any] = {"code": "access_denied", "cause": "access denied"}


class Sent:
    """A request that fails so and then succeeds; it keeps the times of its attempts, and what it is told."""

    def __init__(self, *failures: dict[str, Any], seconds: float = 30.0, write: bool = True) -> None:
        self.write = write
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.times: list[float] = []
        self.retries: list[Retry] = []
        self._script = iter(failures)

    async def send(self) -> dict[str, Any]:
        self.times.append(asyncio.get_running_loop().time())
        if failure := next(self._script, None):
            raise DynamoDBError("no", **failure)
        return {"Item": "reply"}

    def failed(self, error: DynamoDBError) -> None:
        """Leave it: the driver counts throttles here."""

    def retried(self, retry: Retry) -> None:
        self.retries.append(retry)


async def test_retryable_failures_are_sent_again() -> None:
    """Three failures are survived, and each is told to the observer."""
    sent = Sent(REFUSED, LOST, REFUSED)
    assert await RetryPolicy().run(sent) == {"Item": "reply"}
    assert len(sent.times) == 4
    assert [retry.attempt for retry in sent.retries] == [1, 2, 3]


async def test_four_attempts_are_the_most() -> None:
    """The fourth failure is raised."""
    sent = Sent(*[REFUSED] * 4)
    with pytest.raises(DynamoDBError):
        await RetryPolicy().run(sent)
    assert len(sent.times) == 4


@pytest.mark.usefixtures("quick_throttling")
async def test_throttling_costs_a_patient_call_no_attempt() -> None:
    """It goes on within its time; other failures still count."""
    sent = Sent(*[THROTTLED] * 9, *[REFUSED] * 3)
    assert await RetryPolicy().run(sent, patient=True) == {"Item": "reply"}
    sent = Sent(*[THROTTLED] * 9, *[REFUSED] * 4)
    with pytest.raises(DynamoDBError) as caught:
        await RetryPolicy().run(sent, patient=True)
    assert (caught.value.code, len(sent.times)) == ("unavailable", 13)


async def test_a_patient_call_ends_in_time() -> None:
    """Its pauses fit into what is left, and what is raised at last is the throttling."""
    sent = Sent(*[THROTTLED] * 99, seconds=0.5)
    with pytest.raises(DynamoDBError) as caught:
        await RetryPolicy().run(sent, patient=True)
    assert caught.value.code == "throttled"
    assert len(sent.times) > 1
    assert sent.times[-1] < sent.deadline


@pytest.mark.usefixtures("quick_throttling")
async def test_a_configured_number_of_attempts_binds_a_patient_call_too() -> None:
    """AWS_MAX_ATTEMPTS means what it says."""
    sent = Sent(*[THROTTLED] * 9)
    with pytest.raises(DynamoDBError):
        await RetryPolicy(lambda: 2).run(sent, patient=True)
    assert len(sent.times) == 2


async def test_other_failures_are_not_sent_again() -> None:
    """What cannot succeed later is raised at once."""
    sent = Sent(DENIED)
    with pytest.raises(DynamoDBError):
        await RetryPolicy().run(sent)
    assert len(sent.times) == 1


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
    sent = Sent(*failures)
    with pytest.raises(DynamoDBError) as caught:
        await RetryPolicy().run(sent)
    assert caught.value.outcome == outcome


async def test_a_read_changes_nothing() -> None:
    """A read's outcome is never in doubt."""
    sent = Sent(LOST, DENIED, write=False)
    with pytest.raises(DynamoDBError) as caught:
        await RetryPolicy().run(sent)
    assert caught.value.outcome == "not_applied"


async def test_retry_after_is_honoured() -> None:
    """The server's wish is the least pause."""
    sent = Sent({**REFUSED, "retry_after": 0.2})
    await RetryPolicy().run(sent)
    assert sent.times[1] - sent.times[0] >= 0.19


async def test_the_deadline_wins_over_retry_after() -> None:
    """A pause that would pass the deadline is not begun: the failure is raised at once."""
    sent = Sent({**THROTTLED, "retry_after": 60.0})
    with pytest.raises(DynamoDBError) as caught:
        await RetryPolicy().run(sent)
    assert (len(sent.times), sent.retries, caught.value.retry_after) == (1, [], 60.0)


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
    policy, attempts = RetryPolicy(), 0
    for _ in range(30):
        sent = Sent(*[REFUSED] * 4)
        with pytest.raises(DynamoDBError):
            await policy.run(sent)
        attempts += len(sent.times)
    assert attempts == 30 + 500 // 14


def test_budget_is_earned_back_up_to_its_capacity() -> None:
    """Successes return tokens, and never more than were there."""
    budget = Budget(capacity=20, tokens=20)
    assert budget.spend(14)
    assert not budget.spend(14)
    budget.earn(8)
    assert budget.spend(14)
    budget.earn(100)
    assert budget.tokens == 20
