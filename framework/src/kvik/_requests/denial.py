"""The answer to a handshake that is refused."""

import asyncio
import contextlib

from starlette.responses import Response as StarletteResponse
from starlette.types import Receive, Scope, Send

from .._container import Container

_CLOSE_TIMEOUT = 1.0


async def deny(error: Exception, container: Container, scope: Scope, *, receive: Receive, send: Send) -> None:
    """Answer a handshake with an error, as any other request would be."""
    reply = container.log_failure(error).reply(container.settings.error_format)
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return
    response = StarletteResponse(reply.body, reply.status)
    response.raw_headers = [*reply.head()]
    await response(scope, receive, send)
    await _until_closed(receive)


async def _until_closed(receive: Receive) -> None:
    """Wait for the end of a refused connection: uvicorn takes a return before it for an error of the app.

    It tells of the end twice: when the answer is written, and when the connection is gone.
    """
    ends = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            while ends < 2:  # noqa: PLR2004 - see above
                ends += (await receive())["type"] == "websocket.disconnect"
