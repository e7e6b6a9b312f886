"""AWS Signature Version 4 for DynamoDB's one kind of request: POST / with a JSON body.

docs: "AWS Signature Version 4 for API requests". What does not change from request to request is kept.
"""

import hmac
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

from .._headers import sendable

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_API: Final = "DynamoDB_20120810"
_SERVICE: Final = "dynamodb"
_TOKEN: Final = "x-amz-security-token"  # noqa: S105 - a header's name
_BLOCK: Final = 64  # bytes; SHA-256 works on blocks of this size


@dataclass(frozen=True, slots=True)
class Credentials:
    """Hold what AWS knows a caller by."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    account: str | None = field(default=None, repr=False)


class Signer:
    """Make signed requests to one server; ``authority`` has the port where that is not the scheme's own.

    Raises UnsendableError.
    """

    def __init__(self, region: str, authority: str, *, agent: str) -> None:
        self._region = sendable("x-amz-region", region)  # no header of its own, but a part of the signature's
        self._authority = sendable("host", authority)
        self._agent = sendable("user-agent", agent)
        self._kept_for: tuple[int, Credentials | None] = (-1, None)
        self._parts: dict[str, _Parts] = {}
        self._key = _Key("", "", region)

    def request(self, operation: str, body: bytes, credentials: Credentials, now: float) -> bytes:
        """Return the bytes of a request, signed for this time, in seconds since the epoch.

        Raises UnsendableError for credentials that no header can carry.
        """
        second = int(now)
        if self._kept_for != (second, credentials):
            self._kept_for = (second, credentials)
            self._parts.clear()
        parts = self._parts.get(operation) or self._make_parts(operation, second, credentials)
        canonical = sha256(parts.canonical + sha256(body).hexdigest().encode()).hexdigest()
        signature = self._key.sign(parts.to_sign + canonical.encode())
        return b"%b%b\r\ncontent-length:%d\r\n\r\n%b" % (parts.head, signature, len(body), body)

    def _make_parts(self, operation: str, second: int, credentials: Credentials) -> "_Parts":
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        date = timestamp[:8]
        access_key = sendable("authorization", credentials.access_key)
        sendable("authorization", credentials.secret_key)  # it signs, and with a newline nobody knows it
        if not self._key.serves(date, credentials.secret_key):
            self._key = _Key(date, credentials.secret_key, self._region)
        headers = {
            "content-type": _CONTENT_TYPE,
            "host": self._authority,
            "x-amz-date": timestamp,
            **({_TOKEN: sendable(_TOKEN, credentials.token)} if credentials.token else {}),
            "x-amz-target": f"{_API}.{operation}",
        }
        names = ";".join(headers)
        lines = [f"{name}:{value}" for name, value in headers.items()]
        scope = f"{date}/{self._region}/{_SERVICE}/aws4_request"
        signed_by = f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature="
        others = [f"user-agent:{self._agent}", "accept-encoding:identity", f"authorization:{signed_by}"]
        made = self._parts[operation] = _Parts(
            canonical="\n".join(["POST", "/", "", *lines, "", names, ""]).encode(),
            to_sign=f"{_ALGORITHM}\n{timestamp}\n{scope}\n".encode(),
            head="\r\n".join(["POST / HTTP/1.1", *lines, *others]).encode(),
        )
        return made


class _Parts(NamedTuple):
    """Hold what all requests of one operation share for a second, up to what depends on the body."""

    canonical: bytes
    to_sign: bytes
    head: bytes


class _Key:
    """Sign with the key of one day; RFC 2104's two hashes of it are begun once."""

    def __init__(self, date: str, secret_key: str, region: str) -> None:
        self._of = (date, secret_key)
        key = f"AWS4{secret_key}".encode()
        for part in (date, region, _SERVICE, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def serves(self, date: str, secret_key: str) -> bool:
        """Tell whether this is the key of a day and a secret."""
        return self._of == (date, secret_key)

    def sign(self, text: bytes) -> bytes:
        """Give the HMAC, in hexadecimal digits."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest().encode()
