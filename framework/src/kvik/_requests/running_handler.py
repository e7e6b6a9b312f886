"""Which function of a user's a stack works for: asked only when something is wrong with it."""

from collections.abc import Callable
from types import FrameType
from typing import Any

from .endpoints import Endpoint

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
