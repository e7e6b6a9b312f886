"""What goes out for a request: the headers that every answer has, and what was sent, for the access line."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message, Scope, Send

from .cors import CORS
from .framing import LENGTH, WITH_BODY, framed
from .headers import FirstValues, RawHeaders, check_lines, merge_vary
from .replies import Reply
from .routing import NO_MATCH

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for an answer that nobody waits for any more; it stands in logs only."""


class Outgoing(ABC):
    """Hold what is known of a request and its answer, and send the answer; `pass_on` is the server's part."""

    method: str
    path: str
    """As ASGI has them, whatever middleware makes of them."""
    headers: FirstValues
    """The values of the request's headers by name."""
    correlation_id = ""
    cors: CORS
    match = NO_MATCH
    error: Exception | None = None
    """What was answered, where that was an error."""
    bound_values: Mapping[str, Any] = {}
    """What the handler added to the request's log lines, where it ran in a task of its own."""
    unbound = 0
    """How many variables the request's context had while none was structlog's; 0 where that is not known."""
    seconds = 0.0
    """Seconds that the answer took."""
    status = CLIENT_CLOSED_REQUEST
    _has_body = True
    waiting_head: Message | None = None
    """A head that waits for the begin of its body."""
    _releasing: asyncio.Future[None] | None = None
    _is_dropping = False
    owns_task = False
    """Whether nobody but us has a reason to cancel the task that serves the request."""

    @property
    @abstractmethod
    def scope(self) -> Scope:
        """Give ASGI's scope of the request."""

    @property
    @abstractmethod
    def ip(self) -> str:
        """Give the client's address, "" where the server does not know it; middleware may have found it out."""

    @property
    def started(self) -> bool:
        """Tell whether the answer has begun, so that no other can be given."""
        return self.status != CLIENT_CLOSED_REQUEST

    def write(self, reply: Reply) -> bool:  # noqa: ARG002 - for who can
        """Write a finished answer without waiting; return whether that could be done."""
        return False

    async def send(self, message: Message) -> None:
        """Send an ASGI message: every response's headers are checked and completed, its framing is made right.

        Raises ValueError, before the response has begun, for what HTTP cannot carry.
        """
        if message["type"] == "http.response.start":
            await self._send_head(message)
        elif not self._has_body:
            self._drop(message)
        else:
            await self.release_head(message)
            await self.pass_on(message)
            if message.get("more_body"):
                await asyncio.sleep(0)  # the others' turn: neither source nor client may have been waited for

    async def _send_head(self, message: Message) -> None:
        """Send a head, which waits a turn of the loop for its body: one that is sent whole gives its length."""
        status = message["status"]
        headers = self.completed(status, list(message.get("headers", [])))
        check_lines(headers)
        self._has_body = self.method != "HEAD" and status in WITH_BODY
        self.status = status
        self.waiting_head = {**message, "headers": headers}
        if self._has_body:
            asyncio.get_running_loop().call_soon(self._release_head_soon)
        else:
            await self.release_head()
            await self.pass_on({"type": "http.response.body", "body": b""})

    def _release_head_soon(self) -> None:
        if self.waiting_head is not None:
            head, self.waiting_head = self.waiting_head, None
            self._releasing = asyncio.ensure_future(self.pass_on(head))

    async def release_head(self, body: Message | None = None) -> None:
        """Pass the head on, if that has not been done, with the length of a body that is whole."""
        if self._releasing is not None:
            await self._releasing
        if self.waiting_head is None:
            return
        head, self.waiting_head = self.waiting_head, None
        if body is not None and body["type"] == "http.response.body" and not body.get("more_body"):
            length = (LENGTH, b"%d" % len(body.get("body", b"")))
            head["headers"] = [length, *(header for header in head["headers"] if header[0] != LENGTH)]
        await self.pass_on(head)

    def _drop(self, message: Message) -> None:
        """Drop a piece of a body that nobody wants; ClientDisconnect where an application sends them on and on."""
        if self._is_dropping and message.get("more_body"):
            raise ClientDisconnect
        self._is_dropping = True

    async def send_reply(self, reply: Reply, send: Send | None = None, *, with_body: bool) -> None:
        """Send a finished answer, perhaps through the `send` of a middleware."""
        if send is None:
            send = self.send
        with_body = with_body and reply.status in WITH_BODY
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.head()})
        await send({"type": "http.response.body", "body": reply.body if with_body else b""})

    @abstractmethod
    async def pass_on(self, message: Message) -> None:
        """Hand a message, complete with its headers, to the server."""

    def completed(self, status: int, headers: RawHeaders) -> RawHeaders:
        """Return a response's headers, framed, and those of every response whose names are not among them."""
        headers = framed(status, headers)
        present = {name for name, _ in headers}
        own = self.own_headers()
        if b"vary" in present:
            for value in (value for name, value in own if name == b"vary"):
                headers = merge_vary(headers, value)
        return headers + [header for header in own if header[0] not in present]

    def own_headers(self) -> RawHeaders:
        """Give the headers that every answer has."""
        own = self.cors.headers(self.cors.origin_of(self.headers), self.match.allow)
        return [(b"x-correlation-id", self.correlation_id.encode()), *own]


class ASGIOutgoing(Outgoing):
    """Send the answer by the `send` of an ASGI server."""

    def __init__(self, scope: Scope, send: Send, headers: FirstValues, cors: CORS) -> None:
        self._scope = scope
        self._send = send
        self.cors = cors
        self.headers = headers
        self.method = scope["method"]
        self.path = scope["path"]

    @property
    def scope(self) -> Scope:
        """Give the scope that the server made."""
        return self._scope

    @property
    def ip(self) -> str:
        """Give the client's address."""
        client = self._scope.get("client")
        return client[0] if client else ""

    async def pass_on(self, message: Message) -> None:
        """Hand a message to the server."""
        await self._send(message)

    async def send_reply(self, reply: Reply, send: Send | None = None, *, with_body: bool) -> None:
        """Send a finished answer; where no middleware is to see it, its headers are put together at once."""
        if send is not None or reply.headers or reply.status not in WITH_BODY:
            await super().send_reply(reply, send, with_body=with_body)
            return
        self.status = reply.status
        headers = reply.head() + self.own_headers()  # of which none can stand in both
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": reply.body if with_body else b""})
