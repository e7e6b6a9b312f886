"""Requests to change to another protocol: a WebSocket's handshake is obeyed, any other is ignored."""

import httptools

from .._requests.headers import FirstValues, RawHeaders
from ..errors import HTTPError


def begins_websocket(parser: httptools.HttpRequestParser, headers: FirstValues) -> bool:
    """Tell whether a request opens a WebSocket and nothing else (RFC 6455, 4.1)."""
    is_asked_for = headers.get(b"upgrade", b"").lower() == b"websocket"
    return is_asked_for and parser.get_method() == b"GET" and parser.get_http_version() == "1.1"


def refuse_connect(parser: httptools.HttpRequestParser) -> None:
    """Raise HTTPError 400 where a client takes this server for a proxy (RFC 9110, 9.3.6)."""
    if parser.get_method() == b"CONNECT":
        raise HTTPError(400, "malformed request")


def head_without_upgrade(parser: httptools.HttpRequestParser, url: bytes, headers: RawHeaders) -> bytes:
    """Write a request's head again, without the header Upgrade, which a server may ignore (RFC 9110, 7.8)."""
    version = parser.get_http_version().encode()
    kept = [header for header in map(_without_upgrade, headers) if header[1] or header[0] != b"connection"]
    lines = b"".join(b"%b: %b\r\n" % header for header in kept if header[0] != b"upgrade")
    return b"%b %b HTTP/%b\r\n%b\r\n" % (parser.get_method(), url, version, lines)


def _without_upgrade(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    if name != b"connection":
        return header
    options = [option.strip() for option in value.split(b",")]
    return name, b", ".join(option for option in options if option.lower() != b"upgrade")
