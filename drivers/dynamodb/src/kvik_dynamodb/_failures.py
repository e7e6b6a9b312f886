"""The kinds of failure, and the one table that turns the server's and botocore's errors into them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ._errors import ConditionFailedError, DynamoDBError, Outcome, Target
from ._headers import UnsendableError
from ._replies import is_item

_PASSWORD_IN_URL = re.compile(r"://[^\s/@]+@")

_REQUEST_TIMEOUT = 408
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500


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
_INDEX = _Row(
    "misconfigured",
    "secondary index",
    "a secondary index of {where} has an attribute of this item as its key, and does not take what is in it, since"
    " it is empty, too long or of another type: remove the index, or keep such values in another table",
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
    "no AWS region for {where}: pass region=, or set AWS_DEFAULT_REGION, AWS_REGION or the profile's region",
)
_NO_ENDPOINT = _Row(
    "misconfigured",
    "configuration",
    "botocore's rules have no endpoint for {where}: {reason}",
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
_UNTRUSTED = _Row(
    "unavailable",
    "certificate",
    "the certificate of {where} is not trusted, or is another server's ({reason}): see AWS_CA_BUNDLE, and whether"
    " the endpoint's name is right",
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

# What is retryable here is so in botocore: retries/standard.py, and data/_retry.json for DynamoDB.
# One table for both of botocore's kinds of failure: the code of an error answer, and the name of an
# exception's class. By name, since the oldest botocore that is supported lacks some of the classes.
_ROWS: Mapping[str, _Row] = {
    name: row
    for row, names in {
        _NO_TABLE: "ResourceNotFoundException TableNotFoundException",
        _DENIED: "AccessDeniedException AccessDenied UnrecognizedClientException InvalidClientTokenId"
        " InvalidSignatureException SignatureDoesNotMatch IncompleteSignature IncompleteSignatureException"
        " MissingAuthenticationToken MissingAuthenticationTokenException ExpiredTokenException ExpiredToken"
        " RequestExpired RequestTimeTooSkewed NotAuthorized OptInRequired",
        _CREDENTIALS: "NoCredentialsError PartialCredentialsError CredentialRetrievalError NoAuthTokenError"
        " TokenRetrievalError SSOError LoginError MetadataRetrievalError ProfileNotFound"
        " UnknownCredentialError RefreshWithMFAUnsupportedError",
        _NO_REGION: "NoRegionError",
        _NO_ENDPOINT: "EndpointProviderError",
        _CONFIGURATION: "BotoCoreError",
        _THROTTLED: "ProvisionedThroughputExceededException ThrottlingException Throttling ThrottledException"
        " RequestThrottledException RequestThrottled TooManyRequestsException RequestLimitExceeded"
        " BandwidthLimitExceeded LimitExceededException SlowDown PriorRequestNotComplete EC2ThrottledException",
        _CONTENTION: "TransactionInProgressException TransactionConflictException"
        " ReplicatedWriteConflictException",
        _CONDITION: "ConditionalCheckFailedException",
        _SERVER: "InternalServerError InternalServerErrorException InternalFailure ServiceUnavailable"
        " ServiceUnavailableException RequestTimeout RequestTimeoutException",
        _UNREACHABLE: "EndpointConnectionError ProxyConnectionError",
        _CONNECT_TIMEOUT: "ConnectTimeoutError",
        _READ_TIMEOUT: "ReadTimeoutError",
        _BROKEN: "HTTPClientError ConnectionError ResponseParserError IncompleteReadError ChecksumError"
        " BrokenReplyError",
    }.items()
    for name in names.split()
}


_HEADERS_OF_CREDENTIALS = frozenset({"authorization", "x-amz-security-token"})


def translate(error: BaseException, target: Target) -> DynamoDBError:
    """Turn what a boto3 call raised into the driver's error."""
    if isinstance(error, ClientError):
        return translate_answer(error.response, target)
    if isinstance(error, UnsendableError):
        row = _CREDENTIALS if error.header in _HEADERS_OF_CREDENTIALS else _CONFIGURATION
        return row.error(target, str(error))
    if _is_about_trust(error):
        return _UNTRUSTED.error(target, type(error).__name__)
    names = (base.__name__ for base in type(error).__mro__)
    row = next((_ROWS[name] for name in names if name in _ROWS), _UNEXPECTED)
    failure = row.error(target, str(error) if row is _NO_ENDPOINT else type(error).__name__)
    failure.reason = type(error).__name__
    return failure


def presentable(error: BaseException) -> BaseException:
    """Return an error to name as the cause, or its kind alone where it quotes a URL with a password."""
    each: BaseException | None = error
    while each is not None:
        if _PASSWORD_IN_URL.search(f"{each} {each.args}"):
            return WithheldError(type(error).__name__)
        each = each.__cause__ or each.__context__
    return error


class WithheldError(Exception):
    """Raised in the place of an error that quotes a secret; it has the error's kind."""


def _is_about_trust(error: BaseException | None) -> bool:
    """Find Python's or urllib3's error of certificates behind botocore's, whose name says no more than TLS."""
    while error is not None and type(error).__name__ not in {"SSLCertVerificationError", "CertificateError"}:
        error = error.__context__
    return error is not None


def out_of_time(target: Target) -> DynamoDBError:
    """Make the error for a request that is not sent, since the operation's time is over."""
    return _OUT_OF_TIME.error(target, "total_timeout")


def contention(target: Target) -> DynamoDBError:
    """Make the error for a write that others were faster than, until its time was over."""
    return _OUTRUN.error(target, "contention")


def unprocessed(target: Target) -> DynamoDBError:
    """Make the error for a batch of which the server did nothing."""
    return _THROTTLED.error(target, "unprocessed")


def unreachable(target: Target, error: Exception) -> DynamoDBError:
    """Make the error for a server to which no connection could be made."""
    row = _UNTRUSTED if _is_about_trust(error) else _UNREACHABLE
    return row.error(target, type(error).__name__)


def connect_timed_out(target: Target) -> DynamoDBError:
    """Make the error for a connection that was not there within connect_timeout."""
    return _CONNECT_TIMEOUT.error(target, "connect_timeout")


def read_timed_out(target: Target) -> DynamoDBError:
    """Make the error for a reply that was not there within read_timeout."""
    return _READ_TIMEOUT.error(target, "read_timeout")


def broken(target: Target, reason: str) -> DynamoDBError:
    """Make the error for a reply that did not come, or not as it was sent."""
    return _BROKEN.error(target, reason)


def no_credentials(target: Target, error: Exception, places: str) -> DynamoDBError:
    """Make the error for credentials that are in none of the places, or could not be had; nothing was sent."""
    known = translate(error, target)
    if known.cause == "configuration":
        return known
    failure = _CREDENTIALS.error(target, f"{known.reason}, looked at: {places}")
    failure.reason = known.reason
    return failure


def translate_answer(answer: Mapping[str, Any], target: Target) -> DynamoDBError:
    """Turn an error answer, in the shape of a ClientError's response, into the driver's error."""
    error, metadata = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    status, headers = metadata.get("HTTPStatusCode", 0), metadata.get("HTTPHeaders", {})
    code, message = code_of(error.get("Code"), headers, status), str(error.get("Message", ""))
    row = _ROWS.get(code) or _row_of_unlisted(code, message, status)
    if status >= _FIRST_SERVER_ERROR and not row.retryable:  # whatever it is called, as botocore has it
        row = _SERVER
    reason = _throttling_reason(answer) or code if row is _THROTTLED else code
    failure = row.error(target, reason, _retry_after(headers))
    if isinstance(failure, ConditionFailedError):
        item = answer.get("Item")
        failure.item = item if is_item(item) else None
    return failure


def code_of(named: object, headers: Mapping[str, str], status: int) -> str:
    """Return an error's code: its name in the body or a header, without namespace and address, else the status.

    Such as ``com.amazonaws.dynamodb.v20120810#ThrottlingException:http://internal.amazon.com/coral/…``.
    """
    name = str(named or "")
    if name in {"", str(status)}:
        name = headers.get("x-amzn-errortype", "")
    return name.partition(":")[0].rpartition("#")[2].strip() or str(status)


def _row_of_unlisted(code: str, message: str, status: int) -> _Row:
    if status == _TOO_MANY_REQUESTS:
        return _THROTTLED
    if status >= _FIRST_SERVER_ERROR or status == _REQUEST_TIMEOUT:
        return _SERVER
    if code != "ValidationException":
        return _REFUSED
    if "Item size" in message:
        return _TOO_LARGE
    if "index" in message.lower() or "size limit" in message.lower():  # of our own key the size has been checked
        return _INDEX
    # The servers word it in five ways; that all name a key, and keys are checked before they are sent.
    return _WRONG_KEY if "key" in message.lower() else _REFUSED


def _throttling_reason(answer: Any) -> str | None:
    # docs: "Diagnosing throttling": AWS says which limits were hit, in a list; the first serves as a reason.
    try:
        reason = answer["ThrottlingReasons"][0]["reason"]
    except (LookupError, TypeError):
        return None
    return reason if isinstance(reason, str) else None


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
