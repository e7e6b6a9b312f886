"""The way into every WebSocket, mounted ones too: who may open one, by when, and until when a handler runs."""

import asyncio
from collections import deque
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._container import Container
from ..errors import HTTPError
from .cors import CORS
from .denial import deny
from .headers import FirstValues, first_values
from .interruption import running_task

_MAX_MESSAGES = 32
_MAX_BYTES = 1024 * 1024
"""What is received ahead of a handler; a single larger message is as well."""

_BEFORE_CANCELLING = 0.5
"""Seconds that a handler may take to ask for the next message when its client has gone."""

_FOR_A_MESSAGE = _AFTER_TELLING = 5.0
"""Seconds that it may work on a message where more are there, and may take to end once it has the news."""

_ANSWERS = frozenset({"websocket.accept", "websocket.close", "websocket.http.response.start"})


class Handshakes:
    """Let a WebSocket in; an ASGI application for the scope "websocket" around another one."""

    def __init__(self, container: Container, cors: CORS, app: ASGIApp) -> None:
        self._container = container
        self._cors = cors
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        inbox = _Inbox(receive)
        try:
            if _is_foreign(first_values(scope["headers"]), self._cors):
                error = HTTPError(403, "origin is not allowed to open a WebSocket")
                await deny(error, self._container, scope, receive=inbox, send=send)
            else:
                await self._serve(scope, inbox, send)
        finally:
            inbox.close()

    async def _serve(self, scope: Scope, inbox: "_Inbox", send: Send) -> None:
        """Run the app until it is done, its client has gone, or it has not answered the handshake in time."""
        seconds = self._container.settings.header_timeout
        limit = asyncio.timeout(seconds)
        handshakes = self._container.handshakes

        async def send_within(message: Message) -> None:
            if message["type"] in _ANSWERS and not limit.expired():
                handshakes.discard(limit)
                limit.reschedule(None)
            await send(message)
            if message["type"] == "websocket.send":
                await asyncio.sleep(0)  # the others' turn: the client may read as fast as the handler sends

        cancelling_before = running_task().cancelling()
        try:
            async with limit:
                handshakes.add(limit)
                await self._app(scope, inbox, send_within)
        except TimeoutError:
            if not limit.expired():
                raise
            error = HTTPError(408, f"WebSocket was not accepted within {seconds:g} seconds")
            if self._container.stopping.is_set():
                error = _ShuttingDown(503, "server is shutting down")
            await deny(error, self._container, scope, receive=inbox, send=send)
        except asyncio.CancelledError:
            if not inbox.client_left or running_task().uncancel() > cancelling_before:
                raise
            self._container.logger.debug("websocket.client_gone")
        finally:
            handshakes.discard(limit)


class _ShuttingDown(HTTPError):
    """Raised when the server stops before a WebSocket was accepted; the client may try again."""

    log_level = "info"


class _Inbox:
    """Receive ahead of a handler, so that its client's leaving is noticed while it waits for something else."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._handler = running_task()
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._error: Exception | None = None
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._loop = self._handler.get_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task = self._loop.create_task(self._fill())
        self.client_left = False

    async def __call__(self) -> Message:
        """Receive the next message."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        self._bytes -= _size(message)
        self._has_room.set()
        if _is_end(message):
            self._cancel_in(_AFTER_TELLING)
        return message

    def close(self) -> None:
        """Receive no more."""
        self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    async def _fill(self) -> None:
        try:
            while True:
                message = await self._receive()
                self._messages.append(message)
                self._bytes += _size(message)
                self._arrived.set()
                if _is_end(message) and self._timer is None:
                    self._timer = self._loop.call_later(_BEFORE_CANCELLING, self._look)
                while len(self._messages) >= _MAX_MESSAGES or self._bytes >= _MAX_BYTES:
                    self._has_room.clear()
                    await self._has_room.wait()
        except Exception as error:  # noqa: BLE001 - the server's; the handler gets it when it receives
            self._error = error
            self._arrived.set()

    def _look(self, left_before: int | None = None) -> None:
        """Cancel a handler that does not ask for the news; first it may take the messages that came before."""
        left = sum(message["type"] == "websocket.receive" for message in self._messages)
        if not left or left == left_before:
            self._cancel()
        else:
            self._timer = self._loop.call_later(_FOR_A_MESSAGE, self._look, left)

    def _cancel_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._cancel)

    def _cancel(self) -> None:
        self.client_left = True
        self._handler.cancel()


def _is_foreign(headers: FirstValues, cors: CORS) -> bool:
    """Tell whether a page of a site that may not calls: browsers leave it to the server to refuse a WebSocket."""
    origin = headers.get(b"origin", b"")
    if not origin or cors.allows(origin):
        return False
    return urlsplit(origin).netloc.lower() != headers.get(b"host", b"").lower()


def _is_end(message: Message) -> bool:
    return bool(message["type"] == "websocket.disconnect")


def _size(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
