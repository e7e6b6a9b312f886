"""A store that fails as stores do, for the tests of what an app makes of that."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .._kv.store import OPTIONAL, REQUIRED, capabilities_of
from .._threads import WorkerThreads, asynchronous
from ..kv_errors import DeadlineExceeded, Throttled, Unavailable

_UNASKED: Final = ("health_check", "connect", "close")
"""What random faults leave alone, since an app that does not start tests nothing; a script may name them."""

_THREADS: Final = 16


@dataclass(frozen=True)
class Fault:
    """Say how one call of a store goes wrong; made by the methods below.

    It first waits `seconds`. Then, if it is `applied`, the store does what it is told, and then it raises what
    `error` gives, or, without that, answers.
    """

    error: Callable[[], Exception] | None = None
    applied: bool = False
    seconds: float = 0.0

    @classmethod
    def unavailable(cls) -> "Fault":
        """Let nobody answer, and nothing be written."""
        return cls(lambda: Unavailable("fault: unavailable", outcome="not_applied"))

    @classmethod
    def lost_reply(cls) -> "Fault":
        """Let the store do what it is told, and the connection break before it has said so: outcome unknown."""
        return cls(lambda: Unavailable("fault: the reply was lost", outcome="unknown"), applied=True)

    @classmethod
    def throttled(cls, *, retry_after: float | None = None, reason: str = "fault") -> "Fault":
        """Let the store ask for patience, and write nothing."""
        return cls(lambda: Throttled("fault: throttled", retry_after=retry_after, reason=reason))

    @classmethod
    def timeout(cls, *, applied: bool = False) -> "Fault":
        """Let the driver give up waiting; the test knows whether the write was applied, the caller cannot."""
        return cls(lambda: DeadlineExceeded("fault: timeout", outcome="unknown"), applied=applied)

    @classmethod
    def slow(cls, seconds: float) -> "Fault":
        """Let the answer be right, but late."""
        return cls(applied=True, seconds=seconds)

    @classmethod
    def raises(cls, error: Exception) -> "Fault":
        """Let the driver raise this, and write nothing."""
        return cls(lambda: error)


class FaultyStore:
    """Wrap a store, and let calls of it be late, fail, or succeed with the reply lost: at random, or as scripted.

    `error_rate` and `lost_reply_rate` are the shares of calls, 0 to 1, that end as `Fault.unavailable` and
    `Fault.lost_reply` do; `latency` is the fewest and the most seconds that each call waits. The same `seed` and
    the same calls give the same faults. Health checks and lifecycle fail only as scripted. It can do what the
    wrapped store, `inner`, can do, and nothing else; `calls` counts what it was asked for, by method.
    """

    def __init__(
        self,
        inner: Any,
        *,
        seed: int = 0,
        error_rate: float = 0.0,
        lost_reply_rate: float = 0.0,
        latency: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if min(error_rate, lost_reply_rate) < 0 or error_rate + lost_reply_rate > 1:
            raise ValueError("error_rate and lost_reply_rate are shares of all calls: 0 to 1, also together")
        if not 0 <= latency[0] <= latency[1]:
            raise ValueError(f"latency is the fewest and the most seconds, not {latency!r}")
        capabilities = capabilities_of(inner)
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - faults are no secret, and must come again
        self._error_rate = error_rate
        self._lost_reply_rate = lost_reply_rate
        self._latency = latency
        self._scripts: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._threads = WorkerThreads(_THREADS, "kvik-faulty-store")
        self._methods = frozenset({*REQUIRED, *(method for name in capabilities for method in OPTIONAL[name])})

    def script(self, method: str, *faults: Fault) -> None:
        """Let the next calls of a method go wrong so, one after another; ValueError if the store has it not."""
        if method not in self._methods:
            there = ", ".join(sorted(self._methods))
            raise ValueError(f"{type(self.inner).__name__} has no {method!r}; it has {there}")
        self._scripts[method].extend(faults)

    async def get(self, key: str) -> str | None:
        """Do what the store does, or fail."""
        value: str | None = await self._call("get", key)
        return value

    async def set(self, key: str, value: str) -> None:
        """Do what the store does, or fail."""
        await self._call("set", key, value)

    async def delete(self, key: str) -> None:
        """Do what the store does, or fail."""
        await self._call("delete", key)

    async def health_check(self) -> Mapping[str, Any]:
        """Do what the store does, or, if it was scripted to fail, say so."""
        try:
            health: Mapping[str, Any] = await self._call("health_check")
        except (DeadlineExceeded, Throttled, Unavailable) as error:
            return {"status": "DOWN", "details": {"error": error.code}}
        return health

    @property
    def clock(self) -> Callable[[], float]:
        """The wrapped store's, if it has one."""
        clock: Callable[[], float] = self.inner.clock
        return clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self.inner.clock = clock

    def __getattr__(self, name: str) -> Any:
        # A store's methods say what it can do, so this one must have those of the wrapped store, and no others.
        if name == "inner":  # not there yet, in a copy say
            raise AttributeError(name)
        attribute = getattr(self.inner, name)
        if name not in self._methods:
            return attribute

        async def call(*args: Any) -> Any:
            return await self._call(name, *args)

        return call

    async def _call(self, method: str, *args: Any) -> Any:
        self.calls[method] += 1
        fault = self._next_fault(method)
        await self._wait(method, fault.seconds)
        answer = await self._function(method)(*args) if fault.applied else None
        if fault.error is not None:
            raise fault.error()
        return answer

    def _next_fault(self, method: str) -> Fault:
        if self._scripts[method]:
            return self._scripts[method].popleft()
        if method in _UNASKED:
            return _NONE
        drawn = self._random.random()
        if drawn < self._error_rate:
            return Fault.unavailable()
        return Fault.lost_reply() if drawn < self._error_rate + self._lost_reply_rate else _NONE

    async def _wait(self, method: str, seconds: float) -> None:
        if method not in _UNASKED:
            seconds += self._random.uniform(*self._latency)
        if seconds:
            await asyncio.sleep(seconds)

    def _function(self, method: str) -> Callable[..., Awaitable[Any]]:
        return asynchronous(getattr(self.inner, method), self._threads)


_NONE: Final = Fault(applied=True)
