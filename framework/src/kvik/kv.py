"""The key-value contract: what a driver is, and the facade that handlers get in its place.

A driver is any object with the four methods of `KVStore`. It imports nothing from here and raises what it likes.
`KV` wraps it: keys and values are checked before the driver sees them, its exceptions become those of
`kvik.kv_errors`, every call has a limit in time. All drivers behave alike because this is written once.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar, overload, runtime_checkable

from ._observers import Observers, Operation
from ._threads import WorkerThreads, asynchronous
from .health import Health, LimitedCheck
from .kv_errors import (
    Corrupt,
    DeadlineExceeded,
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    KVError,
    ValueTooLarge,
    from_driver,
)

D = TypeVar("D")

OPERATION_TIMEOUT = 10.0
"""Seconds after which an operation is given up, whatever its driver does; drivers have shorter limits."""

DRIVER_THREADS = 16
"""Threads of a store whose methods are plain `def`; its own, so that busy handler threads cannot starve it."""

_REQUIRED: Final = object()
_OPERATIONS: Final = ("get", "set", "delete")
_METHODS: Final = (*_OPERATIONS, "health_check")
_WRITES: Final = ("set", "delete")


@runtime_checkable
class KVStore(Protocol):
    """State what a driver has. Plain `def` methods will do as well: they run in worker threads.

    Optional: `async connect()` and `async close()`, both harmless when called twice; the attribute `limits`
    with `max_key_bytes` and `max_value_bytes`; the attribute `trace_attributes`, a mapping of OpenTelemetry's
    names to text, with which the spans of its operations describe the store.
    """

    async def get(self, key: str) -> str | None:
        """Return the value; None means that there is no such key, and never that something failed."""

    async def set(self, key: str, value: str) -> None:
        """Create or replace."""

    async def delete(self, key: str) -> None:
        """Delete; a missing key is not an error."""

    async def health_check(self) -> Mapping[str, Any]:
        """Return {"status": "UP" or "DOWN", "details": {…}}; never raise."""


def check_store(store: object) -> None:
    """Raise TypeError, naming what is missing, if the object is not a store."""
    if isinstance(store, type):
        raise TypeError(f"a store is an instance; got the class {store.__name__}: did you forget the ()?")
    missing = [name for name in _METHODS if not callable(getattr(store, name, None))]
    if missing:
        raise TypeError(
            f"{type(store).__name__} is not a key-value store: it lacks {', '.join(missing)}; "
            f"a store has the methods {', '.join(_METHODS)}"
        )


class KV:
    """Give a handler its key-value store: the driver's four verbs, checked, limited in time, typed errors.

    Every operation raises a `KVError`: `InvalidKey` for a key that is not 1 to `max_key_bytes` bytes of UTF-8,
    `InvalidValue` and `ValueTooLarge` likewise, `Unavailable`, `Throttled`, `DeadlineExceeded` and the others
    as the driver reports them.
    """

    def __init__(self, store: Any, *, name: str = "default", observers: Observers | None = None) -> None:
        check_store(store)
        self.name = name
        self._observers = observers or Observers()
        self._store = store
        self._threads = WorkerThreads(DRIVER_THREADS, f"kvik-store-{name}")
        self._get, self._set, self._delete = (
            asynchronous(getattr(store, method), self._threads) for method in _OPERATIONS
        )
        self._health_check = LimitedCheck(store.health_check, cause=self._code)
        limits = getattr(store, "limits", None)
        self._max_key_bytes: int | None = getattr(limits, "max_key_bytes", None)
        self._max_value_bytes: int | None = getattr(limits, "max_value_bytes", None)
        self.trace_attributes: Mapping[str, str] = {
            "db.system.name": self.driver_name,
            "kvik.store": name,
            **getattr(store, "trace_attributes", {}),
        }

    @property
    def driver_name(self) -> str:
        """Give the name of the driver's class."""
        return type(self._store).__name__

    def __repr__(self) -> str:
        return f"KV({self.driver_name}, name={self.name!r})"

    @overload
    async def get(self, key: str) -> str: ...
    @overload
    async def get(self, key: str, default: D) -> str | D: ...
    async def get(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the value of a key; without a `default`, a missing key raises KeyNotFound, HTTP's 404."""
        self._check_key(key, "get")
        value = await self._call("get", self._get, key)
        if value is None:
            if default is _REQUIRED:
                raise KeyNotFound(key, store=self.name)
            return default
        if not isinstance(value, str):
            raise Corrupt(
                f"the driver gave {type(value).__name__}, not str",
                store=self.name,
                operation="get",
                outcome="not_applied",
            )
        return value

    async def set(self, key: str, value: str) -> None:
        """Create or replace the value of a key."""
        self._check_key(key, "set")
        self._check_value(value, "set")
        await self._call("set", self._set, key, value)

    async def delete(self, key: str) -> None:
        """Delete a key; one that is not there is no error."""
        self._check_key(key, "delete")
        await self._call("delete", self._delete, key)

    async def health_check(self) -> Health:
        """Ask the store how it is, within 2 seconds; never raises, for a failed check is DOWN.

        One check runs at a time: who asks meanwhile gets its answer. A plain driver's runs in a thread of its own.
        """
        return await self._health_check()

    @property
    def has_busy_threads(self) -> bool:
        """Tell whether a plain driver is at work in a thread."""
        return self._threads.is_busy

    def offer(self, method: str, given: Any) -> None:
        """Call one of the driver's optional `use_` methods, if it has it; the app does this at its start."""
        hook = getattr(self._store, method, None)
        if hook is not None:
            hook(given)

    async def connect(self) -> bool:
        """Connect the driver, if it can be, and return whether it can; the app calls this at its start."""
        return await self._lifecycle("connect")

    async def close(self) -> None:
        """Close the driver, if it knows how, and the threads of a plain one; the app does this at its stop."""
        try:
            await self._lifecycle("close")
        finally:
            self._threads.close()

    async def _lifecycle(self, operation: str) -> bool:
        method = getattr(self._store, operation, None)
        if method is None:
            return False
        await self._call(operation, asynchronous(method, self._threads))
        return True

    async def _call(self, operation: str, function: Any, *args: Any) -> Any:
        observed = Operation(self, operation)
        begun = self._observers.operation_began(observed)
        started = time.perf_counter()
        limit = asyncio.timeout(OPERATION_TIMEOUT)
        try:
            async with limit:
                return await function(*args)
        except Exception as error:
            observed.error = self._failure(error, operation, out_of_time=limit.expired())
            raise observed.error from error
        except asyncio.CancelledError:
            observed.cancelled = True
            raise
        finally:
            observed.seconds = time.perf_counter() - started
            self._observers.operation_ended(observed, begun)

    def _failure(self, error: Exception, operation: str, *, out_of_time: bool) -> KVError:
        writes = operation in _WRITES
        if not out_of_time:
            return from_driver(error, store=self.name, operation=operation, writes=writes)
        return DeadlineExceeded(
            f"no answer within {OPERATION_TIMEOUT:g} s",
            store=self.name,
            operation=operation,
            outcome="unknown" if writes else "not_applied",
        )

    def _code(self, error: Exception) -> str:
        return from_driver(error, store=self.name, operation="", writes=False).code

    def _check_key(self, key: str, operation: str) -> None:
        problem = _text_problem("key", key)
        if problem is None and not key:
            problem = "key is empty"
        if problem is None and _is_longer(key, self._max_key_bytes):
            problem = f"key is {len(key.encode())} bytes of UTF-8; at most {self._max_key_bytes} are possible"
        if problem is not None:
            raise self._told(InvalidKey(problem, store=self.name, operation=operation))

    def _check_value(self, value: str, operation: str) -> None:
        problem = _text_problem("value", value)
        if problem is not None:
            raise self._told(InvalidValue(problem, store=self.name, operation=operation))
        if _is_longer(value, self._max_value_bytes):
            size, limit = len(value.encode()), self._max_value_bytes
            problem = f"value is {size} bytes of UTF-8; at most {limit} are possible"
            raise self._told(ValueTooLarge(problem, size=size, limit=limit, store=self.name, operation=operation))

    @staticmethod
    def _told(error: KVError) -> KVError:
        """Let the client read the text too: the facade wrote it, and it tells only what was sent."""
        error.public_message = str(error)
        return error


def _text_problem(what: str, text: object) -> str | None:
    if not isinstance(text, str):
        return f"{what} must be str, not {type(text).__name__}"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{what} holds a lone surrogate, which UTF-8 cannot"
    return None


def _is_longer(text: str, limit: int | None) -> bool:
    """Tell whether the text has more bytes of UTF-8 than the limit, encoding it only where that can matter."""
    most_bytes_per_character = 4
    if limit is None or len(text) * most_bytes_per_character <= limit:
        return False
    return (len(text) if text.isascii() else len(text.encode())) > limit
