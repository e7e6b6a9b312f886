"""AWS Signature Version 4 for DynamoDB's one kind of request: POST / with a JSON body.

docs: "AWS Signature Version 4 for API requests". What does not change from request to request is kept.
"""

import hmac
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_API: Final = "DynamoDB_20120810"
_SERVICE: Final = "dynamodb"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Hold what AWS knows a caller by."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Signer:
    """Make signed requests to one server; ``authority`` has the port where that is not the scheme's own."""

    def __init__(self, region: str, authority: str, *, agent: str) -> None:
        self._region = region
        self._authority = authority
        self._agent = agent
        self._second = -1
        self._timestamp = ""
        self._date = ""
        self._key = b""
        self._key_of = ("", "")

    def request(self, operation: str, body: bytes, credentials: Credentials, now: float) -> bytes:
        """Give the bytes of a request, signed for this time, in seconds since the epoch."""
        self._set_time(int(now))
        token, names = "", "content-type;host;x-amz-date;x-amz-target"
        if credentials.token:
            token = f"x-amz-security-token:{credentials.token}\n"
            names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
        signed = (
            f"content-type:{_CONTENT_TYPE}\nhost:{self._authority}\nx-amz-date:{self._timestamp}\n"
            f"{token}x-amz-target:{_API}.{operation}\n"
        )
        canonical = f"POST\n/\n\n{signed}\n{names}\n{sha256(body).hexdigest()}"
        scope = f"{self._date}/{self._region}/{_SERVICE}/aws4_request"
        to_sign = f"{_ALGORITHM}\n{self._timestamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(credentials.secret_key), to_sign.encode(), "sha256").hex()
        head = signed.replace("\n", "\r\n")
        return (
            f"POST / HTTP/1.1\r\n{head}authorization:{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}\r\n"
            f"user-agent:{self._agent}\r\naccept-encoding:identity\r\ncontent-length:{len(body)}\r\n\r\n"
        ).encode() + body

    def _set_time(self, second: int) -> None:
        if second != self._second:
            self._second = second
            self._timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._date = self._timestamp[:8]

    def _signing_key(self, secret_key: str) -> bytes:
        """Derive the day's key, which serves every request of the day."""
        if self._key_of != (self._date, secret_key):
            key = f"AWS4{secret_key}".encode()
            for part in (self._date, self._region, _SERVICE, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_of = key, (self._date, secret_key)
        return self._key
