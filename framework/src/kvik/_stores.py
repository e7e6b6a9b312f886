"""The stores of an app: added by name, connected in order, reconnected in the background, closed in reverse."""

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._exits import as_error
from ._kv.deadline import remaining
from ._observers import Observers
from .health import Health
from .kv import KV
from .kv_errors import KVError
from .memory import MemoryStore

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

DEFAULT = "default"
CLOSE_TIMEOUT = 5.0
"""Seconds that one store may take to close."""

_FIRST_RETRY = 0.5
_LONGEST_RETRY = 10.0


class NamedStores(Mapping[str, KV]):
    """The stores as handlers see them: a mapping and nothing else."""

    def __init__(self, stores: "Stores") -> None:
        self._stores = stores

    def __getitem__(self, name: str) -> KV:
        return self._stores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)


class Stores(Mapping[str, KV]):
    """Hold the stores by name."""

    def __init__(self, logger: "FilteringBoundLogger", observers: Observers) -> None:
        self._logger = logger
        self._observers = observers
        self._stores: dict[str, KV] = {}
        self._reconnecting: dict[str, asyncio.Task[None]] = {}
        self._offers: list[tuple[str, Any]] = []
        self.offer("use_logger", logger)
        self.by_name = NamedStores(self)

    def add(self, store: object, name: str) -> None:
        """Add a store; TypeError if it is none, ValueError if the name is taken."""
        if name in self._stores:
            raise ValueError(
                f"there is a key-value store named {name!r} already; give this one a name of its own: "
                "app.add_kv_store(store, name=…)"
            )
        self._stores[name] = KV(store, name=name, observers=self._observers)

    def offer(self, method: str, given: Any) -> None:
        """Have this given, before it connects, to each driver that has the method, in order of the calls.

        These are GoFr's hooks, `use_logger`, `use_metrics` and `use_tracer`, for drivers that report events of
        their own; `use_deadline` comes after them.
        """
        self._offers.append((method, given))

    @contextlib.contextmanager
    def replaced(self, given: Mapping[str, object]) -> Iterator[None]:
        """Put another driver in every store's place, the given one or an empty MemoryStore, and put it back.

        LookupError if there is no store of a given name. The app must not be running at either end.
        """
        unknown = [name for name in given if name not in self._stores]
        if unknown:
            raise LookupError(
                f"there is no key-value store named {', '.join(map(repr, unknown))} to be replaced; the app has "
                f"{', '.join(map(repr, self._stores)) or 'none'}"
            )
        own = self._stores
        self._stores = {
            name: KV(given.get(name, MemoryStore()), name=name, observers=self._observers) for name in own
        }
        try:
            yield
        finally:
            self._stores = own

    def __getitem__(self, name: str) -> KV:
        try:
            return self._stores[name]
        except KeyError:
            raise LookupError(
                f"there is no key-value store named {name!r}; add one with app.add_kv_store(store, name={name!r})"
                if name != DEFAULT
                else "there is no key-value store; add one with app.add_kv_store(store), where store is a "
                "driver such as kvik.MemoryStore() or kvik_sqlite.SQLite('app.db')"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)

    async def health_check(self, name: str) -> Health:
        """Ask the store that has the name at this moment: a test may have put another in its place."""
        return await self[name].health_check()

    async def connect(self) -> None:
        """Connect each store; one that cannot be reached is logged once and tried again until it can."""
        for name, store in self._stores.items():
            self._equip(store)
            try:
                await self._connect(store)
            except (KVError, asyncio.CancelledError) as raised:
                error = as_error(raised)
                self._logger.error(
                    "store.unavailable",
                    store=name,
                    driver=store.driver_name,
                    code=getattr(error, "code", KVError.code),
                    error=str(error),
                )
                self._reconnecting[name] = asyncio.create_task(self._reconnect(store))

    def warn_of_separate_data(self, workers: int) -> None:
        """Write one warning where stores keep data of their own in each of several workers."""
        separate = [name for name, store in self._stores.items() if store._is_per_process]
        if separate:
            self._logger.warning(
                "workers.separate_data",
                stores=separate,
                drivers=sorted({self._stores[name].driver_name for name in separate}),
                http_workers=workers,
                problem="each worker has its own data: what one of them stored, the others do not find",
                hint="set HTTP_WORKERS=1, or use a store that processes share, such as SQLite or DynamoDB",
            )

    async def close(self) -> None:
        """Close the stores in reverse order, each within 5 s; a failure is logged and the rest closed."""
        for task in self._reconnecting.values():
            task.cancel()
        await asyncio.gather(*self._reconnecting.values(), return_exceptions=True)
        self._reconnecting.clear()
        for name, store in reversed(self._stores.items()):
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await store.close()
            except BaseException as raised:  # noqa: BLE001 - the other stores are to be closed
                error = as_error(raised)
                self._logger.error("store.close_failed", store=name, error=str(error) or "timeout")

    def _equip(self, store: KV) -> None:
        for method, given in (*self._offers, ("use_deadline", remaining)):
            try:
                store._offer(method, given)
            except BaseException as raised:
                error = as_error(raised)
                self._logger.error("store.hook_failed", store=store.name, hook=method, exc_info=error)

    async def _connect(self, store: KV) -> None:
        if await store.connect():
            self._logger.info("store.connected", store=store.name, driver=store.driver_name)

    async def _reconnect(self, store: KV) -> None:
        delay = _FIRST_RETRY
        while True:
            await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311 - jitter, no secret
            delay = min(2 * delay, _LONGEST_RETRY)
            try:
                await self._connect(store)
            except (KVError, asyncio.CancelledError) as raised:
                as_error(raised)  # raises a cancellation that was asked for
            else:
                return
