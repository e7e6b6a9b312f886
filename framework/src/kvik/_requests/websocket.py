"""WebSockets: find the route, call the handler with a Context, and close with a code that tells why."""

from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from .._container import Container
from .._exits import as_error
from .._logs.logging import request_ids
from ..context import Context
from ..errors import HTTPError
from .denial import deny
from .endpoints import Endpoint
from .interruption import ASGIIncoming
from .mounting import child_scope, raw_path_of
from .routing import Match, Router

_UNSUPPORTED_DATA, _INVALID_PAYLOAD, _INTERNAL_ERROR = 1003, 1007, 1011  # RFC 6455, 7.4.1


class Handshake(msgspec.Struct, eq=False):
    """Hold what was made of the request that began a WebSocket."""

    correlation_id: str
    match: Match


class UnexpectedMessage(Exception):
    """Raised when a client sends something other than what the handler waits for."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _WebSocket(WebSocket):
    """Starlette's WebSocket, which tells a client's wrong message from a mistake of the handler."""

    async def receive_text(self) -> str:
        try:
            text: str | None = await super().receive_text()
        except KeyError:
            text = None
        if text is None:
            raise UnexpectedMessage(_UNSUPPORTED_DATA, "expected a text message")
        return text

    async def receive_bytes(self) -> bytes:
        try:
            data: bytes | None = await super().receive_bytes()
        except KeyError:
            data = None
        if data is None:
            raise UnexpectedMessage(_UNSUPPORTED_DATA, "expected a binary message")
        return data

    async def receive_json(self, mode: str = "text") -> Any:
        try:
            return await super().receive_json(mode)
        except (KeyError, TypeError, AttributeError):  # servers leave the other kind out, or send None
            kind = "a text" if mode == "text" else "a binary"
            raise UnexpectedMessage(_UNSUPPORTED_DATA, f"expected {kind} message") from None
        except ValueError:
            raise UnexpectedMessage(_INVALID_PAYLOAD, "expected JSON") from None


class WebSockets:
    """Serve WebSockets; an ASGI application for the scope "websocket"."""

    def __init__(self, container: Container, router: Router) -> None:
        self._container = container
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        websocket = _WebSocket(scope, receive, send)
        try:
            match = self._router.find("WEBSOCKET", raw_path_of(scope))
        except HTTPError as error:
            await deny(error, self._container, scope, receive=receive, send=send)
            return
        if match.route is None:
            await deny(HTTPError(404, "route not registered"), self._container, scope, receive=receive, send=send)
            return
        endpoint = match.route.endpoint
        if endpoint.is_mounted:
            await endpoint.target.app(child_scope(scope, match), receive, send)
            return
        incoming = ASGIIncoming(scope, receive, self._container.client_watch)
        context = Context(self._container, incoming, Handshake(request_ids.get()[0], match), websocket)
        context._start_background()
        await self._handle(endpoint, context, websocket, receive)

    async def _handle(self, endpoint: Endpoint, context: Context, websocket: WebSocket, receive: Receive) -> None:
        """Run the handler; when it is done, or fails, the connection is closed."""
        try:
            await endpoint.target(context)
            if websocket.application_state is WebSocketState.CONNECTED:
                await websocket.close()
        except WebSocketDisconnect:
            self._container.logger.debug("websocket.client_gone")
        except UnexpectedMessage as error:
            self._container.logger.info("websocket.rejected", code=error.code, error=error.reason)
            await websocket.close(error.code, error.reason)
        except BaseException as raised:  # noqa: BLE001 - a user's handler may raise anything; the client is told
            failure = as_error(raised)
            if websocket.application_state is WebSocketState.CONNECTING:
                await deny(failure, self._container, websocket.scope, receive=receive, send=websocket.send)
            elif websocket.application_state is WebSocketState.CONNECTED:
                self._container.log_failure(failure)
                await websocket.close(_INTERNAL_ERROR, "Internal Server Error")
        finally:
            context._close()
