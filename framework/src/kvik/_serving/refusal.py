"""What is refused before it reaches the app: the check of a head, and the answer to the client."""

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from .._requests.failures import failure_of
from .._requests.headers import FirstValues, RawHeaders, header_lines
from ..errors import HTTPError

_ENDS = len(" HTTP/1.1\r\n\r\n")
_HEADER_ENDS = len(": \r\n")


def is_clear(headers: RawHeaders, first: FirstValues) -> bool:
    """Tell whether there is nothing to check: no header stands twice, and the body is framed by its length."""
    return len(first) == len(headers) and b"host" in first and b"transfer-encoding" not in first


def check_headers(headers: RawHeaders, parser: httptools.HttpRequestParser) -> None:
    """Raise HTTPError 400 where the headers leave open who is asked, or how the body is framed."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            raise HTTPError(400, "unsupported transfer encoding")
    if hosts != 1 and (hosts or parser.get_http_version() == "1.1"):  # RFC 9112, 3.2
        raise HTTPError(400, "malformed request: exactly one Host header is needed")


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


def refusal(error: HTTPError, server_headers: RawHeaders, request_id: str, *, error_format: str) -> bytes:
    """Write the answer to a request that is refused, after which the connection ends."""
    reply = failure_of(error).reply(error_format)
    own = [(b"connection", b"close"), (b"x-correlation-id", request_id.encode())]
    lines = header_lines([*server_headers, *reply.head(), *own])
    return STATUS_LINE[reply.status] + lines + b"\r\n" + reply.body
