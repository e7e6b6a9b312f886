"""What goes out for a request: the headers that every answer has, and what was sent, for the access line."""

from functools import lru_cache

from starlette.types import Message, Scope, Send

from .cors import CORS
from .headers import RawHeaders
from .replies import Reply
from .routing import ANY_METHOD, Match

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for an answer that nobody waits for any more; it stands in logs only."""

UNKNOWN = Match(None)
"""Stands for the match of a request whose route was not looked for yet."""


class Outgoing:
    """Send the answer to one request, as ASGI messages."""

    __slots__ = (
        "_cors",
        "_send",
        "allow",
        "correlation_id",
        "error",
        "match",
        "scope",
        "seconds",
        "status",
    )

    def __init__(self, scope: Scope, send: Send, correlation_id: str, cors: CORS) -> None:
        self.scope = scope
        self._send = send
        self._cors = cors
        self.correlation_id = correlation_id
        self.allow = "OPTIONS"  # the methods of the path, when they are known
        self.match = UNKNOWN
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

    async def send_reply(self, reply: Reply, send: Send | None = None, *, with_body: bool) -> None:
        """Send a finished answer, perhaps through the `send` of a middleware."""
        head = reply.head()
        if send is None:
            send = self.send
            if not reply.headers:  # nothing in it can be among the headers of every answer
                self.status, send = reply.status, self._send
                head += self._own_headers()
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        await send({"type": "http.response.body", "body": reply.body if with_body else b""})

    def take(self, match: Match) -> None:
        """Take note of the route, and of the methods that its path has."""
        self.match = match
        self.allow = allow(match.methods)

    def _own_headers(self) -> RawHeaders:
        own = self._cors.headers(self.scope["headers"], self.allow)
        return [(b"x-correlation-id", self.correlation_id.encode()), *own]


@lru_cache(maxsize=128)
def allow(methods: frozenset[str]) -> str:
    """Write the methods of a path as the header Allow does."""
    head = {"HEAD"} if "GET" in methods else set[str]()
    return ", ".join(sorted({*methods, *head, "OPTIONS"} - {ANY_METHOD}))
