"""The port of the metrics: a server of its own in the app's event loop, at METRICS_HOST:METRICS_PORT/metrics."""

import socket
from typing import TYPE_CHECKING

from .._serving.ports import bind

if TYPE_CHECKING:
    import uvicorn

    from .._container import Container

_MOST_CONNECTIONS = 16
_STOP_TIMEOUT = 1
"""Seconds that a scrape may still take when the app has stopped."""


class MetricsPort:
    """Hold the port from its taking to the end of the app.

    Where nobody has taken it before the app starts, as `app.run()` does, the start takes it, and only warns
    where it cannot.
    """

    def __init__(self, container: "Container") -> None:
        self._container = container
        self._settings = container.settings
        self._listener: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._is_elsewhere = False

    @property
    def host(self) -> str:
        """Give METRICS_HOST, or HTTP_HOST in its place."""
        return self._settings.metrics_host or self._settings.http_host

    def hold(self, listener: socket.socket) -> None:
        """Take over the port, which is taken already."""
        self._listener = listener

    def hand_over(self) -> socket.socket | None:
        """Give the port to somebody else, who serves it instead; None where it is off."""
        listener, self._listener = self._listener, None
        self._is_elsewhere = True
        return listener

    async def start(self, *, opens_ports: bool = True) -> None:
        """Serve, if the port is on."""
        if self._is_elsewhere or not opens_ports:
            return
        if self._listener is None and self._settings.metrics_port:
            self._take_or_warn()
        if self._listener is not None:
            self._server = self._make_server()
            await self._server.startup([self._listener])

    async def stop(self) -> None:
        """Serve no more; a scrape that is being answered gets its answer."""
        if self._server is not None:
            await self._server.shutdown()
            self._server = None
        self._close()

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _take_or_warn(self) -> None:
        port = self._settings.metrics_port
        try:
            self._listener = bind(self.host, port)
            self._listener.listen()
        except OSError as error:
            self._close()
            self._container.logger.warning(
                "metrics port %d is blocked or unreachable",
                port,
                host=self.host,
                error=str(error),
                hint="METRICS_PORT=0 switches it off; app.metrics_app can be mounted instead",
            )

    def _make_server(self) -> "uvicorn.Server":
        import uvicorn  # noqa: PLC0415 - under another ASGI server, without this port, it is not needed
        from starlette.routing import Route, Router  # noqa: PLC0415 - imported where the port is on

        from .._serving.connection import connection_class  # noqa: PLC0415 - as above
        from .exposition import MetricsApp  # noqa: PLC0415 - as above

        config = uvicorn.Config(
            Router([Route("/metrics", MetricsApp(self._container.measurements.families))]),
            http=connection_class(self._container),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # the server's clock stands still, because its main loop does not run
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_TIMEOUT,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        return server
