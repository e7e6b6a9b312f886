"""What the tests of the kit are given, and how they say what went wrong."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import pytest

from ..._kv.answers import Versioned
from ..._kv.driver import Driver
from ..._kv.store import OPTIONAL, capabilities_of
from ...kv import KV
from ...kv_errors import KVError
from .clock import StoreClock

E = TypeVar("E", bound=KVError)
Test = Callable[..., Coroutine[Any, Any, None]]


class StoreFixtures:
    """Connect the store of a driver's author, and close it."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run on asyncio, also where the project's other tests run on something else."""
        return "asyncio"

    @pytest.fixture
    def store(self) -> Any:
        """Give a new driver over empty storage, not connected; the one thing that a subclass has to say."""
        pytest.fail("a subclass of KVStoreConformance needs a fixture `store` that returns a new driver")

    @pytest.fixture
    async def driver(self, store: Any) -> AsyncIterator[Driver]:
        """Give the connected driver as the framework sees it: coroutine methods that raise a KVError."""
        driver = Driver(store)
        await driver.connect()
        yield driver
        await driver.close()

    @pytest.fixture
    async def kv(self, driver: Driver) -> AsyncIterator[KV]:
        """Give the facade of the same store, as a handler gets it."""
        kv: KV = KV(driver.store)
        yield kv
        await kv.close()

    @pytest.fixture
    def clock(self, store: Any) -> StoreClock:
        """Give the time by which the store's keys expire."""
        return StoreClock(store)


def needs(*capabilities: str) -> Callable[[Test], Test]:
    """Skip a test, and say why, where the driver does not declare the capabilities.

    That they are really absent then is what `test_a_capability_is_declared_by_all_of_its_methods_or_none` asserts.
    """

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        async def checked(self: Any, **given: Any) -> None:
            __tracebackhide__ = True
            skip_without(_store_among(given), *capabilities)
            await test(self, **given)

        return checked

    return decorate


def _store_among(given: dict[str, Any]) -> Any:
    """Find the store among the fixtures of a test; it takes `driver` or `store`."""
    return given["driver"].store if "driver" in given else given["store"]


def skip_without(store: Any, *capabilities: str) -> None:
    """Skip the running test where the driver lacks one of these."""
    __tracebackhide__ = True
    declared = capabilities_of(store)
    for capability in capabilities:
        if capability not in declared:
            methods = ", ".join(OPTIONAL[capability])
            pytest.skip(f"{type(store).__name__} does not declare the capability {capability!r}: {methods}")


async def refused(kind: type[E], operation: Awaitable[Any], rule: str) -> E:
    """Expect an operation to raise this error, and give it; else fail with the rule that was broken."""
    __tracebackhide__ = True
    try:
        answer = await operation
    except kind as error:
        return error
    except KVError as error:
        pytest.fail(f"{rule}: wanted {kind.__name__}, got {type(error).__name__}: {error}")
    pytest.fail(f"{rule}: wanted {kind.__name__}, but it gave {answer!r}")


async def versioned(driver: Driver, key: str) -> Versioned:
    """Give value, version and expiry of a key that must be there."""
    __tracebackhide__ = True
    found = await driver.get_versioned(key)
    if found is None:
        pytest.fail(f"get_versioned finds a key that was written: {key!r}")
    return found


async def fill(driver: Driver, keys: Iterable[str]) -> None:
    """Write keys, all at once, for it is not about how long that takes."""
    await asyncio.gather(*(driver.set(key, "value") for key in keys))
