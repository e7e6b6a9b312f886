"""A WebSocket's connection under `app.run()`: uvicorn's protocol, within the limits of other connections."""

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from .._container import Container
from .sending import SendingClock, reset


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket, from its handshake on."""

    def __init__(self, container: Container, **options: Any) -> None:
        super().__init__(**options)
        self._container = container

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection."""
        super().connection_made(transport)
        self._sending = SendingClock(self.transport, self._container.settings.send_timeout, self._on_stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._sending.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Time the client's reading, now that it is behind."""
        super().pause_writing()
        self._sending.start()

    def resume_writing(self) -> None:
        """Take note that the client has read."""
        super().resume_writing()
        self._sending.stop()

    async def run_asgi(self) -> None:
        """Run the app; the connection then closes when the client has read what is left."""
        await super().run_asgi()
        if not self.disconnected:
            self._sending.start()

    def handle_ping(self) -> None:
        """Answer, unless the client has not read the answers before (RFC 6455, 5.5.3)."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment; an empty one, which counts towards no limit, is not kept."""
        if event.data or event.fin:
            super().handle_cont(event)

    def shutdown(self) -> None:
        """Close; where the handshake is still to be answered, have the app do that at once."""
        if self.handshake_complete or not self.handshake_initiated:
            super().shutdown()
            return
        while self._container.handshakes:
            self._container.handshakes.pop().reschedule(self.loop.time())

    def give_up(self) -> None:
        """Wait no longer for a client that reads nothing."""
        if self.handshake_complete:
            reset(self.transport)

    def _on_stalled(self) -> None:
        ip = self.client[0] if self.client else ""
        self._container.logger.info("client.not_reading", seconds=self._container.settings.send_timeout, ip=ip)
        reset(self.transport)
