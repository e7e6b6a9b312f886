"""The facade that handlers get in the place of a driver.

A driver is any object with the four methods of `KVStore`. It imports nothing from here and raises what it likes.
`KV` stands before it: keys and values are checked before the driver sees them, its exceptions become those of
`kvik.kv_errors`, every call has a limit in time. All drivers behave alike because this is written once.
"""

import copy
import enum
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from time import perf_counter
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, overload

from ._kv import deadline as deadlines
from ._kv import fallbacks
from ._kv.answers import is_versioned
from ._kv.contention import ATTEMPTS, retry_conflicts
from ._kv.counters import check_delta
from ._kv.driver import Driver
from ._kv.entry import Entry, V
from ._kv.expiry import TTL, moment_after, seconds_of, time_left
from ._kv.keys import Keys
from ._kv.partial import told_by_keys
from ._kv.single_flight import SingleFlight
from ._kv.store import KVStore
from ._kv.time_slice import next_slice, slice_end
from ._kv.values import TEXT, JsonValues, Values
from ._observers import Observers
from .health import Health
from .kv_errors import Conflict, Corrupt, KeyNotFound, KVError, PartialFailure

__all__ = ["KEEP", "KV", "Entry", "KVStore", "Keep"]

D = TypeVar("D")
T = TypeVar("T")

_PAGE: Final = 1000  # keys asked for at once by a scan: few calls, and no driver has to hold many more


class Keep(enum.Enum):
    """The type of KEEP."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP
"""As a `ttl`: leave the expiry as it is."""


def _check_version(version: object) -> None:
    """Refuse what is no version: None, say, would make an unconditional write of a forgotten one."""
    if not isinstance(version, str):
        raise TypeError(f"if_version must be the version of an entry, a str, not {type(version).__name__}")


class _Unset(enum.Enum):
    UNSET = "unset"


_UNSET: Final = _Unset.UNSET
_IfVersion: TypeAlias = str | Literal[_Unset.UNSET]


class KV(Generic[V]):
    """Give a handler its key-value store: every verb of every driver, checked, limited in time, typed errors.

    `V` is the type of the values: `str`, or that of `typed`. A time to live, `ttl`, is a timedelta or seconds,
    above 0; ValueError otherwise.

    Every operation raises a `KVError`: `InvalidKey` for a key that is not 1 to `max_key_bytes` bytes of UTF-8,
    `InvalidValue` and `ValueTooLarge` likewise, `Unsupported` where the driver lacks the capability,
    `Unavailable`, `Throttled`, `DeadlineExceeded` and the others as the driver reports them.
    """

    def __init__(self, store: Any, *, name: str = "default", observers: Observers | None = None) -> None:
        self._driver = Driver(store, name=name, observers=observers)
        self._keys = Keys(name, self._driver.max_key_bytes)
        self._values: Values = TEXT
        self._making = SingleFlight()

    def __repr__(self) -> str:
        within = f", namespace={self._keys.prefix!r}" if self._keys.prefix else ""
        return f"KV({self.driver_name}, name={self.name!r}{within})"

    # One key

    @overload
    async def get(self, key: str) -> V: ...
    @overload
    async def get(self, key: str, default: D) -> V | D: ...
    async def get(self, key: str, default: Any = _UNSET) -> Any:
        """Return the value of a key; without a `default`, a missing key raises KeyNotFound, HTTP's 404."""
        text = await self._driver.get(self._keys.physical(key, "get"))
        if text is None:
            return self._missing(key, default, "get")
        return self._decoded(text, "get")

    async def exists(self, key: str) -> bool:
        """Tell whether there is such a key; costs as much as `get`."""
        return await self._driver.get(self._keys.physical(key, "exists")) is not None

    @overload
    async def set(
        self, key: str, value: V, *, ttl: TTL | None = None, if_absent: Literal[False] = False
    ) -> None: ...
    @overload
    async def set(self, key: str, value: V, *, ttl: TTL | None = None, if_absent: Literal[True]) -> str: ...
    @overload
    async def set(self, key: str, value: V, *, ttl: TTL | None = None, if_version: str) -> str: ...
    async def set(
        self,
        key: str,
        value: V,
        *,
        ttl: TTL | None = None,
        if_absent: bool = False,
        if_version: _IfVersion = _UNSET,
    ) -> str | None:
        """Create or replace the value of a key; without a `ttl` it never expires, whatever it did before.

        With `if_absent=True`, or the `if_version` of an entry, write only where that is so, and return the new
        version; otherwise raise Conflict, whose `current` is the entry that is there. TypeError if `if_version`
        is no str, ValueError with both conditions.
        """
        if if_version is not _UNSET:
            _check_version(if_version)
            if if_absent:
                raise ValueError(
                    "if_absent and if_version exclude each other: a key that is absent has no version"
                )
        physical, text = self._keys.physical(key, "set"), self._encoded(value, "set")
        expires_at = self._expiry(ttl, "set")
        if if_absent or if_version is not _UNSET:
            return await self._set_if(physical, text, None if if_version is _UNSET else if_version, expires_at)
        await self._put(physical, text, expires_at)
        return None

    async def delete(self, key: str, *, if_version: _IfVersion = _UNSET) -> None:
        """Delete a key; one that is not there is no error.

        With the `if_version` of an entry, delete only that, otherwise raise Conflict, also where nothing is there.
        """
        physical = self._keys.physical(key, "delete")
        if if_version is _UNSET:
            await self._driver.delete(physical)
            return
        _check_version(if_version)
        await self._delete_if(physical, if_version)

    @overload
    async def entry(self, key: str) -> Entry[V]: ...
    @overload
    async def entry(self, key: str, default: D) -> Entry[V] | D: ...
    async def entry(self, key: str, default: Any = _UNSET) -> Any:
        """Return value, version and expiry of a key; a missing one is as with `get`. Needs `conditional`."""
        entry = await self._find(self._keys.physical(key, "entry"), "entry")
        return self._missing(key, default, "entry") if entry is None else entry

    # Read and write

    async def update(
        self,
        key: str,
        fn: Callable[[V | None], V | Awaitable[V]],
        *,
        ttl: TTL | Literal[Keep.KEEP] | None = KEEP,
        attempts: int = ATTEMPTS,
    ) -> Entry[V]:
        """Replace the value by what `fn` makes of it, and return the new entry; nobody's write is lost.

        `fn`, `def` or `async def`, gets None for a missing key. It is called again when somebody else wrote
        meanwhile, at most `attempts` times, after which Conflict is raised; so let it have no effects of its own.
        `ttl` KEEP, the default, leaves the expiry, None clears it. Needs `conditional`.
        """
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts}")
        fixed = None if ttl is KEEP else self._expiry(ttl, "update")
        physical = self._keys.physical(key, "update")

        async def attempt() -> Entry[V]:
            entry = await self._find(physical, "update")
            value: Any = fn(None if entry is None else entry.value)
            if inspect.isawaitable(value):
                value = await value
            expires_at = entry.expires_at if ttl is KEEP and entry is not None else fixed
            text = self._encoded(value, "update")
            version = await self._set_if(physical, text, None if entry is None else entry.version, expires_at)
            return Entry(key, value, version, expires_at)

        return await retry_conflicts(attempt, attempts)

    async def touch(self, key: str, ttl: TTL | None) -> None:
        """Give a key another time to live, None: for ever; KeyNotFound if it is missing. Needs `conditional`."""
        expires_at = self._expiry(ttl, "touch")
        physical = self._keys.physical(key, "touch")

        async def attempt() -> None:
            entry = await self._find_text(physical, "touch")
            if entry is None:
                raise KeyNotFound(key, store=self.name, operation="touch")
            await self._set_if(physical, entry.value, entry.version, expires_at)

        await retry_conflicts(attempt, ATTEMPTS)

    async def ttl(self, key: str) -> timedelta | None:
        """Return how long a key has to live, None if for ever; KeyNotFound if missing. Needs `conditional`."""
        entry = await self._find_text(self._keys.physical(key, "ttl"), "ttl")
        if entry is None:
            raise KeyNotFound(key, store=self.name, operation="ttl")
        if entry.expires_at is None:
            return None
        return time_left(entry.expires_at, self._driver.clock())

    @overload
    async def pop(self, key: str) -> V: ...
    @overload
    async def pop(self, key: str, default: D) -> V | D: ...
    async def pop(self, key: str, default: Any = _UNSET) -> Any:
        """Delete a key and return the value it had, to one caller only; missing is as with `get`.

        Needs `conditional`.
        """
        physical = self._keys.physical(key, "pop")

        async def attempt() -> Any:
            entry = await self._find(physical, "pop")
            if entry is None:
                return self._missing(key, default, "pop")
            await self._delete_if(physical, entry.version)
            return entry.value

        return await retry_conflicts(attempt, ATTEMPTS)

    async def get_or_set(self, key: str, make: Callable[[], V | Awaitable[V]], *, ttl: TTL | None = None) -> V:
        """Return the value of a key, and where it is missing, that of `make`, which is stored.

        In one process `make`, `def` or `async def`, runs once at a time for a key: concurrent callers share its
        result, or its exception, which is not kept. They wait until their deadline, without one 10 seconds, and
        then raise DeadlineExceeded. Where another process was faster, its value is returned, if the driver has
        `conditional`; else the last one stays.
        """
        physical = self._keys.physical(key, "get_or_set")
        self._expiry(ttl, "get_or_set")  # refused before anything is made
        text = await self._driver.get(physical)
        if text is None:
            text = await self._making.run((physical, self._values), lambda: self._make(physical, make, ttl))
        value: V = self._decoded(text, "get_or_set")
        return value

    async def increment(self, key: str, delta: int = 1) -> int:
        """Add to the number under a key, atomically, and return the sum; a missing key counts as 0.

        The value is decimal text, as `get` and `set` have it; its expiry stays. InvalidValue, and nothing is
        written, if the value is no such number, or if the sum is no signed 64-bit one. Needs `counter` or
        `conditional`.
        """
        physical = self._keys.physical(key, "increment")
        try:
            check_delta(delta)
            return await fallbacks.increment(self._driver, physical, delta)
        except KVError as error:
            self._place(error, "increment")
            raise

    # Several keys

    async def get_many(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values of those keys that are there.

        PartialFailure, with the values found as `results` and an error for each other key, if only some could be
        read; where all failed alike, that error. Without `batch` the keys are read one by one, 16 at a time.
        """
        physical = await self._keys.physical_all(keys, "get_many")
        failure: PartialFailure | None = None
        try:
            texts = await fallbacks.get_many(self._driver, physical)
        except PartialFailure as error:
            failure, texts = error, dict(error.results or {})
        values: dict[str, V] = {}
        corrupt: dict[str, KVError] = {}
        end = slice_end()
        for place, text in texts.items():
            try:
                values[self._keys.logical(place)] = self._decoded(text, "get_many")
            except Corrupt as error:
                corrupt[place] = error
            if perf_counter() >= end:
                end = await next_slice()
        if corrupt and failure is None:
            problem = "some values are corrupt"
            failure = PartialFailure(problem, store=self.name, operation="get_many", outcome="not_applied")
        if failure is not None:
            failure.errors |= corrupt
            raise told_by_keys(failure, self._keys, asked=len(physical), results=values)
        return values

    async def set_many(self, items: Mapping[str, V], *, ttl: TTL | None = None) -> None:
        """Create or replace several keys, which is not atomic.

        PartialFailure, with the keys written as `results` and an error for each other key, if only some could be;
        where all failed alike, that error. Without `batch` the keys are written one by one, 16 at a time.
        """
        texts: dict[str, str] = {}
        end = slice_end()
        for key, value in dict(items).items():
            texts[self._keys.physical(key, "set_many")] = self._encoded(value, "set_many")
            if perf_counter() >= end:
                end = await next_slice()
        expires_at = self._expiry(ttl, "set_many")
        try:
            await fallbacks.set_many(self._driver, texts, expires_at)
        except PartialFailure as failure:
            raise self._unwritten(failure, asked=len(texts)) from failure.__cause__

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Delete several keys, which is not atomic; it fails as `set_many` does."""
        physical = await self._keys.physical_all(keys, "delete_many")
        try:
            await fallbacks.delete_many(self._driver, physical)
        except PartialFailure as failure:
            raise self._unwritten(failure, asked=len(physical)) from failure.__cause__

    async def scan(self, prefix: str = "") -> AsyncIterator[str]:
        """Go through the keys that begin with a prefix, in no particular order: `async for key in kv.scan():`.

        Each key that is there all the while comes once; one that is written meanwhile may come or not. It reads
        pages as it goes; what that costs, the driver's documentation says. Needs `scan`.
        """
        physical = self._keys.physical_prefix(prefix, "scan")
        cursor: str | None = None
        while True:
            page, cursor = await self._driver.scan(physical, cursor, _PAGE)
            for key in page:
                yield self._keys.logical(key)
            if cursor is None:
                return

    # Views of the same store

    def namespace(self, name: str) -> "KV[V]":
        """Give the part of the store whose keys are this namespace's own, with the same interface.

        Nothing of it can collide with another namespace's keys, whatever characters either has; its scan shows
        its own keys, not those of a namespace within it. The whole store, which has no name, can address all.
        ValueError for an empty name.
        """
        view = copy.copy(self)
        view._keys = self._keys.nested(name)  # noqa: SLF001 - it is one of us
        return view

    def typed(self, kind: type[T]) -> "KV[T]":
        """Give the store with values of a type: dataclass, msgspec.Struct, TypedDict, pydantic model, int, ….

        They are stored as JSON. A value that does not fit is InvalidValue when written, Corrupt when read.
        TypeError for a type that JSON cannot become.
        """
        view: KV[Any] = copy.copy(self)
        view._values = JsonValues(kind)
        return view

    def unwrap(self, kind: type[T]) -> T:
        """Give the driver itself, for what only it can do; TypeError if it is no such driver."""
        if not isinstance(self._driver.store, kind):
            raise TypeError(f"the store {self.name!r} is a {self.driver_name}, not a {kind.__name__}")
        return self._driver.store

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Bound all operations within the block, of any store, to so many seconds: `with kv.deadline(0.5):`.

        Retries and waiting count. What is not done then raises DeadlineExceeded. A nearer deadline, such as that
        of REQUEST_TIMEOUT, stands. Without any, an operation has 10 seconds. ValueError unless above 0 and finite.
        """
        return deadlines.deadline(seconds)

    # What it is and how it is

    @property
    def name(self) -> str:
        """Give the name under which the store was added."""
        return self._driver.name

    @property
    def driver_name(self) -> str:
        """Give the name of the driver's class."""
        return self._driver.driver_name

    @property
    def capabilities(self) -> frozenset[str]:
        """Give what the driver can do of: lifecycle, expiry, conditional, batch, counter, scan."""
        return self._driver.capabilities

    async def health_check(self) -> Health:
        """Ask the store how it is, within 2 seconds; never raises, for a failed check is DOWN.

        One check runs at a time: who asks meanwhile gets its answer. A plain driver's runs in a thread of its own.
        """
        return await self._driver.health_check()

    # What the app does with it

    async def connect(self) -> bool:
        """Connect the driver, if it can be, and return whether it can; the app calls this at its start."""
        return await self._driver.connect()

    async def close(self) -> None:
        """Close the driver, if it knows how, and the threads of a plain one; the app does this at its stop."""
        await self._driver.close()

    def _offer(self, hook: str, given: Any) -> None:
        """Call one of the driver's optional `use_` methods, if it has it; the app does this at its start."""
        self._driver.offer(hook, given)

    @property
    def _has_busy_threads(self) -> bool:
        """Tell whether a plain driver is at work in a thread."""
        return self._driver.has_busy_threads

    @property
    def _is_per_process(self) -> bool:
        """Whether each process has data of its own."""
        return self._driver.is_per_process

    # What the verbs are made of

    def _encoded(self, value: V, operation: str) -> str:
        try:
            return self._values.encode(value, self._driver.max_value_bytes)
        except KVError as error:
            self._place(error, operation)
            raise

    def _decoded(self, text: str, operation: str) -> Any:
        try:
            return self._values.decode(text)
        except KVError as error:
            self._place(error, operation)
            raise

    def _place(self, error: KVError, operation: str) -> None:
        """Say where it happened."""
        error.store, error.operation = self.name, operation

    def _missing(self, key: str, default: Any, operation: str) -> Any:
        if default is _UNSET:
            raise KeyNotFound(key, store=self.name, operation=operation)
        return default

    def _expiry(self, ttl: TTL | None, operation: str) -> float | None:
        if ttl is None:
            return None
        seconds = seconds_of(ttl)
        self._driver.need("expiry", operation)
        return moment_after(seconds, self._driver.clock())

    async def _find_text(self, physical: str, operation: str) -> Entry[str] | None:
        self._driver.need("conditional", operation)
        found = await self._driver.get_versioned(physical)
        return None if found is None else Entry(self._keys.logical(physical), *found)

    async def _find(self, physical: str, operation: str) -> Entry[V] | None:
        entry = await self._find_text(physical, operation)
        if entry is None:
            return None
        return Entry(entry.key, self._decoded(entry.value, operation), entry.version, entry.expires_at)

    async def _set_if(self, physical: str, text: str, version: str | None, expires_at: float | None) -> str:
        try:
            return await self._driver.set_if(physical, text, version, expires_at)
        except Conflict as conflict:
            conflict.current = self._current(physical, conflict)
            raise

    async def _delete_if(self, physical: str, version: str) -> None:
        try:
            await self._driver.delete_if(physical, version)
        except Conflict as conflict:
            conflict.current = self._current(physical, conflict)
            raise

    def _current(self, physical: str, conflict: Conflict) -> Entry[V] | None:
        """Make the entry of what the driver says is there; None if it says nothing, or nothing to be read."""
        if not is_versioned(conflict.current):
            return None
        text, version, expires_at = conflict.current
        try:
            return Entry(self._keys.logical(physical), self._values.decode(text), version, expires_at)
        except Corrupt:
            return None

    def _unwritten(self, failure: PartialFailure, *, asked: int) -> KVError:
        written = [self._keys.logical(key) for key in failure.results]
        return told_by_keys(failure, self._keys, asked=asked, results=written)

    async def _make(self, physical: str, make: Callable[[], V | Awaitable[V]], ttl: TTL | None) -> str:
        """Make a missing value, store it and return its text, or the text that another process stored first.

        The time to live counts from here.
        """
        value: Any = make()
        if inspect.isawaitable(value):
            value = await value
        text, expires_at = self._encoded(value, "get_or_set"), self._expiry(ttl, "get_or_set")
        if "conditional" not in self._driver.capabilities:
            await self._put(physical, text, expires_at)
            return text

        async def attempt() -> str:
            try:
                await self._driver.set_if(physical, text, None, expires_at)
            except Conflict as conflict:
                if conflict.outcome != "not_applied":
                    raise
                faster = await self._stored_first(physical, conflict)
                if faster is None:  # deleted since, so neither value is stored
                    raise
                return faster
            return text

        return await retry_conflicts(attempt, ATTEMPTS)

    async def _stored_first(self, physical: str, conflict: Conflict) -> str | None:
        """Return the text that a conflict was about, None if nobody can say any more."""
        if is_versioned(conflict.current):
            return conflict.current[0]
        return await self._driver.get(physical)

    async def _put(self, physical: str, text: str, expires_at: float | None) -> None:
        if expires_at is None:
            await self._driver.set(physical, text)
        else:
            await self._driver.set_expiring(physical, text, expires_at)
