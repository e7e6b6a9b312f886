"""The life of what carries the requests: opened, used, closed, and opened again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ._boto3 import Boto3Transport
from ._errors import closed, not_connected
from ._options import Options
from ._transport import Transport


class Connection:
    """Hold the transport between connect and close; connects wait for each other, close waits for none."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._transport: Transport | None = None
        self._closed = False
        self._opening = asyncio.Lock()

    @property
    def region(self) -> str | None:
        """The region in use; None until it is known."""
        return self._options.region or (None if self._transport is None else self._transport.region)

    async def open(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Make the transport and prepare the table; what succeeded stays if the rest fails."""
        self._closed = False
        async with self._opening:
            if self._closed:  # while this waited
                raise closed(self._options.target)
            self._transport = self._transport or Boto3Transport(self._options)
            await self._transport.open(within=self._options.total_timeout)
            await prepare()

    async def close(self) -> None:
        """Refuse further requests, and give everything back."""
        transport, self._transport = self._transport, None
        self._closed = True
        self._opening = asyncio.Lock()  # the next open may run on another event loop
        if transport is not None:
            await transport.close()

    def transport(self) -> Transport:
        """Give what carries requests. Raises DynamoDBError before connect and after close."""
        if self._transport is None:
            raise (closed if self._closed else not_connected)(self._options.target)
        return self._transport

    async def send(
        self, name: str, payload: Mapping[str, Any], *, within: float, reserved: bool = False
    ) -> dict[str, Any]:
        """Send one request once; see Transport.call."""
        return await self.transport().call(name, payload, within=within, reserved=reserved)
