"""The way to a driver: every call of one goes through here, bounded in time, observed, its errors made ours."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NoReturn

from .._exits import as_error
from .._observers import EndedBy, Observers, Operation
from .._threads import WorkerThreads, asynchronous
from ..health import Health, LimitedCheck
from ..kv_errors import Corrupt, DeadlineExceeded, KVError, PartialFailure, Unsupported, from_driver
from .answers import ANSWERS, Answer, Versioned
from .deadline import OPERATION_TIMEOUT, remaining
from .store import OPTIONAL, capabilities_of
from .time_limit import OutOfTimeError, TimeLimits, steps_of

DEADLINE_GRACE: Final = 0.05
"""Seconds that a driver has beyond the deadline, to tell by itself how far it came."""

DRIVER_THREADS: Final = 16
"""Threads of a store whose methods are plain `def`; its own, so that busy handler threads cannot starve it."""

_WRITES: Final = frozenset(
    {"set", "set_expiring", "set_if", "set_many", "delete", "delete_if", "delete_many", "increment"}
)

_Verb = tuple[Callable[..., Awaitable[Any]], Operation, Answer | None]
"""The store's method, how it is called in metrics, and what it is to give, None: nothing."""


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
        self.is_per_process: bool = getattr(store, "per_process", False) is True
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

    def get(self, key: str) -> Coroutine[Any, Any, str | None]:
        """Give the value, None if there is no such key."""
        return self._call("get", key)

    def set(self, key: str, value: str) -> Coroutine[Any, Any, None]:
        """Create or replace, without an expiry."""
        return self._call("set", key, value)

    def delete(self, key: str) -> Coroutine[Any, Any, None]:
        """Delete; a missing key is no error."""
        return self._call("delete", key)

    def set_expiring(self, key: str, value: str, expires_at: float) -> Coroutine[Any, Any, None]:
        """Create or replace, with an expiry in seconds since the epoch."""
        return self._call("set_expiring", key, value, expires_at)

    def get_versioned(self, key: str) -> Coroutine[Any, Any, Versioned | None]:
        """Give value, version and expiry, None if there is no such key."""
        return self._call("get_versioned", key)

    def set_if(
        self, key: str, value: str, version: str | None, expires_at: float | None = None
    ) -> Coroutine[Any, Any, str]:
        """Write if the key has this version, None: if it is absent, and give the new one; else Conflict."""
        return self._call("set_if", key, value, version, expires_at)

    def delete_if(self, key: str, version: str) -> Coroutine[Any, Any, None]:
        """Delete if the key has this version; else Conflict."""
        return self._call("delete_if", key, version)

    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Give the values of those keys that are there."""
        return dict(await self._call("get_many", keys))

    def set_many(self, items: Mapping[str, str], expires_at: float | None = None) -> Coroutine[Any, Any, None]:
        """Create or replace several keys."""
        return self._call("set_many", items, expires_at)

    def delete_many(self, keys: Sequence[str]) -> Coroutine[Any, Any, None]:
        """Delete several keys."""
        return self._call("delete_many", keys)

    def increment(self, key: str, delta: int) -> Coroutine[Any, Any, int]:
        """Add to a number atomically, and give the sum."""
        return self._call("increment", key, delta)

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Give a page of the keys that begin with the prefix, and where the next begins, None after the last."""
        keys, following = await self._call("scan", prefix, cursor, limit)
        return list(keys), following

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

    def _find_verbs(self) -> dict[str, _Verb]:
        names = ["get", "set", "delete", *(name for each in self.capabilities for name in OPTIONAL[each])]
        return {
            name: (
                asynchronous(getattr(self.store, name), self._threads),
                Operation(self.name, self.driver_name, name, self.trace_attributes),
                ANSWERS.get(name),
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
        method, operation, expected = self._verbs.get(verb) or self._lacking(verb)
        begun = self._observers.operation_began(operation)
        started = time.perf_counter()
        left = remaining()
        ended_by: EndedBy = None
        try:
            seconds = OPERATION_TIMEOUT if left is None else _seconds_to_call(left)
            steps = steps_of(method(*args))
            try:
                awaited = steps.send(None)
            except StopIteration as end:
                answer = end.value
            else:
                answer = await self._time_limits.within(started + seconds, steps, awaited)
        except OutOfTimeError as cut_off:
            ended_by = self._failure(DeadlineExceeded(f"{self.driver_name} gave no answer in time"), verb)
            raise ended_by from cut_off.__cause__
        except Exception as error:
            ended_by = self._failure(error, verb)
            raise ended_by from error
        except asyncio.CancelledError as cancellation:
            ended_by = cancellation
            raise
        except (SystemExit, KeyboardInterrupt) as raised:
            ended_by = self._failure(as_error(raised), verb)
            raise ended_by from raised
        finally:
            self._observers.operation_ended(operation, ended_by, time.perf_counter() - started, begun)
            del ended_by  # which holds this frame in its traceback: they would keep each other
        if expected is not None and not expected.fits(answer):
            raise self._broken(verb, answer, expected.words)
        return answer

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

    def _broken(self, operation: str, given: object, wanted: str) -> Corrupt:
        return Corrupt(
            f"{self.driver_name}.{operation} gave {type(given).__name__}, not {wanted}",
            store=self.name,
            operation=operation,
            outcome="applied" if operation in _WRITES else "not_applied",
        )

    def _code(self, error: Exception) -> str:
        return self._from_driver(error, "").code


def _seconds_to_call(left: float) -> float:
    """Give the seconds that a call may take before a deadline; DeadlineExceeded if none are left."""
    if left <= 0:
        raise DeadlineExceeded("the deadline had passed before the store was called", outcome="not_applied")
    return left + DEADLINE_GRACE
