"""What makes an object a store, and what it may be able to do besides: told by its methods alone."""

from collections.abc import Mapping
from typing import Any, Final, Protocol, runtime_checkable

REQUIRED: Final = ("get", "set", "delete", "health_check")

OPTIONAL: Final = {
    "lifecycle": ("connect", "close"),
    "expiry": ("set_expiring",),
    "conditional": ("get_versioned", "set_if", "delete_if"),
    "batch": ("get_many", "set_many", "delete_many"),
    "counter": ("increment",),
    "scan": ("scan",),
}
"""Each optional capability, with the methods that make it; `KVStore` says what they do."""


@runtime_checkable
class KVStore(Protocol):
    """State what a driver has. Plain `def` methods will do as well: they run in worker threads.

    What a driver can do besides, it declares by having the methods; some of a row and not all is refused:

    * lifecycle: `async connect()`, `async close()`, both harmless when called twice.
    * expiry: `async set_expiring(key, value, expires_at)`, absolute seconds since the epoch.
    * conditional: `async get_versioned(key)` giving (value, version, expires_at or None) or None,
      `async set_if(key, value, version, expires_at=None)` giving the new version, where a `version` of None means
      that the key must be absent, `async delete_if(key, version)`; both raise with the code "conflict".
    * batch: `async get_many(keys)` giving the values found, `async set_many(items, expires_at=None)`,
      `async delete_many(keys)`; any number of keys, not atomic.
    * counter: `async increment(key, delta)` giving the sum.
    * scan: `async scan(prefix, cursor, limit)` giving at most `limit` keys and the next cursor, None at the end.
    * hooks, each by itself: `use_logger`, `use_metrics`, `use_tracer`, `use_deadline(remaining)`, called before
      `connect`; `remaining()` gives the seconds left for the current task, or None.
    * attributes: `limits` with `max_key_bytes`, `max_value_bytes`, `ttl_granularity` (seconds); `clock`, which
      gives the seconds since the epoch; `trace_attributes`, OpenTelemetry's names and texts for spans;
      `per_process`, True where each process has data of its own.
    """

    async def get(self, key: str) -> str | None:
        """Return the value; None means that there is no such key, and never that something failed."""

    async def set(self, key: str, value: str) -> None:
        """Create or replace; clear any expiry."""

    async def delete(self, key: str) -> None:
        """Delete; a missing key is not an error."""

    async def health_check(self) -> Mapping[str, Any]:
        """Return {"status": "UP" or "DOWN", "details": {…}}; never raise."""


def capabilities_of(store: object) -> frozenset[str]:
    """Tell what a store can do besides the required; TypeError, naming what is missing, if it is not a store.

    Half a capability is refused too: an operation that fails only now and then is found too late.
    """
    if isinstance(store, type):
        raise TypeError(f"a store is an instance; got the class {store.__name__}: did you forget the ()?")
    if missing := _missing(store, REQUIRED):
        raise TypeError(
            f"{type(store).__name__} is not a key-value store: it lacks {', '.join(missing)}; "
            f"a store has the methods {', '.join(REQUIRED)}"
        )
    return frozenset(name for name, methods in OPTIONAL.items() if _has(store, name, methods))


def _has(store: object, name: str, methods: tuple[str, ...]) -> bool:
    missing = _missing(store, methods)
    if missing and len(missing) < len(methods):
        there = [method for method in methods if method not in missing]
        raise TypeError(
            f"{type(store).__name__} has {', '.join(there)} but lacks {', '.join(missing)}: "
            f"the capability {name!r} is all of {', '.join(methods)}, or none"
        )
    return not missing


def _missing(store: object, methods: tuple[str, ...]) -> list[str]:
    return [method for method in methods if not callable(getattr(store, method, None))]
