"""The one table that turns botocore's errors into the driver's."""

import inspect
from typing import Any

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker

from kvik_dynamodb import DynamoDBError
from kvik_dynamodb._errors import Target
from kvik_dynamodb._failures import translate

# It shows them nowhere else, and its stubs not at all.
THROTTLED_IN_BOTOCORE: list[str] = vars(ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"]
TARGET = Target("my-table", "eu-west-1", "http://localhost:8001", "pk")


def answered(code: str, status: int = 400, message: str = "hidden", **extra: Any) -> DynamoDBError:
    """Translate an error answer of the server."""
    headers = extra.pop("headers", {})
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        **extra,
    }
    return translate(ClientError(response, "GetItem"), TARGET)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ResourceNotFoundException", 400, ("misconfigured", "no such table", "not_applied", False)),
        ("AccessDeniedException", 400, ("access_denied", "access denied", "not_applied", False)),
        ("UnrecognizedClientException", 400, ("access_denied", "access denied", "not_applied", False)),
        ("InvalidSignatureException", 400, ("access_denied", "access denied", "not_applied", False)),
        ("ExpiredTokenException", 400, ("access_denied", "access denied", "not_applied", False)),
        ("ProvisionedThroughputExceededException", 400, ("throttled", "throttled", "not_applied", True)),
        ("ThrottlingException", 400, ("throttled", "throttled", "not_applied", True)),
        ("RequestLimitExceeded", 400, ("throttled", "throttled", "not_applied", True)),
        ("429", 429, ("throttled", "throttled", "not_applied", True)),
        ("TransactionInProgressException", 400, ("throttled", "throttled", "not_applied", True)),
        ("ReplicatedWriteConflictException", 409, ("throttled", "throttled", "not_applied", True)),
        ("InternalServerError", 500, ("unavailable", "server error", "unknown", True)),
        ("502", 502, ("unavailable", "server error", "unknown", True)),
        ("ServiceUnavailable", 503, ("unavailable", "server error", "unknown", True)),
        ("504", 504, ("unavailable", "server error", "unknown", True)),
        *((code, 400, ("throttled", "throttled", "not_applied", True)) for code in THROTTLED_IN_BOTOCORE),
        *(
            (code, 400, ("unavailable", "server error", "unknown", True))
            for code in ("RequestTimeout", "RequestTimeoutException")
        ),
        ("408", 408, ("unavailable", "server error", "unknown", True)),
        ("AnythingElse", 429, ("throttled", "throttled", "not_applied", True)),
        *(
            ("ValidationException", status, ("unavailable", "server error", "unknown", True))
            for status in (500, 502, 503, 504, 509)
        ),
        ("404", 404, ("misconfigured", "request refused", "not_applied", False)),
        ("ValidationException", 400, ("misconfigured", "request refused", "not_applied", False)),
    ],
)
def test_answers(code: str, status: int, expected: tuple[str, str, str, bool]) -> None:
    """Each error code has its own kind, cause, outcome and hope; its name is the reason."""
    error = answered(code, status)
    assert (error.code, error.cause, error.outcome, error.retryable) == expected
    assert error.reason == code


@pytest.mark.parametrize(
    "named",
    [
        "ThrottlingException",
        "com.amazonaws.dynamodb.v20120810#ThrottlingException",
        "com.amazonaws.dynamodb.v20120810#ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral/",
        "ThrottlingException:http://internal.amazon.com/coral/#com.amazon.coral/",
    ],
)
def test_every_way_to_name_an_error(named: str) -> None:
    """With a namespace before it and an address behind; in a header where the body does not say."""
    for error in (answered(named), answered("400", headers={"x-amzn-errortype": named})):
        assert (error.code, error.reason) == ("throttled", "ThrottlingException")


@pytest.mark.parametrize(
    "message",
    [
        "The provided key element does not match the schema",
        "The number of conditions on the keys is invalid",
        "One of the required keys was not given a value",
        "One or more parameter values were invalid: Missing the key id in the item",
        "One or more parameter values were invalid: Type mismatch for key pk expected: N actual: S",
    ],
)
def test_every_wording_of_a_wrong_key_schema(message: str) -> None:
    """All that AWS, DynamoDB Local and moto say about another key is one kind."""
    error = answered("ValidationException", message=message)
    assert (error.code, error.cause) == ("misconfigured", "wrong key schema")
    assert "'pk'" in str(error)


def test_an_item_too_large_for_the_server() -> None:
    """The server's own refusal of a large item is the same kind as the driver's."""
    error = answered("ValidationException", message="Item size has exceeded the maximum allowed size")
    assert error.code == "value_too_large"


@pytest.mark.parametrize(
    ("raised", "code", "cause", "outcome"),
    [
        (botocore.exceptions.NoCredentialsError(), "access_denied", "credentials", "not_applied"),
        (
            botocore.exceptions.PartialCredentialsError(provider="env", cred_var="x"),
            "access_denied",
            "credentials",
            "not_applied",
        ),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="", error=""),
            "unavailable",
            "network",
            "not_applied",
        ),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url=""), "unavailable", "timeout", "not_applied"),
        (botocore.exceptions.ReadTimeoutError(endpoint_url=""), "deadline_exceeded", "timeout", "unknown"),
        (botocore.exceptions.ConnectionClosedError(endpoint_url=""), "unavailable", "network", "unknown"),
        (botocore.exceptions.SSLError(endpoint_url="", error=OSError()), "unavailable", "network", "unknown"),
        (botocore.exceptions.HTTPClientError(error=""), "unavailable", "network", "unknown"),
        (ResponseParserError("hidden"), "unavailable", "network", "unknown"),
        (botocore.exceptions.NoRegionError(), "misconfigured", "configuration", "not_applied"),
        (botocore.exceptions.InvalidRegionError(region_name=""), "misconfigured", "configuration", "not_applied"),
        (RuntimeError("hidden"), "internal", "other", "unknown"),
    ],
)
def test_exceptions(raised: Exception, code: str, cause: str, outcome: str) -> None:
    """Each of botocore's exceptions has its kind, by its class or its nearest known base."""
    error = translate(raised, TARGET)
    assert (error.code, error.cause, error.outcome) == (code, cause, outcome)
    assert error.reason == type(raised).__name__


def test_every_exception_of_botocore_is_known() -> None:
    """No exception class of the installed botocore falls through the table."""
    classes = [kind for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass)]
    known = [kind for kind in classes if issubclass(kind, botocore.exceptions.BotoCoreError)]
    assert len(known) > 50
    assert [kind for kind in known if translate(kind.__new__(kind), TARGET).code == "internal"] == []


def test_messages_name_the_place_and_quote_nothing() -> None:
    """A message has the table, region and endpoint, and none of the server's text."""
    for error in (answered("AccessDeniedException"), answered("500", 500), translate(KeyError("hidden"), TARGET)):
        assert "table 'my-table' in eu-west-1 at http://localhost:8001" in str(error)
        assert "hidden" not in str(error)


def test_throttling_reasons_of_aws_are_the_reason() -> None:
    """Where AWS says which limit was hit, that is the reason."""
    reasons = [{"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn"}]
    assert answered("ThrottlingException", ThrottlingReasons=reasons).reason == reasons[0]["reason"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"retry-after": "2"}, 2.0),
        ({"x-amz-retry-after": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"x-amz-retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """AWS's header is in milliseconds, HTTP's in seconds; nonsense is left out."""
    assert answered("ThrottlingException", headers=headers).retry_after == seconds
