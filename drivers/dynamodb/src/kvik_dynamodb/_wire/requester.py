"""One request, signed and sent, its reply verified and decoded."""

import asyncio
import time
from binascii import crc32
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from .._errors import BrokenReplyError, DynamoDBError, Target, closed, credentials_too_slow
from .._events import Events
from .._failures import broken, code_of, no_credentials, presentable, translate, translate_answer
from .._headers import UnsendableError
from .credentials import CredentialSource, SourceClosedError
from .http import Reply
from .lane import Lane
from .pieces import PIECE, checksum_of, decode_batch
from .signing import Credentials, Signer

_OK: Final = 200
_CLOCK_CODES: Final = frozenset({"InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed"})
_EXPIRED_CODES: Final = frozenset({"ExpiredTokenException", "ExpiredToken"})
_SMALLEST_SKEW: Final = 30.0
"""Seconds; where the clocks are nearer to each other, a signature was refused for another reason."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RefusedError(Exception):
    """Hold the server's own words, for a log."""


class Requester:
    """Make requests of operations, and answers of replies."""

    def __init__(self, target: Target, signer: Signer, credentials: CredentialSource, events: Events) -> None:
        self._target = target
        self._signer = signer
        self._credentials = credentials
        self._events = events
        self._skew = 0.0

    async def call(
        self, lane: Lane, operation: str, payload: Mapping[str, Any], deadline: float
    ) -> dict[str, Any]:
        """Send one request on a lane, and give its answer; see Transport.call.

        It is sent once more where only the signature was at fault: the clock's, or credentials that had expired.
        """
        body, skew = _encode(payload), self._skew
        credentials = self._credentials.known()
        if credentials is None:
            credentials = await find_credentials(self._credentials, self._target, deadline)
        reply = await lane.exchange(self._request(operation, body, credentials), deadline)
        in_doubt = reply.is_second  # it speaks of its own request, and the first may have been applied
        try:
            if reply.status != _OK:
                better = await self._sign_better(reply, credentials, skew, deadline)
                if better is not None:
                    reply = await lane.exchange(self._request(operation, body, better), deadline)
                    in_doubt |= reply.is_second
            if operation == "BatchGetItem" and reply.status == _OK and reply.is_longer_than(PIECE):
                return await self._large_answer(reply)
            return self._answer(reply)
        except DynamoDBError as error:
            if in_doubt:
                error.outcome = "unknown"
            raise

    async def _sign_better(
        self, reply: Reply, credentials: Credentials, skew: float, deadline: float
    ) -> Credentials | None:
        """Give what to sign with once more, None where another signature would change nothing."""
        code = code_of(_json(reply).get("__type"), _headers(reply), reply.status)
        if code in _EXPIRED_CODES:
            newer = await find_credentials(self._credentials, self._target, deadline, credentials)
            return None if newer == credentials else newer
        return credentials if code in _CLOCK_CODES and self._correct_clock(reply, skew) else None

    def _request(self, operation: str, body: bytes, credentials: Credentials) -> bytes:
        try:
            return self._signer.request(operation, body, credentials, time.time() + self._skew)
        except UnsendableError as error:
            raise translate(error, self._target) from error

    def _correct_clock(self, reply: Reply, used: float) -> bool:
        """Take the server's time for the right one; say whether that makes another signature than ``used``."""
        try:
            there = parsedate_to_datetime(reply.headers[b"date"].decode("latin-1")).timestamp()
        except (LookupError, ValueError, TypeError, OverflowError):
            return False
        skew = there - time.time()
        if abs(skew - used) < _SMALLEST_SKEW:
            return False
        if abs(skew - self._skew) >= _SMALLEST_SKEW:  # the first of many to notice
            self._skew = skew
            self._events.warning("dynamodb.clock_skew", seconds=round(skew))
        return True

    def _answer(self, reply: Reply) -> dict[str, Any]:
        """Give what was answered. Raises DynamoDBError for a refusal, and for a reply that was damaged."""
        body = reply.body
        self._verify(reply, crc32(body))
        if reply.status == _OK:
            try:
                return _decode(body)
            except (msgspec.DecodeError, RecursionError) as error:
                raise self._no_json() from error
        described = _described(reply)
        raise translate_answer(described, self._target) from RefusedError(described["Error"])

    async def _large_answer(self, reply: Reply) -> dict[str, Any]:
        """Do the same for a batch, piece by piece."""
        self._verify(reply, await checksum_of(reply.parts))
        try:
            return await decode_batch(reply.parts)
        except (msgspec.DecodeError, RecursionError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._no_json() from error

    def _verify(self, reply: Reply, checksum: int) -> None:
        told = reply.headers.get(b"x-amz-crc32")
        if told is not None and told != b"%d" % checksum:
            raise broken(self._target, "x-amz-crc32 differs") from BrokenReplyError("x-amz-crc32 differs")

    def _no_json(self) -> DynamoDBError:
        return broken(self._target, "the body is no JSON object")


async def find_credentials(
    source: CredentialSource, target: Target, deadline: float, refused: Credentials | None = None
) -> Credentials:
    """Return credentials, newer than refused ones where there are such. Raises DynamoDBError."""
    try:
        async with asyncio.timeout_at(deadline):
            if refused is not None:
                await source.renew(refused)
            return await source.get()
    except TimeoutError:
        raise credentials_too_slow(target) from None
    except SourceClosedError:
        raise closed(target) from None
    except Exception as error:  # noqa: BLE001 - botocore's, and whatever a program or file of the user's comes to
        raise no_credentials(target, error, source.places()) from presentable(error)


def _described(reply: Reply) -> dict[str, Any]:
    """Give an error answer in the shape in which botocore describes it."""
    answer, headers = _json(reply), _headers(reply)
    return {
        **answer,
        "Error": {
            "Code": code_of(answer.get("__type"), headers, reply.status),
            "Message": str(answer.get("message") or answer.get("Message") or ""),
        },
        "ResponseMetadata": {"HTTPStatusCode": reply.status, "HTTPHeaders": headers},
    }


def _headers(reply: Reply) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers.items()}


def _json(reply: Reply) -> dict[str, Any]:
    try:
        return _decode(reply.body)
    except (msgspec.DecodeError, RecursionError):  # a proxy's page, say; the status has to do
        return {}
