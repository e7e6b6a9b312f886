"""A bare ASGI function: what uvicorn costs when the application does next to nothing. All else is measured by it.

It encodes and decodes with msgspec, keeps its values in memory, and finds its routes by two comparisons.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from http_server.exchange import GREETING, KEYS, Person, summary
from under_uvicorn import serve

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_VALUES = {f"/values/key-{number}": msgspec.json.encode(GREETING) for number in range(KEYS)}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer the requests of all workloads."""
    if scope["type"] != "http":
        return
    status, value = 200, _get(scope["path"])
    if value is None and scope["path"] == "/people" and scope["method"] == "POST":
        status, value = 201, summary(msgspec.json.decode(await _body(receive), type=Person))
    if value is None:
        status, value = 404, "not found"
    body = msgspec.json.encode({"data": value})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _get(path: str) -> object:
    if path == "/greeting":
        return GREETING
    stored = _VALUES.get(path)
    return None if stored is None else msgspec.json.decode(stored)


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


if __name__ == "__main__":
    serve(app)
