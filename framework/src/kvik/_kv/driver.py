"""The way to a driver: every call of one goes through here, bounded in time, observed, its errors made ours."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeGuard

from .._observers import EndedBy, Observers, Operation
from .._threads import WorkerThreads, asynchronous
from ..health import Health, LimitedCheck
from ..kv_errors import Corrupt, DeadlineExceeded, KVError, PartialFailure, Unsupported, from_driver
from .deadline import remaining
from .store import OPTIONAL, capabilities_of
from .time_limit import OutOfTimeError, TimeLimits

OPERATION_TIMEOUT: Final = 10.0
"""Seconds after which a call is given up where there is no deadline; drivers have shorter limits of their own."""

DEADLINE_GRACE: Final = 0.05
"""Seconds that a driver has beyond the deadline, to tell by itself how far it came."""

DRIVER_THREADS: Final = 16
"""Threads of a store whose methods are plain `def`; its own, so that busy handler threads cannot starve it."""

_WRITES: Final = frozenset(
    {"set", "set_expiring", "set_if", "set_many", "delete", "delete_if", "delete_many", "increment"}
)

Versioned = tuple[str, str, float | None]
"""A value, its version, and when it expires."""


class Driver:
    """Call a store's methods as coroutines that raise a KVError and nothing else.

    A plain `def` method runs in a thread. A capability that the store lacks raises Unsupported. TypeError if the
    object is not a store.
    """

    def __init__(self, store: Any, *, name: str = "default", observers: Observers | None = None) -> None:
        self.capabilities = capabilities_of(store)
        self.store = store
        self.name = name
        self._observers = observers or Observers()
        self._time_limits = TimeLimits()
        self._closing = 0
        self._threads = WorkerThreads(DRIVER_THREADS, f"kvik-store-{name}")
        self._health_check = LimitedCheck(store.health_check, cause=self._code)
        limits = getattr(store, "limits", None)
        self.max_key_bytes: int | None = getattr(limits, "max_key_bytes", None)
        self.max_value_bytes: int | None = getattr(limits, "max_value_bytes", None)
        self.trace_attributes: Mapping[str, str] = {
            "db.system.name": self.driver_name,
            "kvik.store": name,
            **getattr(store, "trace_attributes", {}),
        }
        self._verbs = self._find_verbs()

    @property
    def driver_name(self) -> str:
        """Give the name of the store's class."""
        return type(self.store).__name__

    def clock(self) -> float:
        """Give the store's time, in seconds since the epoch, by which its keys expire."""
        clock: Callable[[], float] = getattr(self.store, "clock", time.time)
        return clock()

    def need(self, capability: str, operation: str) -> None:
        """Raise Unsupported unless the store has the capability."""
        if capability not in self.capabilities:
            raise self._unsupported(capability, operation)

    async def get(self, key: str) -> str | None:
        """Give the value, None if there is no such key."""
        value = await self._call("get", key)
        if value is not None and not isinstance(value, str):
            raise self._broken("get", value, "str")
        return value

    async def set(self, key: str, value: str) -> None:
        """Create or replace, without an expiry."""
        await self._call("set", key, value)

    async def delete(self, key: str) -> None:
        """Delete; a missing key is no error."""
        await self._call("delete", key)

    async def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        """Create or replace, with an expiry in seconds since the epoch."""
        await self._call("set_expiring", key, value, expires_at)

    async def get_versioned(self, key: str) -> Versioned | None:
        """Give value, version and expiry, None if there is no such key."""
        found: object = await self._call("get_versioned", key)
        if found is not None and not is_versioned(found):
            raise self._broken("get_versioned", found, "a tuple of value, version and expiry")
        return found

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        """Write if the key has this version, None: if it is absent, and give the new one; else Conflict."""
        made = await self._call("set_if", key, value, version, expires_at)
        if not isinstance(made, str):
            raise self._broken("set_if", made, "a version, which is str", outcome="applied")
        return made

    async def delete_if(self, key: str, version: str) -> None:
        """Delete if the key has this version; else Conflict."""
        await self._call("delete_if", key, version)

    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Give the values of those keys that are there."""
        found = await self._call("get_many", keys)
        if not isinstance(found, Mapping) or not all(
            issubclass(kind, str) for kind in set(map(type, found.values()))
        ):
            raise self._broken("get_many", found, "a mapping of found keys to str")
        return dict(found)

    async def set_many(self, items: Mapping[str, str], expires_at: float | None = None) -> None:
        """Create or replace several keys."""
        await self._call("set_many", items, expires_at)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete several keys."""
        await self._call("delete_many", keys)

    async def increment(self, key: str, delta: int) -> int:
        """Add to a number atomically, and give the sum."""
        total = await self._call("increment", key, delta)
        if isinstance(total, bool) or not isinstance(total, int):
            raise self._broken("increment", total, "int", outcome="applied")
        return total

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Give a page of the keys that begin with the prefix, and where the next begins, None after the last."""
        page = await self._call("scan", prefix, cursor, limit)
        if not (isinstance(page, tuple) and len(page) == 2 and isinstance(page[1], str | None)):  # noqa: PLR2004 - keys and cursor
            raise self._broken("scan", page, "a tuple of keys and a cursor")
        return list(page[0]), page[1]

    async def health_check(self) -> Health:
        """Ask the store how it is; never raises."""
        return await self._health_check()

    async def connect(self) -> bool:
        """Connect the store, and return whether it can be connected."""
        return await self._lifecycle("connect")

    async def close(self) -> None:
        """Close the store, and the threads of a plain one when no other close needs them."""
        self._closing += 1
        try:
            await self._lifecycle("close")
        finally:
            self._closing -= 1
            if not self._closing:
                self._threads.close()

    def offer(self, hook: str, given: Any) -> None:
        """Call one of the store's `use_` methods, if it has it."""
        method = getattr(self.store, hook, None)
        if method is not None:
            method(given)

    @property
    def has_busy_threads(self) -> bool:
        """Tell whether a plain store is at work in a thread."""
        return self._threads.is_busy

    def _find_verbs(self) -> dict[str, tuple[Callable[..., Any], Operation]]:
        names = ["get", "set", "delete", *(name for each in self.capabilities for name in OPTIONAL[each])]
        return {
            name: (
                asynchronous(getattr(self.store, name), self._threads),
                Operation(self.name, self.driver_name, name, self.trace_attributes),
            )
            for name in names
        }

    async def _lifecycle(self, operation: str) -> bool:
        if operation not in self._verbs:
            return False
        await self._call(operation)
        return True

    def _lacking(self, verb: str) -> NoReturn:
        raise self._unsupported(next(name for name, verbs in OPTIONAL.items() if verb in verbs), verb)

    async def _call(self, verb: str, *args: Any) -> Any:
        method, operation = self._verbs.get(verb) or self._lacking(verb)
        begun = self._observers.operation_began(operation)
        started = time.perf_counter()
        ended_by: EndedBy = None
        try:
            return await self._time_limits.within(started + _seconds_to_call(), method(*args))
        except OutOfTimeError as cut_off:
            ended_by = self._failure(DeadlineExceeded(f"{self.driver_name} gave no answer in time"), verb)
            raise ended_by from cut_off.__cause__
        except Exception as error:
            ended_by = self._failure(error, verb)
            raise ended_by from error
        except asyncio.CancelledError as cancellation:
            ended_by = cancellation
            raise
        finally:
            self._observers.operation_ended(operation, ended_by, time.perf_counter() - started, begun)
            del ended_by  # which holds this frame in its traceback: they would keep each other

    def _unsupported(self, capability: str, operation: str) -> Unsupported:
        return Unsupported(
            f"{self.driver_name} cannot do that: it lacks the capability {capability!r}, "
            f"that is {', '.join(OPTIONAL[capability])}",
            store=self.name,
            operation=operation,
        )

    def _failure(self, error: Exception, operation: str) -> KVError:
        failure = self._from_driver(error, operation)
        if isinstance(failure, PartialFailure):
            failure.errors = {key: self._from_driver(each, operation) for key, each in failure.errors.items()}
        return failure

    def _from_driver(self, error: Exception, operation: str) -> KVError:
        return from_driver(error, store=self.name, operation=operation, writes=operation in _WRITES)

    def _broken(self, operation: str, given: object, wanted: str, *, outcome: Any = "not_applied") -> Corrupt:
        return Corrupt(
            f"{self.driver_name}.{operation} gave {type(given).__name__}, not {wanted}",
            store=self.name,
            operation=operation,
            outcome=outcome,
        )

    def _code(self, error: Exception) -> str:
        return self._from_driver(error, "").code


def _seconds_to_call() -> float:
    """Give the seconds that a call may take; DeadlineExceeded if there are none."""
    left = remaining()
    if left is None:
        return OPERATION_TIMEOUT
    if left <= 0:
        raise DeadlineExceeded("the deadline had passed before the store was called", outcome="not_applied")
    return left + DEADLINE_GRACE


def is_versioned(found: object) -> TypeGuard[Versioned]:
    """Tell whether it is what `get_versioned` gives of a key that is there."""
    if not isinstance(found, tuple) or len(found) != 3:  # noqa: PLR2004 - value, version, expiry
        return False
    value, version, expires_at = found
    return isinstance(value, str) and isinstance(version, str) and isinstance(expires_at, int | float | None)
