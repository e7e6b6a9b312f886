"""To a server: its name's addresses are tried in turn, the next when one fails or is slow (RFC 8305)."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Any, Final

from aiohappyeyeballs import AddrInfoType, start_connection

from .._threads import DaemonThreads
from .http import HTTPConnection

_NEXT_ADDRESS_AFTER: Final = 0.25
"""Seconds; RFC 8305, "Connection Attempt Delay"."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Name a server; ``tls`` None is plain HTTP."""

    host: str
    port: int
    tls: SSLContext | None

    @property
    def authority(self) -> str:
        """Give the host as HTTP's header has it, with the port unless it is the scheme's own."""
        name = self.host if self.host.isascii() else self.host.encode("idna").decode()
        host = f"[{name}]" if ":" in name else name
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


async def dial(endpoint: Endpoint, *, within: float, silence: float) -> HTTPConnection:
    """Return a new connection, made in so many seconds; ``silence`` is as HTTPConnection says.

    Raises TimeoutError, and OSError, of which ssl.SSLError is one, for the last address that failed.
    """
    async with asyncio.timeout(within):
        loop = asyncio.get_running_loop()
        connected = await _connect(await _look_up(endpoint))
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # as boto3 does where it is configured
        name = endpoint.host if endpoint.tls else None
        try:
            _, connection = await loop.create_connection(
                lambda: HTTPConnection(loop, silence), sock=connected, ssl=endpoint.tls, server_hostname=name
            )
        except BaseException:
            connected.close()
            raise
        return connection


async def _look_up(endpoint: Endpoint) -> list[AddrInfoType]:
    """Return the addresses of a name; where a name server hangs, the end of the process does not wait for it."""
    thread = DaemonThreads(1, "kvik-dynamodb-names")
    look_up: Callable[[], Any] = partial(socket.getaddrinfo, endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    try:
        return list(await asyncio.get_running_loop().run_in_executor(thread, look_up))
    finally:
        thread.shutdown(wait=False)


async def _connect(addresses: Sequence[AddrInfoType]) -> socket.socket:
    """Connect to one of the addresses; raise a cancellation that the race between them has kept to itself."""
    before = _cancellations()
    connected = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER)
    if _cancellations() > before:  # it came while the race waited for its losers
        connected.close()
        raise asyncio.CancelledError
    return connected


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
