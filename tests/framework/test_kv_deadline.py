"""The deadline: of a block, of a request, as the driver and the facade keep it."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import kvik
from kvik import KV, App, Context, MemoryStore
from kvik.testing import TestClient


class Asking(MemoryStore):
    """A store that asks how long it has, as a driver does; it hangs if it is told to."""

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__()
        self.hangs = hangs
        self.left: list[float | None] = []
        self.remaining: Callable[[], float | None] = lambda: None

    def use_deadline(self, remaining: Callable[[], float | None]) -> None:
        self.remaining = remaining

    async def get(self, key: str) -> str | None:
        await self._ask()
        return await super().get(key)

    async def set(self, key: str, value: str) -> None:
        await self._ask()

    async def _ask(self) -> None:
        self.left.append(self.remaining())
        if self.hangs:
            await asyncio.Event().wait()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_a_deadline_is_a_number_of_seconds(seconds: Any) -> None:
    """Anything else is a ValueError."""
    with (
        pytest.raises(ValueError, match="a deadline is a finite number of seconds above 0"),
        KV(MemoryStore()).deadline(seconds),
    ):
        pass


async def test_a_driver_that_hangs_is_cancelled_after_the_deadline() -> None:
    """DeadlineExceeded: unknown for a write, not_applied for a read."""
    kv = KV(Asking(hangs=True))
    with kv.deadline(0.01), pytest.raises(kvik.DeadlineExceeded) as caught:
        await kv.set("k", "v")
    assert caught.value.outcome == "unknown"
    with kv.deadline(0.01), pytest.raises(kvik.DeadlineExceeded) as caught:
        await kv.get("k")
    assert (caught.value.outcome, caught.value.status_code) == ("not_applied", 504)


async def test_after_the_deadline_no_driver_is_called() -> None:
    """What comes too late was surely not applied."""
    store = Asking()
    kv = KV(store)
    with kv.deadline(0.001):
        await asyncio.sleep(0.01)
        with pytest.raises(kvik.DeadlineExceeded, match="before the store was called") as caught:
            await kv.set("k", "v")
    assert (caught.value.outcome, store.left) == ("not_applied", [])
    await kv.set("k", "v")


def test_the_app_tells_its_drivers_the_deadline() -> None:
    """`use_deadline` is called at the start; the nearest deadline counts, for any store, in threads too."""
    store, other = Asking(), Asking()
    app = App()
    app.add_kv_store(store)
    app.add_kv_store(other, name="other")

    @app.get("/")
    async def nested(ctx: Context) -> None:
        await ctx.kv_store.get("k", None)
        with ctx.kv_store.deadline(100):
            with ctx.kv_store.deadline(1000):
                await ctx.kv_stores["other"].get("k", None)
            with ctx.kv_store.deadline(50):
                await asyncio.create_task(ctx.kv_store.exists("k"))

    @app.get("/thread")
    def thread(ctx: Context) -> None:
        assert threading.current_thread() is not threading.main_thread()
        with ctx.kv_store.deadline(100):
            ctx.wait(ctx.kv_store.exists("k"))

    with TestClient(app) as client:
        assert client.get("/").status_code == 200
        assert client.get("/thread").status_code == 200
    (unlimited, fifty, in_thread), (hundred,) = store.left, other.left
    assert unlimited is None
    assert hundred is not None
    assert 50 < hundred <= 100
    assert fifty is not None
    assert 0 < fifty <= 50
    assert in_thread is not None
    assert 50 < in_thread <= 100


def test_a_requests_timeout_is_its_stores_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """REQUEST_TIMEOUT bounds the operations of the handler, not the work that goes on in the background."""
    monkeypatch.setenv("REQUEST_TIMEOUT", "60")
    store = Asking()
    app = App()
    app.add_kv_store(store)

    @app.get("/")
    async def handler(ctx: Context) -> None:
        await ctx.kv_store.exists("k")
        ctx.background(ctx.kv_store.exists, "k")

    with TestClient(app) as client:
        assert client.get("/").status_code == 200
    in_handler, in_background = store.left
    assert in_handler is not None
    assert 0 < in_handler <= 60
    assert in_background is None


async def test_retries_of_an_update_end_with_the_deadline() -> None:
    """A key that is always somebody else's ends as DeadlineExceeded or Conflict, not after all attempts."""

    class Contended(MemoryStore):
        async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
            raise kvik.Conflict("somebody was faster")

    kv = KV(Contended())
    with kv.deadline(0.05), pytest.raises(kvik.DeadlineExceeded):
        await kv.update("k", lambda _: "v", attempts=10**6)


async def test_somebody_elses_cancellation_stays_one() -> None:
    """A timeout of the handler's own ends an operation as its own TimeoutError."""
    kv = KV(Asking(hangs=True))
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.01):
            await kv.get("k")
    assert not isinstance(caught.value, kvik.KVError)
    operation = asyncio.create_task(kv.get("k"))
    await asyncio.sleep(0.01)
    operation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await operation


async def test_a_driver_that_will_not_be_cancelled_keeps_its_answer() -> None:
    """What a driver has done in spite of the deadline is told, and the task is not left cancelled."""

    class Stubborn(MemoryStore):
        async def get(self, key: str) -> str | None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "done all the same"
            return None

    kv = KV(Stubborn())
    with kv.deadline(0.01):
        assert await kv.get("k") == "done all the same"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_driver_that_fails_when_it_is_cancelled_ran_out_of_time() -> None:
    """Whatever a driver raises when it is cut off is DeadlineExceeded; its own error is the cause."""

    class Complaining(MemoryStore):
        async def get(self, key: str) -> str | None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ConnectionError("interrupted") from None
            return None

    kv = KV(Complaining())
    with kv.deadline(0.01), pytest.raises(kvik.DeadlineExceeded) as caught:
        await kv.get("k")
    assert isinstance(caught.value.__cause__, ConnectionError)


async def test_a_driver_waits_as_any_coroutine_does() -> None:
    """What it waits for gives it results and exceptions, several times over, before it answers."""
    loop = asyncio.get_running_loop()

    class Waiting(MemoryStore):
        async def get(self, key: str) -> str | None:
            seen = []
            for outcome in ("one", ConnectionError("two"), "three", ConnectionError("four")):
                future: asyncio.Future[str] = loop.create_future()
                if isinstance(outcome, str):
                    loop.call_soon(future.set_result, outcome)
                else:
                    loop.call_soon(future.set_exception, outcome)
                try:
                    seen.append(await future)
                except ConnectionError as error:
                    seen.append(f"no {error}")
            return ", ".join(seen)

    assert await KV(Waiting()).get("k") == "one, no two, three, no four"


async def test_a_driver_that_never_waits_is_not_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that is answered at once costs no timer; one that waits has one as long as it does."""
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_later = loop.call_later

    def count(delay: float, *args: Any) -> asyncio.TimerHandle:
        timers.append(delay)
        return call_later(delay, *args)

    class Sleeping(MemoryStore):
        async def get(self, key: str) -> str | None:
            await asyncio.sleep(0)
            return await super().get(key)

    monkeypatch.setattr(loop, "call_later", count)
    await KV(MemoryStore()).set("k", "v")
    assert timers == []
    await KV(Sleeping()).get("k", None)
    assert len(timers) == 1


def test_a_store_outlives_the_loop_that_it_began_on() -> None:
    """Limits hold on every loop on which a store is used, one after the other."""
    kv = KV(Asking(hangs=True))

    async def hang() -> None:
        with kv.deadline(0.01), pytest.raises(kvik.DeadlineExceeded):
            await kv.get("k")

    for _ in range(2):
        asyncio.run(hang())
