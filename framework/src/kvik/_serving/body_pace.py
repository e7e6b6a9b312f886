"""The body of a request that comes in several pieces: its clock, and an answer before its end."""

import asyncio
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .connection import Connection


class LingeringTransport(asyncio.Transport):
    """Stand in for the transport while a request is answered whose body came in pieces."""

    def __init__(self, connection: "Connection") -> None:
        super().__init__()
        self._connection = connection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write as the transport does."""
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        """Tell what the transport tells."""
        return self._connection.transport.is_closing()

    def close(self) -> None:
        """Close, lingering where the client is still sending."""
        if self._connection.body_is_open:
            self._connection.linger()
        else:
            self._connection.transport.close()


class Arrival(asyncio.Event):
    """Be the event of a piece of a body that arrives, and say when the app waits for it."""

    def __init__(self, connection: "Connection") -> None:
        super().__init__()
        self._connection = connection

    async def wait(self) -> Literal[True]:
        """Wait as any event does, timed."""
        self._connection.expect_body(self, wanted=True)
        try:
            return await super().wait()
        finally:
            self._connection.expect_body(self, wanted=False)
