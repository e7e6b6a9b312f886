"""What is refused before it reaches the app: the check of a head, and the answer to the client."""

import re
from functools import lru_cache

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from .._requests.failures import failure_of
from .._requests.headers import RawHeaders, header_lines
from ..errors import HTTPError

_ENDS = len(" HTTP/1.1\r\n\r\n")
_HEADER_ENDS = len(": \r\n")


_HOST = re.compile(  # RFC 9110, 7.2 and RFC 3986, 3.2.2
    rb"(?:\[[0-9A-Za-z:.%_~-]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
_OTHER_PROTOCOLS = (b"RTSP", b"ICE")
"""What httptools takes for HTTP as well."""


@lru_cache(maxsize=64)
def is_host(value: bytes | None) -> bool:
    """Tell whether this is the value of a header Host."""
    return value is not None and _HOST.fullmatch(value) is not None


def check_headers(headers: RawHeaders, parser: httptools.HttpRequestParser) -> None:
    """Raise HTTPError 400 where the headers leave open who is asked, or how the body is framed."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not is_host(value):
                raise HTTPError(400, "malformed request: the Host header is not a host and a port")
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            raise HTTPError(400, "unsupported transfer encoding")
    if hosts != 1 and (hosts or parser.get_http_version() == "1.1"):  # RFC 9112, 3.2
        raise HTTPError(400, "malformed request: exactly one Host header is needed")


def check_protocol(version: str, url: bytes, data: bytes) -> None:
    """Raise HTTPError 400 for a request line in `data` that ends in neither HTTP/1.1 nor HTTP/1.0."""
    if version not in {"1.0", "1.1"}:
        raise HTTPError(400, f"malformed request: unsupported version {version}")
    for protocol in _OTHER_PROTOCOLS:
        if b"%b %b/%b\r" % (url, protocol, version.encode()) in data:
            raise HTTPError(400, f"malformed request: unsupported protocol {protocol.decode()}")


def take_host_of_target(url: bytes, headers: RawHeaders) -> None:
    """Put the host that a target names itself in the place of the header's (RFC 9112, 3.2.2)."""
    target = httptools.parse_url(url)
    if target.host:
        host = b"[%b]" % target.host if b":" in target.host else target.host
        named = host if target.port is None else b"%b:%d" % (host, target.port)
        headers[:] = [(name, named if name == b"host" else value) for name, value in headers]


def head_size(method: bytes, url: bytes, headers: RawHeaders) -> int:
    """Give the bytes of a head, as far as they can be told from its parts."""
    size = len(method) + len(" ") + len(url) + _ENDS
    return size + sum(len(name) + len(value) + _HEADER_ENDS for name, value in headers)


def header_too_large(limit: int) -> HTTPError:
    """Give the error of a head over MAX_HEADER_SIZE."""
    return HTTPError(431, f"request header is larger than {limit} bytes")


def meaning(error: httptools.HttpParserError) -> HTTPError:
    """Tell what is wrong with a message: what a callback says, or the parser, whose words quote nothing of it."""
    if isinstance(error, httptools.HttpParserCallbackError):
        cause = error.__context__
        return cause if isinstance(cause, HTTPError) else HTTPError(400, "malformed request")
    return HTTPError(400, f"malformed request: {error}")


def refusal(error: HTTPError, own_headers: RawHeaders, request_id: str, *, error_format: str) -> bytes:
    """Write the answer to a request that is refused, after which the connection ends."""
    reply = failure_of(error).reply(error_format)
    last = [(b"connection", b"close"), (b"x-correlation-id", request_id.encode())]
    lines = header_lines([*own_headers, *reply.head(), *last])
    return STATUS_LINE[reply.status] + lines + b"\r\n" + reply.body


def head_of(answer: bytes) -> bytes:
    """Return an answer without its body, as HEAD has it."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    return head + end
