"""A worker: one of the processes in which an app with HTTP_WORKERS=n is served."""

import asyncio
import contextlib
import functools
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import uvicorn

from .._container import Container
from .._metrics.families import Family, to_line
from .server import Server, longest_after_grace, run
from .supervisor import ALIVE, READY, SUPERVISED_SIGNALS, Supervisor

_BEATS = 4
"""Times within WORKER_TIMEOUT that a worker says that it is alive."""

_REST = 1e-6
"""Seconds; the system makes some fifty microseconds of it."""


def serve_with_workers(config: uvicorn.Config, container: Container, listener: socket.socket) -> int:
    """Serve on the listener with HTTP_WORKERS processes, and return the exit status.

    Each connects the stores, runs the hooks and accepts connections for itself; the listener is shared, so that
    the others take the connections while one is down.
    """
    config.load()  # once for all of them: the modules, and the certificate with its keys for TLS sessions
    config.http_protocol_class = _with_a_rest(config.http_protocol_class)  # type: ignore[assignment] # it is called
    container.logging.share_output()
    settings = container.settings
    rest_of_stop = longest_after_grace(container)

    def work(channel: socket.socket) -> int:
        server = _WorkerServer(config, container, channel, settings.shutdown_grace_period + rest_of_stop)
        return run(server, listener) or int(container.has_busy_threads)

    supervisor = Supervisor(
        work,
        count=settings.http_workers,
        listener=listener,
        grace_period=settings.shutdown_grace_period,
        rest_of_stop=rest_of_stop,
        logger=container.logger,
        toggle_debug=functools.partial(container.logging.toggle_debug, source="SIGUSR1"),
        worker_timeout=settings.worker_timeout,
        metrics_listener=container.metrics_port.hand_over(),
    )
    return supervisor.run()


def _with_a_rest(protocol: Callable[..., asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
    """Rest a moment with each new connection, so that another worker comes to take the next.

    Of the connections that a client's pool opens at once the first worker to wake would take nearly all, and keep
    them, while the others idle.
    """

    def make(**options: Any) -> asyncio.Protocol:
        time.sleep(_REST)
        return protocol(**options)

    return make


class _WorkerServer(Server):
    """Serve as a part of a whole, of which the supervisor is in charge.

    That it shuts down, and that it is done, is the supervisor's to log.
    """

    def __init__(
        self, config: uvicorn.Config, container: Container, channel: socket.socket, stop_within: float
    ) -> None:
        super().__init__(config, container)
        self._channel = channel
        self._supervisor = _SupervisorLine(container.measurements.families, self._on_orphaned)
        self._stop_within = stop_within
        self._beat = (container.settings.worker_timeout or math.inf) / _BEATS

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order at SIGTERM or SIGINT, however many come.

        Ctrl-C and service managers signal the whole group, and the supervisor once more. Which signal is the
        second is its to tell.
        """
        self.stop_by_signal(self._on_signal)
        self.toggle_debug_by_signal()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SUPERVISED_SIGNALS)
        yield  # the handlers stay: the process ends with the server

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        if not self.should_exit:
            self.ask_to_stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, accept connections, and say so."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._supervisor, sock=self._channel)
        await super().startup(sockets)
        self._supervisor.say(READY)
        if self._beat < math.inf:
            self._say_alive()

    def _say_alive(self) -> None:
        """Tell the supervisor now and then that the event loop goes round."""
        self._supervisor.say(ALIVE)
        self._loop.call_later(self._beat, self._say_alive)

    def _on_orphaned(self) -> None:
        """Stop, for the supervisor is dead."""
        self._logger.error("supervisor.died")
        signal.alarm(math.ceil(self._stop_within))  # nobody else is left to kill what does not stop
        self.ask_to_stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop without the lines that the supervisor logs."""
        await self.stop(sockets or [])
        self._supervisor.close()


class _SupervisorLine(asyncio.Protocol):
    """Answer the supervisor, who asks for one thing only, the metrics; and notice its end."""

    def __init__(self, families: Callable[[], list[Family]], on_end: Callable[[], None]) -> None:
        self._families = families
        self._on_end = on_end
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is, it asks for the metrics
        """Answer, unless an answer is on its way that came too late for the question before."""
        if self._answer is None or self._answer.done():
            self._answer = asyncio.create_task(self._send_metrics())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - every end is the same
        """Notice the supervisor's end."""
        if self._transport is not None:
            self._transport = None
            self._on_end()

    def say(self, line: bytes) -> None:
        """Tell the supervisor something, if it is still there."""
        if self._transport is not None:
            self._transport.write(line)

    def close(self) -> None:
        """Say no more, and take the supervisor's end for nothing special."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    async def _send_metrics(self) -> None:
        self.say(await asyncio.to_thread(lambda: to_line(self._families())))
