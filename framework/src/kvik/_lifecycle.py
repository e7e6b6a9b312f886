"""Start and stop of an app: stores and hooks, in order, and back again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from ._container import Container
from ._exits import as_error
from ._mounted import OPENS_NO_PORT
from ._requests.forgotten_awaits import report_forgotten_awaits, stop_reporting
from ._signatures import name_of
from ._stop_signals import StopSignals
from ._threads import asynchronous
from .context import Context

Hook = Callable[[Context], Any]

STOP_HOOKS_TIMEOUT = 5.0
"""Seconds that all stop hooks together may take."""


class Lifecycle:
    """Start and stop what the app holds, as the server's lifespan messages say."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.start_hooks: list[Hook] = []
        self.stop_hooks: list[Hook] = []
        self._running = False
        self._stop_signals = StopSignals()

    def check_not_started(self, what: str) -> None:
        """Raise RuntimeError where something is added to an app that has started, which would not take it up."""
        if self._running:
            raise RuntimeError(f"{what} is added before the app starts, not by a hook, a handler or a test of it")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start when the server says so, and stop when it says so; RuntimeError if the app runs already."""
        if self._running:
            raise RuntimeError("the app runs already; it can be started again when it has stopped")
        self._running = True
        self._container.logging.install()
        try:
            await self._run_once(receive, send, opens_ports=OPENS_NO_PORT not in scope)
        finally:
            self._running = False
            stop_reporting(self._container.logger)
            self._container.logging.uninstall()

    async def _run_once(self, receive: Receive, send: Send, *, opens_ports: bool) -> None:
        await receive()
        if self._container.bad_settings:
            self._container.log_bad_settings()
            problems = [f"{bad.name}: {bad.problem}" for bad in self._container.bad_settings]
            await send({"type": "lifespan.startup.failed", "message": "" if opens_ports else "; ".join(problems)})
            return
        if not await self._is_started(opens_ports=opens_ports):
            await self._stop()
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _is_started(self, *, opens_ports: bool) -> bool:
        """Start, and tell whether it was possible; the log says why not."""
        task = self._container.start = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        try:
            await self._start()
            await self._container.metrics_port.start(opens_ports=opens_ports)
        except BaseException as raised:
            if isinstance(raised, asyncio.CancelledError) and self._container.start is None:
                task.uncancel()
                self._container.logger.warning("start.cancelled", problem="the stop was asked for meanwhile")
                return False
            error = as_error(raised)
            self._container.logger.error("start.failed", exc_info=error)
            return False
        finally:
            self._container.start = None
        return True

    async def _start(self) -> None:
        report_forgotten_awaits(self._container.logger)
        self._container.remote_level.start()
        self._container.health.forget()
        self._container.stopping = asyncio.Event()
        self._container.background.is_closed = False
        if not self._container.has_own_server:
            self._stop_signals.watch(self._container.stopping)
        self._container.tracing.start()
        await self._container.stores.connect()
        for hook in self.start_hooks:
            await self._run(hook)
        await self._container.mounted.start()
        self._container.loop_watch.start()

    async def _stop(self) -> None:
        self._container.stopping.set()
        self._stop_signals.unwatch()
        self._container.remote_level.stop()
        self._container.loop_watch.stop()
        settings = self._container.settings
        background = self._container.background
        await background.drain(0 if self._container.cutting_off else settings.shutdown_grace_period)
        await self._container.mounted.stop()
        ends_at = time.monotonic() + STOP_HOOKS_TIMEOUT
        try:
            async with asyncio.timeout(STOP_HOOKS_TIMEOUT):
                for hook in self.stop_hooks:
                    await self._run_safely(hook)
        except TimeoutError:
            self._container.logger.error("stop_hooks.timeout", seconds=STOP_HOOKS_TIMEOUT)
        await background.drain(ends_at - time.monotonic())  # what the stop hooks have started
        background.is_closed = True
        await self._container.stores.close()
        await self._container.tracing.stop()
        self._container.handler_threads.close()
        await self._container.metrics_port.stop()

    async def _run_safely(self, hook: Hook) -> None:
        try:
            await self._run(hook)
        except BaseException as raised:
            error = as_error(raised)
            self._container.logger.error("stop_hook.failed", hook=name_of(hook), exc_info=error)

    def _run(self, hook: Hook) -> Awaitable[Any]:
        return asynchronous(hook, self._container.handler_threads)(Context._without_request(self._container))
