"""Which protocol an app is served with: the direct one, or uvicorn's own through ASGI."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .._container import Container
from .._requests.http import RequestPath
from .connection import Connection, connection_class
from .direct import DirectConnection, direct_connection_class

TESTED_UVICORN = ((0, 53), (0, 54))
"""The first and the last minor version of uvicorn whose inside the direct protocol is tested with."""


def connection_class_for(container: Container, path: Callable[[], RequestPath]) -> type[Connection]:
    """Choose for `app.run()`."""
    return _direct_class(container, path) or connection_class(container)


def websocket_protocol(container: Container) -> Callable[..., asyncio.Protocol]:
    """Return what makes the protocol of one WebSocket; its library, which imports slowly, comes with the first."""

    def make(**options: Any) -> asyncio.Protocol:
        from .websocket_connection import WebSocketConnection  # noqa: PLC0415 - see above

        return WebSocketConnection(container, **options)

    return make


def use_under_uvicorn(
    app: ASGIApp, receive: Receive, container: Container, path: Callable[[], RequestPath]
) -> None:
    """Have the uvicorn whose lifespan messages these are serve plain requests directly, as `app.run()` does.

    It makes its connections from the class that its configuration names when a client connects, and the app starts
    before any does. Where uvicorn was given something between itself and the app, or another protocol, nothing is
    changed.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    if not isinstance(config, uvicorn.Config) or not isinstance(config.http, str):
        return
    if config.http_protocol_class is HttpToolsProtocol and _innermost(config) is app:
        config.http_protocol_class = _direct_class(container, path) or HttpToolsProtocol
        if config.ws == "auto" and config.http_protocol_class is not HttpToolsProtocol:
            config.ws_protocol_class = websocket_protocol(container)  # type: ignore[assignment] # it is called


def _innermost(config: uvicorn.Config) -> object:
    """Give the app that uvicorn calls; whom it believes a client's address, the direct protocol knows as well."""
    app = config.loaded_app
    return app.app if isinstance(app, ProxyHeadersMiddleware) else app


def _direct_class(container: Container, path: Callable[[], RequestPath]) -> type[DirectConnection] | None:
    """Give the direct protocol, or None: HTTP_ENGINE=asgi, or another uvicorn than is known, with one WARNING."""
    if container.settings.http_engine == "asgi":
        return None
    first, last = TESTED_UVICORN
    if first <= _version(uvicorn.__version__) <= last:
        return direct_connection_class(container, path)
    container.logger.warning(
        "http_engine.asgi",
        uvicorn=uvicorn.__version__,
        problem="the direct protocol is not tested with this version; requests take the ASGI way",
        tested=f"{_text(first)} to {_text(last)}",
    )
    return None


def _version(text: str) -> tuple[int, ...]:
    """Give major and minor version; (), which is below every other, where the text tells none."""
    parts = text.split(".")[:2]
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else ()


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
