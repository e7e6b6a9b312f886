"""Which function of a user's a stack works for: asked only when something is wrong with it."""

import inspect
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from .endpoints import Endpoint
from .outgoing import Outgoing
from .routing import Match

_LOCAL_VARIABLES = {
    "kvik._requests.handling": "endpoint",
    "kvik._requests.websocket": "endpoint",
    "kvik._lifecycle": "hook",
    "kvik._background": "function",
}
"""By module, the variable that holds what the module has called."""


def running_handler(frame: FrameType | None) -> Callable[..., Any] | None:
    """Return the handler, hook or background function that a frame works for, None where there is none."""
    while frame is not None:
        variable = _LOCAL_VARIABLES.get(frame.f_globals.get("__name__", ""))
        found = frame.f_locals.get(variable) if variable else None
        function = found.target if isinstance(found, Endpoint) else found
        if callable(function):
            return function  # type: ignore[no-any-return] # an Endpoint's target may be anything
        frame = frame.f_back
    return None


def running_route(frame: FrameType | None) -> str:
    """Return method and path of the route that a frame works for, "" where there is none."""
    while frame is not None:
        if frame.f_globals.get("__name__", "") in _LOCAL_VARIABLES:
            outgoing, match = frame.f_locals.get("outgoing"), frame.f_locals.get("match")
            if isinstance(outgoing, Outgoing) and outgoing.match.route is not None:
                return f"{outgoing.method} {outgoing.match.route.path}"
            if isinstance(match, Match) and match.route is not None:
                return f"WEBSOCKET {match.route.path}"
        frame = frame.f_back
    return ""


def own_line(frame: FrameType | None, handler: Callable[..., Any] | None) -> tuple[str, int] | None:
    """Return file and line of the innermost frame in a user's code, None where there is none."""
    code = getattr(inspect.unwrap(handler), "__code__", None) if handler is not None else None
    paths = sysconfig.get_paths()
    foreign = (str(Path(__file__).parents[1]), paths["stdlib"], paths["purelib"], paths["platlib"], "<frozen")
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(foreign) or frame.f_code is code:
            return file, frame.f_lineno
        frame = frame.f_back
    return None
