"""One call of each verb, for the rules that hold for all of them."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..._kv.driver import Driver
from .fixtures import skip_without

Call = Callable[[], Coroutine[Any, Any, Any]]

CAPABILITY: Final = {
    "get": None,
    "set": None,
    "delete": None,
    "set_expiring": "expiry",
    "get_versioned": "conditional",
    "set_if": "conditional",
    "delete_if": "conditional",
    "get_many": "batch",
    "set_many": "batch",
    "delete_many": "batch",
    "increment": "counter",
    "scan": "scan",
}
"""The verbs, with the capability that each belongs to."""

VERBS: Final = tuple(CAPABILITY)

OLD: Final = "1"
NEW: Final = "2"

_MANY: Final = 30
_FAR_FUTURE: Final = 4_000_000_000.0


def skip_without_verb(store: Any, verb: str) -> None:
    """Skip the running test where the driver has no such verb."""
    __tracebackhide__ = True
    capability = CAPABILITY[verb]
    if capability is not None:
        skip_without(store, capability)


async def prepared(driver: Driver, verb: str, key: str) -> Call:
    """Write what the verb needs, and give the call; a key that was OLD is NEW, or gone, or OLD after it."""
    version = ""
    if "conditional" in driver.capabilities:
        version = await driver.set_if(key, OLD, None)
    else:
        await driver.set(key, OLD)
    return call_of(driver, verb, key, version)


def call_of(driver: Driver, verb: str, key: str, version: str) -> Call:
    """Give one call of a verb."""
    keys = [key, *(f"{key}-{number}" for number in range(_MANY))]
    calls: dict[str, Call] = {
        "get": lambda: driver.get(key),
        "set": lambda: driver.set(key, NEW),
        "delete": lambda: driver.delete(key),
        "set_expiring": lambda: driver.set_expiring(key, NEW, _FAR_FUTURE),
        "get_versioned": lambda: driver.get_versioned(key),
        "set_if": lambda: driver.set_if(key, NEW, version),
        "delete_if": lambda: driver.delete_if(key, version),
        "get_many": lambda: driver.get_many(keys),
        "set_many": lambda: driver.set_many(dict.fromkeys(keys, NEW)),
        "delete_many": lambda: driver.delete_many(keys),
        "increment": lambda: driver.increment(key, 1),
        "scan": lambda: driver.scan("", None, _MANY),
    }
    return calls[verb]
