"""The calls to DynamoDB, each with all that can be learnt from it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from .._errors import DynamoDBError, Target
from .._failures import translate
from .._item import Layout
from .._requests import Requests
from . import budget
from .budget import Budget
from .network import milliseconds
from .question import Question

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_SAMPLES = 5
_MOST_UNANSWERED = 2
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold the reply or the error of one call; an error may be an answer too.

    ``clock_offset``: the server's clock minus ours in seconds, None if the answer has no date.
    """

    milliseconds: float
    reply: Mapping[str, Any] | None = None
    error: DynamoDBError | None = None
    answered: bool = True
    clock_offset: float | None = None

    @property
    def cause(self) -> str:
        """The class of the failure in words, empty for a success."""
        return self.error.cause if self.error else ""

    @property
    def reason(self) -> str:
        """The server's or botocore's name for the failure."""
        return (self.error.reason or "") if self.error else ""


class Caller:
    """Make calls that never raise and never take long."""

    def __init__(self, client: "DynamoDBClient", target: Target, time_left: Budget) -> None:
        self._client = client
        self._target = target
        self._time_left = time_left
        client.meta.events.register("response-received.dynamodb", _refuse_other_servers)

    def call(self, operation: str, payload: Mapping[str, Any]) -> Answer:
        """Send one request, once."""
        send = getattr(self._client, xform_name(operation))
        longest = budget.TIMES.connect + budget.TIMES.read
        wall, began = time.time(), time.perf_counter()
        reply: Mapping[str, Any] | None = None
        error: DynamoDBError | None = None
        answered, headers = True, {}
        try:
            reply = self._time_left.run(longest, lambda: send(**payload))
            headers = reply["ResponseMetadata"]["HTTPHeaders"]
        except ClientError as failure:
            error = translate(failure, self._target)
            headers = failure.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        except TimeoutError:
            error, answered = _too_slow(self._target), False
        except Exception as failure:  # noqa: BLE001 - whatever botocore raises, translated as in the driver
            error, answered = translate(failure, self._target), False
        took = time.perf_counter() - began
        return Answer(
            milliseconds=milliseconds(took),
            reply=reply,
            error=error,
            answered=answered,
            clock_offset=_clock_offset(headers.get("date", ""), wall + took / 2),
        )

    def describe(self, operation: str) -> Answer:
        """Ask about the table."""
        return self.call(operation, {"TableName": self._target.table})

    def sample(self, question: Question) -> list[Answer]:
        """Read the health key a few times, as the driver's health does; at least once."""
        layout = Layout(question.table, question.partition_key_name, question.ttl_attribute)
        payload = Requests(layout).probe(question.health_key)
        answers = [self.call("GetItem", payload)]
        end = time.monotonic() + budget.TIMES.sampling
        while len(answers) < _SAMPLES and _unanswered(answers) < _MOST_UNANSWERED and time.monotonic() < end:
            answers.append(self.call("GetItem", payload))
        return answers


def typical_latency(answers: list[Answer]) -> float:
    """Give the median; the first call opened the connection and counts only if it is alone."""
    return round(median(answer.milliseconds for answer in answers[1:] or answers), 1)


def _unanswered(answers: list[Answer]) -> int:
    return sum(not answer.answered for answer in answers)


def _too_slow(target: Target) -> DynamoDBError:
    message = f"{target} did not answer in time: see whether it is a DynamoDB server, and what lies in between"
    return DynamoDBError(message, code="deadline_exceeded", cause="timeout")


def _clock_offset(date: str, at: float) -> float | None:
    try:
        served = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    return round(served + 0.5 - at, 1)  # the header has whole seconds, cut off: half of one on average


def _refuse_other_servers(response_dict: Mapping[str, Any] | None, **_: object) -> None:
    """Tell a page of some web server from an empty reply, which botocore would take it for."""
    if response_dict and response_dict["status_code"] == _OK and not response_dict["body"].startswith(b"{"):
        raise ResponseParserError("no JSON object")
