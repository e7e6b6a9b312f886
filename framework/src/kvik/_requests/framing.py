"""The framing of a response: which statuses have no body, and which headers only the server may set."""

from starlette.types import Message, Send

from .headers import RawHeaders, check_lines

WITHOUT_BODY = frozenset({204, 205, 304})  # RFC 9110, 15.3.5, 15.3.6 and 15.4.5
WITH_BODY = frozenset(range(200, 600)) - WITHOUT_BODY  # 1xx is interim (RFC 9110, 15.2)

LENGTH = b"content-length"
_RESET_CONTENT = 205
_SERVERS = frozenset({b"transfer-encoding", b"keep-alive", b"proxy-connection", b"trailer", b"date"})
"""Headers about one connection, which the server alone knows, and Date, which it sets itself."""


def framed(status: int, headers: RawHeaders) -> RawHeaders:
    """Return an application's headers without those that are the server's to set, names in lower case.

    Of Connection only `close` remains, which the server obeys. Raises ValueError for a status that cannot end a
    response, and for a Content-Length that is not a number or contradicts another.
    """
    if status not in WITH_BODY and status not in WITHOUT_BODY:
        raise ValueError(f"a response's status is 200 to 599, not {status!r}")
    kept = [(name.lower(), value) for name, value in headers]
    lengths = {value for name, value in kept if name == LENGTH}
    kept = [header for header in kept if header[0] != LENGTH and header[0] not in _SERVERS]
    if any(name == b"connection" for name, _ in kept):
        kept = _closing_at_most(kept)
    if status == _RESET_CONTENT:
        return [(LENGTH, b"0"), *kept]
    return kept if status in WITHOUT_BODY else [*_length(lengths), *kept]


def _length(lengths: set[bytes]) -> RawHeaders:
    if len(lengths) > 1 or not all(map(bytes.isdigit, lengths)):
        raise ValueError(f"a response has one Content-Length, a number: {sorted(lengths)}")
    return [(LENGTH, length) for length in lengths]


def _closing_at_most(headers: RawHeaders) -> RawHeaders:
    values = [value for name, value in headers if name == b"connection"]
    closes = any(token.strip().lower() == b"close" for value in values for token in value.split(b","))
    others = [header for header in headers if header[0] != b"connection"]
    return [*others, (b"connection", b"close")] if closes else others


def framed_handshake(send: Send) -> Send:
    """Return a `send` that checks and frames the response to a WebSocket's handshake like any other."""
    has_body = True

    async def checked(message: Message) -> None:
        nonlocal has_body
        kind = message["type"]
        if kind == "websocket.accept":
            subprotocol = (message.get("subprotocol") or "").encode("latin-1")
            check_lines([*message.get("headers", ()), (b"sec-websocket-protocol", subprotocol)])
        elif kind == "websocket.http.response.start":
            headers = framed(message["status"], message.get("headers", []))
            check_lines(headers)
            has_body = message["status"] not in WITHOUT_BODY
            message = {**message, "headers": headers}
        elif kind == "websocket.http.response.body" and not has_body:
            message = {**message, "body": b""}
        await send(message)

    return checked
