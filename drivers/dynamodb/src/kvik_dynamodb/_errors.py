"""The driver's one exception, and the one table that turns botocore's errors into it.

No message holds a key, a value, a secret or the backend's text (which may quote any of them);
the original error is the ``__cause__``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from botocore.exceptions import ClientError

Outcome: TypeAlias = Literal["not_applied", "unknown"]

Versioned: TypeAlias = tuple[str, str, float | None]
"""A value, its version, and when it expires, in seconds since the epoch."""


class DynamoDBError(Exception):
    """Say what failed, why, and what to do about it.

    ``code`` is one of Kvik's words (``unavailable``, ``throttled``, ``misconfigured``, …). ``cause`` is the
    class of the cause in words for a person, as health shows it. ``outcome`` says of a write whether it may
    have happened. ``retryable``: the same call may succeed later. ``retry_after``: the seconds that the
    server asked for. ``reason``: the server's or botocore's own name for the failure. ``size`` and ``limit``
    are in bytes. ``current``: what a conflict found, None if nothing. ``results`` and ``errors``: what of a
    partial failure succeeded, and the error of each other key.
    """

    current: Versioned | None = None
    results: dict[str, str] | list[str] | None = None
    errors: Mapping[str, "DynamoDBError"] | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str,
        cause: str,
        outcome: Outcome = "not_applied",
        retryable: bool = False,
        retry_after: float | None = None,
        reason: str | None = None,
        size: int | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.cause = cause
        self.outcome: Outcome = outcome
        self.retryable = retryable
        self.retry_after = retry_after
        self.reason = reason
        self.size = size
        self.limit = limit


class ConditionFailedError(DynamoDBError):
    """Say that an item was not as a condition demanded.

    ``item`` is the one that was found, in DynamoDB's low-level JSON shape; None if there was none, or if the
    server does not tell.
    """

    item: dict[str, Any] | None = None


class BrokenReplyError(Exception):
    """Signal a reply that arrived, but not as the server sent it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Name the place that a message speaks of."""

    table: str
    region: str
    endpoint: str
    partition_key_name: str

    def __str__(self) -> str:
        region = f" in {self.region}" if self.region else ""
        endpoint = f" at {self.endpoint}" if self.endpoint else ""
        return f"table {self.table!r}{region}{endpoint}"


@dataclass(frozen=True, slots=True)
class _Row:
    code: str
    cause: str
    message: str
    outcome: Outcome = "not_applied"
    retryable: bool = False
    kind: type[DynamoDBError] = DynamoDBError

    def error(self, target: Target, reason: str, retry_after: float | None = None) -> DynamoDBError:
        return self.kind(
            self.message.format(where=target, pk=target.partition_key_name, reason=reason),
            code=self.code,
            cause=self.cause,
            outcome=self.outcome,
            retryable=self.retryable,
            retry_after=retry_after,
            reason=reason,
        )


_NO_TABLE = _Row(
    "misconfigured",
    "no such table",
    "there is no {where}: create it, or pass create_table=True for development",
)
_WRONG_KEY = _Row(
    "misconfigured",
    "wrong key schema",
    "the key of {where} is not one string partition key {pk!r} without a sort key: pass the table's own"
    " partition_key_name, or use another table",
)
_TOO_LARGE = _Row("value_too_large", "request", "the item is larger than {where} takes")
_DENIED = _Row(
    "access_denied",
    "access denied",
    "AWS refused the credentials for {where} ({reason}): check that they are current, belong to this account"
    " and region, and that their IAM policy allows the action on the table",
)
_CREDENTIALS = _Row(
    "access_denied",
    "credentials",
    "no usable AWS credentials for {where} ({reason}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a"
    " profile or role; local servers take dummy ones",
)
_NO_REGION = _Row(
    "misconfigured",
    "configuration",
    "no AWS region for {where}: pass region=, or set AWS_DEFAULT_REGION or the profile's region",
)
_CONFIGURATION = _Row(
    "misconfigured",
    "configuration",
    "the AWS configuration does not work for {where} ({reason}): check region, AWS_PROFILE and ~/.aws/config",
)
_THROTTLED = _Row(
    "throttled",
    "throttled",
    "DynamoDB throttled {where} ({reason}): raise its capacity, or spread the load over more keys",
    retryable=True,
)
_CONTENTION = _Row("throttled", "throttled", "others write the same item of {where} ({reason})", retryable=True)
_CONDITION = _Row(
    "conflict",
    "condition",
    "an item of {where} was not as the write demanded",
    kind=ConditionFailedError,
)
_SERVER = _Row(
    "unavailable",
    "server error",
    "DynamoDB failed inside on {where} ({reason}): try again later",
    outcome="unknown",
    retryable=True,
)
_UNREACHABLE = _Row(
    "unavailable",
    "network",
    "cannot connect to {where} ({reason}): check that the server runs and that endpoint and region are right",
    retryable=True,
)
_CONNECT_TIMEOUT = _Row(
    "unavailable",
    "timeout",
    "connecting to {where} took too long: check endpoint, region and the network in between",
    retryable=True,
)
_BROKEN = _Row(
    "unavailable",
    "network",
    "the connection to {where} broke before a whole answer came ({reason}): if it stays so, check that the"
    " endpoint is a DynamoDB server",
    outcome="unknown",
    retryable=True,
)
_READ_TIMEOUT = _Row(
    "deadline_exceeded",
    "timeout",
    "{where} accepted the request and did not answer in time: try again, or raise read_timeout",
    outcome="unknown",
    retryable=True,
)
_OUT_OF_TIME = _Row(
    "deadline_exceeded",
    "timeout",
    "the time for an operation on {where} was over: raise total_timeout or the caller's deadline",
    retryable=True,
)
_OUTRUN = _Row(
    "throttled",
    "contention",
    "others wrote the same item of {where} all the time: spread the load over more keys",
    retryable=True,
)
_REFUSED = _Row(
    "misconfigured",
    "request refused",
    "the server refused the request on {where} ({reason}): check that the endpoint is a DynamoDB server",
)
_UNEXPECTED = _Row(
    "internal",
    "other",
    "the AWS client failed on {where} ({reason}): the log has its own error as the cause",
    outcome="unknown",
)

# One table for both of botocore's kinds of failure: the code of an error answer, and the name of an
# exception's class. By name, since the oldest botocore that is supported lacks some of the classes.
_ROWS: Mapping[str, _Row] = {
    name: row
    for row, names in {
        _NO_TABLE: "ResourceNotFoundException TableNotFoundException",
        _DENIED: "AccessDeniedException AccessDenied UnrecognizedClientException InvalidClientTokenId"
        " InvalidSignatureException SignatureDoesNotMatch IncompleteSignature IncompleteSignatureException"
        " MissingAuthenticationToken MissingAuthenticationTokenException ExpiredTokenException ExpiredToken"
        " RequestExpired NotAuthorized OptInRequired",
        _CREDENTIALS: "NoCredentialsError PartialCredentialsError CredentialRetrievalError NoAuthTokenError"
        " TokenRetrievalError SSOError LoginError MetadataRetrievalError ProfileNotFound"
        " UnknownCredentialError RefreshWithMFAUnsupportedError",
        _NO_REGION: "NoRegionError",
        _CONFIGURATION: "BotoCoreError",
        _THROTTLED: "ProvisionedThroughputExceededException ThrottlingException Throttling ThrottledException"
        " RequestThrottledException RequestThrottled TooManyRequestsException RequestLimitExceeded"
        " BandwidthLimitExceeded LimitExceededException 429",
        _CONTENTION: "TransactionInProgressException TransactionConflictException"
        " ReplicatedWriteConflictException",
        _CONDITION: "ConditionalCheckFailedException",
        _SERVER: "InternalServerError InternalServerErrorException InternalFailure ServiceUnavailable"
        " ServiceUnavailableException",
        _UNREACHABLE: "EndpointConnectionError ProxyConnectionError",
        _CONNECT_TIMEOUT: "ConnectTimeoutError",
        _READ_TIMEOUT: "ReadTimeoutError",
        _BROKEN: "HTTPClientError ConnectionError ResponseParserError IncompleteReadError ChecksumError"
        " BrokenReplyError",
    }.items()
    for name in names.split()
}


def translate(error: Exception, target: Target) -> DynamoDBError:
    """Turn what a boto3 call raised into the driver's error."""
    if isinstance(error, ClientError):
        return _translate_answer(error.response, target)
    names = (base.__name__ for base in type(error).__mro__)
    row = next((_ROWS[name] for name in names if name in _ROWS), _UNEXPECTED)
    return row.error(target, type(error).__name__)


def misconfigured(message: str) -> DynamoDBError:
    """Make the error for an option that cannot work."""
    return DynamoDBError(message, code="misconfigured", cause="configuration")


def not_connected(target: Target) -> DynamoDBError:
    """Make the error for a call before connect()."""
    message = f"DynamoDB on {target} is not connected: await connect() first, or use it by async with"
    return DynamoDBError(message, code="misconfigured", cause="not connected")


def closed(target: Target) -> DynamoDBError:
    """Make the error for a call after close()."""
    message = f"DynamoDB on {target} is closed: await connect() to use it again"
    return DynamoDBError(message, code="unavailable", cause="closed")


def timed_out(target: Target, seconds: float, *, started: bool) -> DynamoDBError:
    """Make the error for a call whose time ran out here; one that never started changed nothing."""
    what = "did not finish" if started else "found every connection busy"
    return DynamoDBError(
        f"a call on {target} {what} within {seconds:.3g} s: raise "
        + (
            "total_timeout or the caller's deadline, or look at the server"
            if started
            else "max_connections, or send less"
        ),
        code="deadline_exceeded",
        cause="timeout",
        outcome="unknown" if started else "not_applied",
        retryable=True,
        reason="total_timeout" if started else "max_connections",
    )


def out_of_time(target: Target) -> DynamoDBError:
    """Make the error for a request that is not sent, since the operation's time is over."""
    return _OUT_OF_TIME.error(target, "total_timeout")


def contention(target: Target) -> DynamoDBError:
    """Make the error for a write that others were faster than, until its time was over."""
    return _OUTRUN.error(target, "contention")


def unprocessed(target: Target) -> DynamoDBError:
    """Make the error for a batch of which the server did nothing."""
    return _THROTTLED.error(target, "unprocessed")


def conflict(target: Target, current: Versioned | None, outcome: Outcome) -> DynamoDBError:
    """Make the error for a conditional write that found something else."""
    error = DynamoDBError(
        f"the key's version in {target} is not the expected one"
        + ("" if outcome == "not_applied" else ", and whether this write made it so is not known"),
        code="conflict",
        cause="condition",
        outcome=outcome,
    )
    error.current = current
    return error


def partial_failure(
    target: Target, results: dict[str, str] | list[str], errors: Mapping[str, DynamoDBError], outcome: Outcome
) -> DynamoDBError:
    """Make the error for a batch that failed for some keys."""
    codes = ", ".join(sorted({error.code for error in errors.values()}))
    error = DynamoDBError(
        f"{len(errors)} keys of a batch on {target} failed: {codes}",
        code="partial_failure",
        cause=next(iter(errors.values())).cause,
        outcome=outcome,
        retryable=all(each.retryable for each in errors.values()),
    )
    error.results, error.errors = results, errors
    return error


def _translate_answer(answer: Any, target: Target) -> DynamoDBError:
    error, metadata = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code = error.get("Code", "")
    row = _ROWS.get(code) or _row_of_unlisted(code, error.get("Message", ""), metadata.get("HTTPStatusCode", 0))
    reason = _throttling_reason(answer) or code if row is _THROTTLED else code
    failure = row.error(target, reason, _retry_after(metadata.get("HTTPHeaders", {})))
    if isinstance(failure, ConditionFailedError):
        failure.item = answer.get("Item")
    return failure


def _row_of_unlisted(code: str, message: str, status: int) -> _Row:
    if status >= 500:  # noqa: PLR2004 - HTTP's own class of statuses
        return _SERVER
    if code != "ValidationException":
        return _REFUSED
    if "Item size" in message:
        return _TOO_LARGE
    # The servers word it in five ways; that all name a key, and keys are checked before they are sent.
    return _WRONG_KEY if "key" in message.lower() else _REFUSED


def _throttling_reason(answer: Any) -> str | None:
    # docs: "Diagnosing throttling": AWS says which limits were hit, in a list; the first serves as a reason.
    reasons: list[dict[str, str]] = answer.get("ThrottlingReasons") or [{}]
    return reasons[0].get("reason")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read x-amz-retry-after (milliseconds, as botocore reads it) or HTTP's Retry-After, in seconds."""
    for name, unit in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):  # absent, or a date, which no DynamoDB server sends
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None
