"""What may end a handler before it is done: its time is over, its client has gone, the server stops."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from .headers import FirstValues, first_values
from .source import Source

C = TypeVar("C")
T = TypeVar("T")

_BEFORE_WATCHING = 0.1
"""Seconds after which a request is worth a task that waits for its client's leaving."""


class Incoming(Source, Protocol):
    """Be what comes in for one request, and the news that its client has gone."""

    @property
    def receive(self) -> Receive:
        """Give what the server sends messages by, for an application that is not ours."""

    @property
    def client_left(self) -> bool:
        """Tell whether the watched task was cancelled because the client has gone."""

    @property
    def cancelling_before(self) -> int:
        """Give how often the watched task's cancellation had been asked for before."""

    def watch(self) -> None:
        """Cancel the current task when the client goes away."""

    def on_leaving(self, end: Callable[[], None]) -> None:
        """Call this when the client goes away: the handler is done, and its answer is being sent."""

    def unwatch(self) -> None:
        """Let the client go away."""


class ClientWatch:
    """Have those clients watched for whom a handler works longer than a moment.

    One timer looks after all requests of an app, so that a short one costs an entry in a dict.
    """

    def __init__(self) -> None:
        self._young: dict[ASGIIncoming, None] = {}
        self._old: dict[ASGIIncoming, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # where the timer runs, if it does

    def add(self, incoming: "ASGIIncoming") -> None:
        """Begin to count a request's time."""
        self._young[incoming] = None
        if self._loop is not incoming.loop:
            self._run_timer(incoming.loop)

    def discard(self, incoming: "ASGIIncoming") -> None:
        """Forget a request."""
        if incoming in self._young:
            del self._young[incoming]
        else:
            self._old.pop(incoming, None)

    def _run_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.call_later(_BEFORE_WATCHING, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch for those who were here at the last look too."""
        if loop is not self._loop:
            return
        self._old = {incoming: None for incoming in self._old if not incoming.listen()}
        self._old |= self._young
        self._young = {}
        if self._old:
            self._run_timer(loop)
        else:
            self._loop = None


class ASGIIncoming:
    """Pass the messages of an ASGI server on, and cancel the handler when the client has gone.

    It is made in the task that the handler runs in.

    The empty body of a request without one is given from here: who waits for the client's leaving meanwhile may
    have taken the server's own message of it.
    """

    __slots__ = (
        "_body_read",
        "_empty_body_due",
        "_end",
        "_kept",
        "_listener",
        "_task",
        "_watch",
        "cancelling_before",
        "client_left",
        "loop",
        "method",
        "receive",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, watch: ClientWatch) -> None:
        self.scope = scope
        self.method: str = scope.get("method", "GET")  # of a WebSocket's handshake (RFC 6455, 4.1)
        self.receive = receive
        self._watch = watch
        self._body_read: bool | None = None  # None as long as nobody asked
        self._empty_body_due = False
        self._task = running_task()
        self._end: Callable[[], object] = self._task.cancel
        self._kept: list[Message] | None = None  # of a body that nobody had read when its answer began
        self._listener: asyncio.Task[None] | None = None
        self.loop = self._task.get_loop()  # to ask for the running one costs a system call before Python 3.12
        self.cancelling_before = 0
        self.client_left = False

    @property
    def path(self) -> str:
        """Give the path, percent-decoded."""
        return self.scope["path"]  # type: ignore[no-any-return] # it is a str (ASGI)

    @property
    def ip(self) -> str:
        """Give the client's address, "" where the server does not know it."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def headers(self) -> FirstValues:
        """Give the first value of each header."""
        return first_values(self.scope["headers"])

    async def __call__(self) -> Message:
        """Receive the next message."""
        self._look_at_head()
        if self._empty_body_due:
            self._empty_body_due = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._kept is not None:
            kept, self._kept = self._kept, None
            if not self._body_read:
                self.unwatch()  # until the reader has got all of it
                self._watch.add(self)
            if kept:
                return kept[0]
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._body_read = True
        return message

    def watch(self) -> None:
        """Cancel the current task when the client goes away."""
        self.cancelling_before = self._task.cancelling()
        self._watch.add(self)

    def on_leaving(self, end: Callable[[], None]) -> None:
        """Call this when the client goes away.

        Where the handler has not read the body, a message of it is kept: the source of a stream may read it yet.
        """
        self._end = end
        self._kept = []
        self._watch.add(self)

    def unwatch(self) -> None:
        """Let the client go away."""
        self._watch.discard(self)
        if self._listener is not None:
            self._listener.cancel()

    def listen(self) -> bool:
        """Begin to wait for the client's leaving, if the body has been read; return whether it is so.

        Before, the handler may be reading: two readers would share out the body.
        """
        self._look_at_head()
        listens = bool(self._body_read) or self._kept == []
        if listens:
            self._listener = self.loop.create_task(self._listen())
        return listens

    async def _listen(self) -> None:
        while (message := await self.receive())["type"] != "http.disconnect":
            if self._kept is not None and not self._body_read:
                self._kept.append(message)
                self._body_read = not message.get("more_body", False)
                if not self._body_read:
                    return  # the rest is left to the server
        self.client_left = True
        self._end()

    def _look_at_head(self) -> None:
        if self._body_read is None:
            self._empty_body_due = self._body_read = _has_no_body(self.scope)


async def until_client_leaves(work: Callable[[C], Awaitable[T]], context: C, incoming: Incoming) -> T:
    """Do the work with its context, and cancel it when the client goes away: that raises ClientDisconnect."""
    incoming.watch()
    try:
        return await work(context)
    except asyncio.CancelledError:
        if incoming.client_left and running_task().uncancel() <= incoming.cancelling_before:
            raise ClientDisconnect from None
        raise
    finally:
        incoming.unwatch()


def running_task() -> asyncio.Task[Any]:
    """Give the task that a coroutine runs in."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    return task


def _has_no_body(scope: Scope) -> bool:
    """Tell from the headers whether there is no body; only HTTP/1 says so there (RFC 9112, 6.3)."""
    return scope.get("http_version") in ("1.0", "1.1") and not any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in scope["headers"]
    )
