"""What health says of one probe."""

from collections.abc import Awaitable
from typing import Any, Protocol

_TIMEOUT = 1.0  # seconds, after half as many in vain


class Probe(Protocol):
    """Read once, in bounded time; raise what is wrong."""

    def __call__(self, *, within: float) -> Awaitable[None]: ...


async def check_health(probe: Probe) -> tuple[str, dict[str, Any]]:
    """Return the status and what is to be said about it."""
    try:
        await _ask(probe)
    except Exception as error:  # noqa: BLE001 - health reports what it finds, whatever that is
        if getattr(error, "code", None) == "throttled":
            return "UP", {"throttled": True}
        return "DOWN", {"error": getattr(error, "cause", "other")}
    return "UP", {}


async def _ask(probe: Probe) -> None:
    """Read once, and once more where no answer came: the connection kept for this may have died without a word."""
    try:
        await probe(within=_TIMEOUT / 2)
    except Exception as error:
        if getattr(error, "cause", None) != "timeout":
            raise
        await probe(within=_TIMEOUT)
