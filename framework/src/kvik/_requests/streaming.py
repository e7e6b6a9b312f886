"""Answers that are sent piece by piece: one task drives a source from its first piece until it is closed."""

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from .interruption import Incoming

CLOSE_TIMEOUT = 5.0
"""Seconds that a source may take to close when its stream has ended."""


async def send_head(response: StreamingResponse, send: Send, logger: FilteringBoundLogger) -> None:
    """Send the head alone, and close the source, which never starts."""
    try:
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await send({"type": "http.response.body", "body": b""})
    finally:
        await _close(response.body_iterator, logger)
    if response.background is not None:
        await response.background()


class Streaming:
    """Send one answer that takes its time; end it when the client leaves, or, if it is told so, at the stop."""

    def __init__(self, incoming: Incoming, send: Send, logger: FilteringBoundLogger) -> None:
        self._incoming = incoming
        self._send_on = send
        self._logger = logger
        self._ending = _Ending()
        self._stop: asyncio.Task[Any] | None = None
        self._is_complete = False

    async def send(
        self, response: Response, scope: Scope, receive: Receive, *, stopping: asyncio.Event | None
    ) -> None:
        """Send the answer; ClientDisconnect if the client left. It is cut where `stopping` is set."""
        source: object = None
        if isinstance(response, StreamingResponse):
            source = response.body_iterator = aiter(response.body_iterator)
        try:
            async with self._ending.closing, self._ending.work:
                self._watch(stopping)
                try:
                    await _in_this_task(response, scope, receive, self._send)
                finally:
                    self._unwatch()
                    await _close(source, self._logger)
        except TimeoutError:
            if not self._ending.has_ended:
                raise
        if self._ending.has_ended and not self._is_complete:
            if self._incoming.client_left:
                raise ClientDisconnect
            await self._send_on({"type": "http.response.body", "body": b""})

    async def _send(self, message: Message) -> None:
        await self._send_on(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_complete = True
            self._unwatch()  # what Starlette does in the background of its answer goes on

    def _watch(self, stopping: asyncio.Event | None) -> None:
        self._incoming.on_leaving(self._ending.end)
        if stopping is not None:
            self._stop = asyncio.ensure_future(stopping.wait())
            self._stop.add_done_callback(lambda stop: None if stop.cancelled() else self._ending.end())

    def _unwatch(self) -> None:
        self._ending.is_over = True
        self._incoming.unwatch()
        if self._stop is not None:
            self._stop.cancel()


class _Ending:
    """Two limits around a block, by which it can be ended from outside: `work` at once, `closing` a while later.

    The block then raises TimeoutError, and `has_ended` tells whose that is.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.work = asyncio.timeout(None)
        self.closing = asyncio.timeout(None)
        self.is_over = False
        self.has_ended = False

    def end(self) -> None:
        """End the block, unless it is over."""
        if not (self.is_over or self.has_ended):
            self.has_ended = True
            now = self._loop.time()
            self.work.reschedule(now)
            self.closing.reschedule(now + CLOSE_TIMEOUT)


async def _close(source: object, logger: FilteringBoundLogger) -> None:
    """Close a source here and now: left to the collector, it would be closed some time, in another context."""
    close = getattr(source, "aclose", None)
    if close is None:
        return
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await close()
    except TimeoutError:
        logger.warning("stream.close_timeout", seconds=CLOSE_TIMEOUT)


async def _in_this_task(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send it, without the task that Starlette starts for the source, so that errors are the source's own."""
    if type(response).__call__ is not StreamingResponse.__call__:
        await response(scope, receive, send)
        return
    assert isinstance(response, StreamingResponse)  # noqa: S101 - for the types
    await response.stream_response(send)
    if response.background is not None:
        await response.background()
