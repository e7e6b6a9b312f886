"""WebSockets: find the route, call the handler with a Context, and close with a code that tells why."""

import asyncio
import contextlib

import msgspec
from starlette.responses import Response as StarletteResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from .._container import Container
from .._logs.logging import request_ids
from ..context import Context
from ..errors import HTTPError
from .endpoints import Endpoint
from .interruption import ASGIIncoming
from .mounting import child_scope, raw_path_of
from .routing import Match, Router

_CLOSE_TIMEOUT = 1.0
_INTERNAL_ERROR = 1011  # RFC 6455, 7.4.1


class Handshake(msgspec.Struct, eq=False):
    """Hold what was made of the request that began a WebSocket."""

    correlation_id: str
    match: Match


class WebSockets:
    """Serve WebSockets; an ASGI application for the scope "websocket"."""

    def __init__(self, container: Container, router: Router) -> None:
        self._container = container
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        websocket = WebSocket(scope, receive, send)
        try:
            match = self._router.find("WEBSOCKET", raw_path_of(scope))
        except HTTPError as error:
            await self._deny(error, websocket, receive)
            return
        if match.route is None:
            await self._deny(HTTPError(404, "route not registered"), websocket, receive)
            return
        endpoint = match.route.endpoint
        if endpoint.is_mounted:
            await endpoint.target.app(child_scope(scope, match), receive, send)
            return
        incoming = ASGIIncoming(scope, receive, self._container.client_watch)
        context = Context(self._container, incoming, Handshake(request_ids.get()[0], match), websocket)
        await self._handle(endpoint, context, websocket, receive)

    async def _handle(self, endpoint: Endpoint, context: Context, websocket: WebSocket, receive: Receive) -> None:
        """Run the handler; when it is done, or fails, the connection is closed."""
        try:
            await endpoint.target(context)
            if websocket.application_state is WebSocketState.CONNECTED:
                await websocket.close()
        except WebSocketDisconnect:
            self._container.logger.debug("websocket.client_gone")
        except Exception as error:  # noqa: BLE001 - a user's handler may raise anything; the client is told
            if websocket.application_state is WebSocketState.CONNECTING:
                await self._deny(error, websocket, receive)
            elif websocket.application_state is WebSocketState.CONNECTED:
                self._container.log_failure(error)
                await websocket.close(_INTERNAL_ERROR, "Internal Server Error")
        finally:
            context._close()

    async def _deny(self, error: Exception, websocket: WebSocket, receive: Receive) -> None:
        """Answer the handshake with the error, as any other request would be."""
        reply = self._container.log_failure(error).reply(self._container.settings.error_format)
        if websocket.application_state is WebSocketState.CONNECTING and "websocket.http.response" in (
            websocket.scope.get("extensions") or {}
        ):
            response = StarletteResponse(reply.body, reply.status)
            response.raw_headers = [*reply.head()]
            await websocket.send_denial_response(response)
            await _until_closed(receive)
        else:
            await websocket.close()


async def _until_closed(receive: Receive) -> None:
    """Wait for the end of a refused connection: uvicorn takes a return before it for an error of the app.

    It tells of the end twice: when the answer is written, and when the connection is gone.
    """
    ends = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            while ends < 2:  # noqa: PLR2004 - see above
                ends += (await receive())["type"] == "websocket.disconnect"
