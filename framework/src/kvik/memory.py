"""A key-value store in the process's memory: for tests, examples, caches and other data that may be lost."""

import bisect
import heapq
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, ClassVar, Final, NamedTuple

from ._kv.counters import added
from ._kv.time_slice import next_slice, slice_end
from .kv_errors import Conflict, InvalidValue, ValueTooLarge

_EXPIRED_PER_WRITE: Final = 4
"""Expired keys that a write clears away: more than the one that it may add, so they never pile up."""

_SPARE_EXPIRIES: Final = 64


class _Limits(NamedTuple):
    max_key_bytes: int = 2048  # DynamoDB's, so that what works here works there
    max_value_bytes: int = 16 * 1024 * 1024  # kvik-sqlite's
    ttl_granularity: float = 0.0


class _Item(NamedTuple):
    value: str
    write: int
    expires_at: float | None


class MemoryStore:
    """Keep keys and values in a dict; all is gone with the process, and nothing before, unless it is bounded.

    With `max_entries`, or `max_bytes` of UTF-8 in keys and values together, a write that goes beyond drops what
    has expired, then what was read or written least recently. A single entry above `max_bytes` is ValueTooLarge.
    Expiry goes by `clock`, seconds since the epoch; a test may assign another at any time.

    Methods run on the event loop, and those of one key have no await inside, so each is atomic. Not for use from
    other threads.
    """

    limits: ClassVar[_Limits] = _Limits()
    per_process: ClassVar[bool] = True

    def __init__(
        self,
        *,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._max_entries = _at_least_one("max_entries", max_entries)
        self._max_bytes = _at_least_one("max_bytes", max_bytes)
        self._is_bounded = max_entries is not None or max_bytes is not None
        self._items: OrderedDict[str, _Item] = OrderedDict()  # the least recently used first, if bounded
        self._expiries: list[tuple[float, str]] = []  # a heap; also of keys that were written again since
        self._sorted: list[str] | None = None  # for scans: every key, and perhaps some that are gone
        self._bytes = 0
        self._writes = 0
        self._epoch = secrets.token_hex(8)  # no other store's version is ever one of ours

    async def get(self, key: str) -> str | None:
        """Return the value, None if there is no such key."""
        item = self._items.get(key)
        if item is not None and (self._is_bounded or item.expires_at is not None):
            item = self._live(key)
        return None if item is None else item.value

    async def set(self, key: str, value: str) -> None:
        """Create or replace; the key does not expire."""
        self._put(key, value, None)

    async def delete(self, key: str) -> None:
        """Delete; a missing key is no error."""
        self._drop(key)

    async def health_check(self) -> Mapping[str, Any]:
        """Answer UP, with the number of keys; some may have expired."""
        return {"status": "UP", "details": {"keys": len(self._items)}}

    async def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        """Create or replace; the key is missing from `expires_at` on, in seconds since the epoch."""
        self._put(key, value, _finite(expires_at))

    async def get_versioned(self, key: str) -> tuple[str, str, float | None] | None:
        """Return value, version and expiry, None if there is no such key."""
        item = self._live(key)
        return None if item is None else (item.value, self._version(item), item.expires_at)

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        """Write if the key has this version, None: if it is absent, and return the new one; else Conflict."""
        expires_at = None if expires_at is None else _finite(expires_at)
        self._check_version(key, version)
        return self._version(self._put(key, value, expires_at))

    async def delete_if(self, key: str, version: str) -> None:
        """Delete if the key has this version, else Conflict, also if it is missing."""
        if not isinstance(version, str):
            raise TypeError(f"version must be a str that this store has returned, not {type(version).__name__}")
        self._check_version(key, version)
        self._drop(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the values of those keys that are there."""
        _check_several(keys)
        found: dict[str, str] = {}
        end = slice_end()
        for key in keys:
            item = self._live(key)
            if item is not None:
                found[key] = item.value
            if perf_counter() >= end:
                end = await next_slice()
        return found

    async def set_many(self, items: Mapping[str, str], expires_at: float | None = None) -> None:
        """Create or replace several keys, with one expiry or none."""
        expires_at = None if expires_at is None else _finite(expires_at)
        end = slice_end()
        for key, value in dict(items).items():
            self._put(key, value, expires_at)
            if perf_counter() >= end:
                end = await next_slice()

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete several keys; missing ones are no error."""
        _check_several(keys)
        end = slice_end()
        for key in keys:
            self._drop(key)
            if perf_counter() >= end:
                end = await next_slice()

    async def increment(self, key: str, delta: int) -> int:
        """Add to a number, 0 if there is none, and return the sum; the expiry stays.

        InvalidValue if text or sum is no signed 64-bit number in its shortest form.
        """
        item = self._live(key)
        text, expires_at = ("0", None) if item is None else (item.value, item.expires_at)
        total = added(text, delta)
        self._put(key, str(total), expires_at)
        return total

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Return up to `limit` keys that begin with `prefix`, in order; the cursor is the last of them.

        The first page after a new key sorts all keys, about a millisecond for ten thousand.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit must be a whole number of 1 or more, not {limit!r}")
        if self._sorted is None:
            self._sorted = sorted(self._items)
        keys = self._sorted
        start = bisect.bisect_left(keys, prefix) if cursor is None else bisect.bisect_right(keys, cursor)
        page = keys[start : start + limit]
        is_last = len(page) < limit or not page[-1].startswith(prefix)
        live = [key for key in page if key.startswith(prefix) and self._live(key, is_use=False) is not None]
        return live, None if is_last else page[-1]

    def _live(self, key: str, *, is_use: bool = True) -> _Item | None:
        item = self._items.get(key)
        if item is None:
            return None
        if item.expires_at is not None and item.expires_at <= self.clock():
            self._drop(key)
            return None
        if self._is_bounded and is_use:
            self._items.move_to_end(key)
        return item

    def _version(self, item: _Item) -> str:
        return f"{self._epoch}-{item.write}"

    def _check_version(self, key: str, version: str | None) -> None:
        item = self._live(key)
        current = None if item is None else (item.value, self._version(item), item.expires_at)
        if version != (None if current is None else current[1]):
            problem = "the key is there already" if version is None else "the version is another"
            raise Conflict(problem, current=current)

    def _put(self, key: str, value: str, expires_at: float | None) -> _Item:
        if self._max_bytes is not None:
            self._check_room(key, value, self._max_bytes)
        self._writes += 1
        item = _Item(value, self._writes, expires_at)
        if key not in self._items:
            self._sorted = None
        if self._is_bounded:
            self._drop(key)
            self._bytes += _size(key, value) if self._max_bytes is not None else 0
        self._items[key] = item
        if expires_at is not None:
            self._expires(key, expires_at)
        if self._expiries:
            self._drop_expired(_EXPIRED_PER_WRITE)
        if self._is_bounded:
            self._evict()
        return item

    def _drop(self, key: str) -> None:
        item = self._items.pop(key, None)
        if item is not None and self._max_bytes is not None:
            self._bytes -= _size(key, item.value)

    def _expires(self, key: str, moment: float) -> None:
        """Note when the key expires; the heap never holds more than twice as many moments as there are keys."""
        heapq.heappush(self._expiries, (moment, key))
        if len(self._expiries) > 2 * len(self._items) + _SPARE_EXPIRIES:
            expiring = ((item.expires_at, key) for key, item in self._items.items())
            self._expiries = [(moment, key) for moment, key in expiring if moment is not None]
            heapq.heapify(self._expiries)

    def _drop_expired(self, at_most: int) -> None:
        now = self.clock()
        while at_most and self._expiries and self._expiries[0][0] <= now:
            moment, key = heapq.heappop(self._expiries)
            item = self._items.get(key)
            if item is not None and item.expires_at == moment:
                self._drop(key)
            at_most -= 1

    @staticmethod
    def _check_room(key: str, value: str, room: int) -> None:
        if (size := _size(key, value)) > room:
            problem = f"key and value are {size} bytes; the store has room for {room}"
            raise ValueTooLarge(problem, size=size, limit=room)

    def _evict(self) -> None:
        while self._is_over():
            if self._expiries and self._expiries[0][0] <= self.clock():
                self._drop_expired(1)
            else:
                self._drop(next(iter(self._items)))

    def _is_over(self) -> bool:
        too_many = self._max_entries is not None and len(self._items) > self._max_entries
        return too_many or (self._max_bytes is not None and self._bytes > self._max_bytes)


def _at_least_one(name: str, bound: int | None) -> int | None:
    if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 1):
        raise ValueError(f"{name} is None or a whole number above 0, not {bound!r}")
    return bound


def _finite(expires_at: float) -> float:
    """Return the moment; anything else than a number would break the order of all, NaN as well."""
    if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
        raise TypeError(f"expires_at must be seconds since the epoch, not {type(expires_at).__name__}")
    if not -math.inf < expires_at < math.inf:
        raise InvalidValue(f"expires_at must be a finite number of seconds since the epoch, not {expires_at}")
    return expires_at


def _check_several(keys: object) -> None:
    """Refuse a str, of which each character would be a key."""
    if isinstance(keys, str):
        raise TypeError("keys must be a list of str, not one str")


def _size(key: str, value: str) -> int:
    return len(key.encode()) + len(value.encode())
