"""What goes out for a request: the headers that every answer has, and what was sent, for the access line."""

from starlette.types import Message, Send

from .cors import CORS
from .headers import RawHeaders
from .replies import Reply
from .routing import Match

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for an answer that nobody waits for any more; it stands in logs only."""


class Outgoing:
    """Send the answer to one request."""

    def __init__(self, send: Send, correlation_id: str, cors: CORS, request_headers: RawHeaders) -> None:
        self._send = send
        self._cors = cors
        self._request_headers = request_headers
        self.correlation_id = correlation_id
        self.allow = "OPTIONS"  # the methods of the path, when they are known
        self.match = Match(None)
        self.error: Exception | None = None  # what was answered, where that was an error
        self.seconds = 0.0  # that the answer took
        self.status = CLIENT_CLOSED_REQUEST

    @property
    def started(self) -> bool:
        """Tell whether the answer has begun, so that no other can be given."""
        return self.status != CLIENT_CLOSED_REQUEST

    async def send(self, message: Message) -> None:
        """Send an ASGI message, with the headers of every answer added where it has none of that name."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: RawHeaders = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            message["headers"] = headers + [header for header in self._own_headers() if header[0] not in present]
        await self._send(message)

    async def send_reply(self, reply: Reply, send: Send, *, with_body: bool) -> None:
        """Send a finished answer through `send`, which may be a middleware's."""
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.head()})
        await send({"type": "http.response.body", "body": reply.body if with_body else b""})

    async def send_empty(self, send: Send) -> None:
        """Send the answer to OPTIONS: the methods of the path, and no body."""
        headers = [(b"allow", self.allow.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _own_headers(self) -> RawHeaders:
        own = self._cors.headers(self._request_headers, self.allow.encode())
        return [(b"x-correlation-id", self.correlation_id.encode()), *own]
