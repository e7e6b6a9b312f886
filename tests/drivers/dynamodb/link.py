"""A network link between a driver and a server: slow, late, or gone without a word."""

import asyncio
import socket
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

_PIECE = 8 * 1024


class Link:
    """Pass bytes on, both ways, at ``rate`` bytes a second, each ``latency`` seconds late."""

    def __init__(self, upstream: str, *, rate: float = 0.0, latency: float = 0.0) -> None:
        parts = urlsplit(upstream)
        self._upstream = parts.hostname, parts.port
        self._scheme = parts.scheme
        self.rate = rate
        self.latency = latency
        self.made = 0
        self._pumps: set[asyncio.Task[None]] = set()
        self._black: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        listening = socket.socket()
        listening.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE
        )  # or the system would take it all at once
        listening.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=_PIECE)
        self.url = f"{self._scheme}://127.0.0.1:{listening.getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._server.wait_closed()

    def black_out(self) -> None:
        """Pass nothing more on between those who are connected, and tell nobody; new connections work."""
        self._black |= self._writers

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        there, back = await asyncio.open_connection(*self._upstream, limit=_PIECE)
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pump(reader, back))
                ways.create_task(self._pump(there, writer))
        finally:
            for each in (writer, back):
                each.transport.abort()
                self._writers.discard(each)
            self._pumps.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(_PIECE):
                await asyncio.sleep(self.latency + (len(piece) / self.rate if self.rate else 0))
                if writer not in self._black:
                    writer.write(piece)
                    await writer.drain()
            if writer not in self._black:
                writer.close()
