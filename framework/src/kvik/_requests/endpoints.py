"""What routes lead to."""

from typing import Any

from starlette.middleware import Middleware

from .._threads import is_coroutine_function
from .cors import app_decides_cors, decides_cors

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANY_METHOD = "*"
"""The method of a mounted application, which yields to every route that has the request's own."""
MOUNTED_PATH = "mounted"
"""The parameter that stands for the rest of a path below a mounted application."""


class Endpoint:
    """What a route leads to: a handler, a MountedApp below `depth` segments, or with neither an answer to OPTIONS.

    `middleware` stands around it, the first outermost. `is_plain` tells of a handler with nothing around it,
    `is_coroutine` of one that is `async def`, `decides_cors` of CORS middleware: asked once here, not with each
    request. An application that serves GET and HEAD alone is `read_only`. A `default` gives way to what a user
    registers for its path.
    """

    __slots__ = (
        "decides_cors",
        "default",
        "depth",
        "is_coroutine",
        "is_mounted",
        "is_plain",
        "middleware",
        "read_only",
        "target",
    )

    def __init__(
        self,
        target: Any,
        middleware: tuple[Middleware, ...] = (),
        *,
        depth: int | None = None,
        read_only: bool = False,
        default: bool = False,
    ) -> None:
        self.target = target
        self.middleware = middleware
        self.is_mounted = depth is not None
        self.depth = depth or 0
        self.read_only = read_only
        self.default = default
        self.is_plain = not middleware and not self.is_mounted
        self.decides_cors = any(decides_cors(own.cls) for own in middleware) or (
            self.is_mounted and app_decides_cors(target.app)
        )
        self.is_coroutine = is_coroutine_function(target)
