"""What may end a handler before it is done: its time is over, its client has gone, the server stops."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

C = TypeVar("C")
T = TypeVar("T")

_BEFORE_WATCHING = 0.1
"""Seconds after which a request is worth a task that waits for its client's leaving."""


class Incoming:
    """Pass the messages of a request on, and know when its body has been read.

    The empty body of a request without one is given from here: who waits for the client's leaving meanwhile may
    have taken the server's own message of it.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._empty_body_due = self.body_read = _has_no_body(scope)

    async def __call__(self) -> Message:
        """Receive the next message."""
        if self._empty_body_due:
            self._empty_body_due = False
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.body_read = True
        return message

    async def client_left(self) -> None:
        """Wait until the client has gone; only when the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def until_client_leaves(work: Callable[[C], Awaitable[T]], context: C, incoming: Incoming) -> T:
    """Do the work with its context, and cancel it when the client goes away: that raises ClientDisconnect.

    Most requests are over before the watching begins, so that they pay for a timer and no task.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    watch = _Watch(task, incoming)
    try:
        return await work(context)
    except asyncio.CancelledError:
        if watch.client_left and task.uncancel() <= watch.cancelling_before:
            raise ClientDisconnect from None
        raise
    finally:
        watch.stop()


class _Watch:
    """Wait for the client's leaving while a task works for it."""

    def __init__(self, task: asyncio.Task[Any], incoming: Incoming) -> None:
        self._task = task
        self._incoming = incoming
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_BEFORE_WATCHING, self._begin)
        self._listener: asyncio.Task[None] | None = None
        self.cancelling_before = task.cancelling()
        self.client_left = False

    def stop(self) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def _begin(self) -> None:
        if not self._incoming.body_read:  # the handler may be reading: two readers would share out the body
            self._timer = self._loop.call_later(_BEFORE_WATCHING, self._begin)
            return
        self._listener = self._loop.create_task(self._listen())

    async def _listen(self) -> None:
        await self._incoming.client_left()
        self.client_left = True
        self._task.cancel()


def _has_no_body(scope: Scope) -> bool:
    """Tell from the headers whether there is no body; only HTTP/1 says so there (RFC 9112, 6.3)."""
    return scope.get("http_version") in ("1.0", "1.1") and not any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in scope["headers"]
    )
