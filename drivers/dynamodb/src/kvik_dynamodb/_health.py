"""What health says of one probe."""

from collections.abc import Awaitable
from typing import Any, Protocol

_TIMEOUT = 1.0  # seconds


class Probe(Protocol):
    """Read once, in bounded time; raise what is wrong."""

    def __call__(self, *, within: float) -> Awaitable[None]: ...


async def check_health(probe: Probe) -> tuple[str, dict[str, Any]]:
    """Give the status and what is to be said about it."""
    try:
        await probe(within=_TIMEOUT)
    except Exception as error:  # noqa: BLE001 - health reports what it finds, whatever that is
        if getattr(error, "code", None) == "throttled":
            return "UP", {"throttled": True}
        return "DOWN", {"error": getattr(error, "cause", "other")}
    return "UP", {}
