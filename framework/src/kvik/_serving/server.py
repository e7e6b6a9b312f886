"""A uvicorn server with Kvik's signals and its orderly end."""

import asyncio
import contextlib
import functools
import gc
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from .._container import Container
from .._lifecycle import STOP_HOOKS_TIMEOUT
from .._logs.output import catch_up
from .._stores import CLOSE_TIMEOUT
from .._traces.tracing import FLUSH_TIMEOUT
from .ending import HANGUP_SIGNALS, Overdue, end_at_once, stop_signals

_DEBUG_SIGNALS = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()  # Windows has none

AFTER_CANCEL = 1.0
"""Seconds that cancelled requests get to end."""

_PATIENCE_WITH_CLIENTS = 0.75
"""The part of the grace period after which a client is given up that has not sent all of its request, or not read
all of its answer: an endless stream would use up the rest as well."""

_MARGIN = 2.0
"""Seconds for what lies between the timed steps of a stop."""

_POLL = 0.05


def longest_after_grace(container: Container) -> float:
    """Return the seconds that a stop may take after the grace period, each of its steps timed where it is made."""
    return AFTER_CANCEL + STOP_HOOKS_TIMEOUT + CLOSE_TIMEOUT * len(container.stores) + FLUSH_TIMEOUT + _MARGIN


def _ignore(_: int, __: FrameType | None) -> None:
    """Do nothing at a signal: unlike SIG_IGN, that is not passed on to programs that this one starts."""


class Server(uvicorn.Server):
    """Take uvicorn's signal handling, which ends in exit -15, and its end, which waits without limit, over."""

    def __init__(self, config: uvicorn.Config, container: Container) -> None:
        super().__init__(config)
        self._container = container
        container.has_own_server = True
        self._logger = container.logger
        self._grace_period = container.settings.shutdown_grace_period
        self.overdue = Overdue(self._logger)
        self.cut = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order at the first SIGTERM or SIGINT, and at once at the second."""
        before = self.stop_by_signal(self._on_signal) | self.toggle_debug_by_signal()
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        if self.should_exit:
            end_at_once(1)
        self.ask_to_stop()

    def stop_by_signal(self, on_signal: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
        """Have the signals that ask for the stop handled, and a hang-up do nothing; return the handlers before."""
        self._loop = asyncio.get_running_loop()
        before = {sig: signal.signal(sig, _ignore) for sig in HANGUP_SIGNALS}
        return {sig: signal.signal(sig, on_signal) for sig in stop_signals()} | before

    def ask_to_stop(self) -> None:
        """Begin to stop, in time: a start that is not done is cancelled."""
        self.should_exit = True
        rest = longest_after_grace(self._container) if self.started else 0
        self.overdue.end_in(self._grace_period + rest, self._loop)
        with contextlib.suppress(RuntimeError):  # the loop is closed, the process about to end
            self._loop.call_soon_threadsafe(self._container.cancel_start)

    def toggle_debug_by_signal(self) -> dict[signal.Signals, Any]:
        """Log everything from one SIGUSR1 to the next; return the handlers before.

        The loop does it: the signal may come amid a write to the log, where no other can begin.
        """
        loop = asyncio.get_running_loop()
        toggle = functools.partial(self._container.logging.toggle_debug, source="SIGUSR1")

        def on_signal(_: int, __: FrameType | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, the process about to end
                loop.call_soon_threadsafe(toggle)

        return {sig: signal.signal(sig, on_signal) for sig in _DEBUG_SIGNALS}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app and accept connections.

        What is alive then stays alive: left out of garbage collection, it does not make every full collection a
        pause of many milliseconds for whoever is being served.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def on_tick(self, counter: int) -> bool:
        """Do what uvicorn does ten times a second, and write log lines for which there was no room."""
        catch_up()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and say so."""
        self._logger.info("Shutting down server with a timeout of %gs", self._grace_period)
        await self.stop(sockets or [])
        self._logger.info("Application shutdown complete")

    async def stop(self, listeners: list[socket.socket]) -> None:
        """Accept nothing more, let requests end within the grace period, then stop the app."""
        self._container.stopping.set()
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        self._for_each_connection(lambda connection: connection.shutdown())
        try:
            await self._drain()
        finally:
            await self.lifespan.shutdown()
        self.overdue.end_in(
            AFTER_CANCEL, self._loop
        )  # a task that takes no cancellation would keep the process for ever

    async def _drain(self) -> None:
        """Let requests end: clients have the first part of the grace period to do theirs, handlers all of it."""
        patience = _PATIENCE_WITH_CLIENTS * self._grace_period
        if await self._idle_within(patience):
            return
        self._for_each_connection(lambda connection: connection.give_up())
        if not await self._idle_within(self._grace_period - patience):
            await self._cut_off()

    async def _idle_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.server_state.connections or self.server_state.tasks or self._container.background.is_busy:
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_POLL)
        return True

    async def _cut_off(self) -> None:
        self._container.cutting_off = self.cut = True
        tasks = list(self.server_state.tasks)
        self._logger.error("shutdown.cut", requests=len(tasks), grace_period=self._grace_period)
        for task in tasks:
            task.cancel()
        await self._idle_within(AFTER_CANCEL)
        self._for_each_connection(lambda connection: connection.transport.abort())

    def _for_each_connection(self, do: Callable[[Any], object]) -> None:
        """Do something to each connection; one for which it fails is cut, and keeps nothing from the others."""
        for connection in list(self.server_state.connections):
            try:
                do(connection)
            except Exception as error:
                self._logger.error("shutdown.connection_failed", exc_info=error)
                connection.transport.abort()


def run(server: Server, listener: socket.socket) -> int:
    """Serve until a signal; return the exit status, 1 where the start failed or something was cut off."""
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn's way to say that the start failed; what failed has been logged
        return int(not server.should_exit)  # it was asked to stop meanwhile, and did
    finally:
        server.overdue.cancel()
        gc.unfreeze()
        listener.close()
    return int(server.cut)
