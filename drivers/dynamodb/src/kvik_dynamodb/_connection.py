"""The life of what carries the requests: opened, used, closed, and opened again."""

import asyncio
from collections.abc import Awaitable, Callable

from ._boto3 import Boto3Transport
from ._errors import closed, not_connected, on_another_loop
from ._events import Events
from ._options import Options
from ._transport import Transport, WireCannotServeError
from ._wire.transport import WireTransport


class Connection:
    """Hold the transport between connect and close; connects wait for each other, close waits for none.

    It serves the event loop that connected last. What an earlier one has left is given back without waiting.
    """

    def __init__(self, options: Options, events: Events) -> None:
        self._options = options
        self._events = events
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._opening = asyncio.Lock()

    @property
    def region(self) -> str | None:
        """The region in use; None until it is known."""
        return self._options.region or (None if self._transport is None else self._transport.region)

    @property
    def max_attempts(self) -> int | None:
        """How often the AWS configuration lets a request be sent; None where it does not say."""
        return None if self._transport is None else self._transport.max_attempts

    async def open(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Make the transport and prepare the table; what succeeded stays if the rest fails."""
        self._closed = False
        self._begin_on(asyncio.get_running_loop())
        async with self._opening:
            if self._closed:  # while this waited
                raise closed(self._options.target)
            await self._open_transport(asyncio.get_running_loop().time() + self._options.total_timeout)
            await prepare()

    async def _open_transport(self, deadline: float) -> None:
        if self._transport is None:
            kind = Boto3Transport if self._options.transport == "boto3" else WireTransport
            self._transport = kind(self._options, self._events)
        opening = self._transport
        try:
            await opening.open(deadline)
        except WireCannotServeError as error:
            if self._options.transport == "wire":
                raise
            if self._transport is not opening:  # closed while it looked
                raise closed(self._options.target) from None
            self._events.warning("dynamodb.transport", transport="boto3", reason=error.reason)
            self._transport = Boto3Transport(self._options, self._events)
            await self._transport.open(deadline)

    async def close(self) -> None:
        """Refuse further requests, and give everything back."""
        transport, self._transport = self._transport, None
        self._closed = True
        self._opening = asyncio.Lock()
        if transport is None:
            return
        if self.serves_this_loop:
            await transport.close()
        else:
            transport.abandon()

    @property
    def serves_this_loop(self) -> bool:
        """Whether the loop that runs is the one that connected last."""
        return asyncio.get_running_loop() is self._loop

    def transport(self) -> Transport:
        """Return what carries requests. Raises DynamoDBError before connect, after close, and on another loop."""
        if self._transport is None:
            raise (closed if self._closed else not_connected)(self._options.target)
        if asyncio.get_running_loop() is not self._loop:
            raise on_another_loop(self._options.target)
        return self._transport

    def _begin_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            return
        if self._transport is not None:
            self._transport.abandon()
        self._loop, self._transport, self._opening = loop, None, asyncio.Lock()
