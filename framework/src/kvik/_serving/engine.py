"""Which protocol `app.run()` speaks with: the direct one, or uvicorn's own through ASGI."""

from collections.abc import Callable

import uvicorn

from .._container import Container
from .._requests.http import RequestPath
from .connection import Connection, connection_class
from .direct import direct_connection_class

TESTED_UVICORN = ((0, 35), (0, 54))
"""The first and the last minor version of uvicorn whose inside the direct protocol is tested with."""


def connection_class_for(container: Container, path: Callable[[], RequestPath]) -> type[Connection]:
    """Choose by HTTP_ENGINE, and by what uvicorn there is; one WARNING where that is another than is wanted."""
    if container.settings.http_engine == "asgi":
        return connection_class(container)
    first, last = TESTED_UVICORN
    if first <= _version(uvicorn.__version__) <= last:
        return direct_connection_class(container, path)
    container.logger.warning(
        "http_engine.asgi",
        uvicorn=uvicorn.__version__,
        problem="the direct protocol is not tested with this version; requests take the ASGI way",
        tested=f"{_text(first)} to {_text(last)}",
    )
    return connection_class(container)


def _version(text: str) -> tuple[int, ...]:
    """Give major and minor version; (), which is below every other, where the text tells none."""
    parts = text.split(".")[:2]
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else ()


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
