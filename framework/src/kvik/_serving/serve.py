"""`app.run()`: take the ports, and serve in this process or in several."""

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from .._container import Container
from .._requests.http import RequestPath
from .ending import end_at_once
from .engine import connection_class_for, websocket_protocol
from .ports import bind
from .run_call import check_run_call
from .server import Server, run
from .tls import certificate_problems


def serve(app: Any, container: Container, path: Callable[[], RequestPath]) -> None:
    """Serve the app until SIGTERM or SIGINT; exit 1 where it cannot start, or where a request was cut off."""
    check_run_call(container)
    settings = container.settings
    container.bad_settings += certificate_problems(settings)
    if container.bad_settings:
        container.log_bad_settings()
        sys.exit(1)
    if settings.http_workers > 1:
        container.stores.warn_of_separate_data(settings.http_workers)
    listener = _take(container, "http", settings.http_host, settings.http_port)
    if settings.metrics_port:
        metrics = _take(container, "metrics", container.metrics_port.host, settings.metrics_port)
        container.metrics_port.hold(metrics)
        container.logger.info("Starting metrics server on port: %d", settings.metrics_port)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=connection_class_for(container, path),
        ws=websocket_protocol(container),  # type: ignore[arg-type] # it is called as the class would be
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        ssl_certfile=settings.cert_file,
        ssl_keyfile=settings.key_file,
        timeout_graceful_shutdown=None,
    )
    container.logger.info("Starting server on port: %d", listener.getsockname()[1])
    container.logging.install()  # the server has something to say before and after the app's own lifespan
    try:
        status = _serve(config, container, listener)
    finally:
        container.logging.uninstall()
    if status:
        sys.exit(status)


def _serve(config: uvicorn.Config, container: Container, listener: socket.socket) -> int:
    """Serve in as many processes as are wanted, and return the exit status."""
    if container.settings.http_workers > 1 and _can_fork(container):
        from .worker import serve_with_workers  # noqa: PLC0415 - Windows lacks what it imports

        return serve_with_workers(config, container, listener)
    status = run(Server(config, container), listener)
    if container.has_busy_threads:
        end_at_once(1)  # the interpreter would wait for them, for ever if need be
    return status


def _can_fork(container: Container) -> bool:
    if hasattr(os, "fork"):
        return True
    container.logger.warning(
        "workers.unavailable",
        http_workers=container.settings.http_workers,
        problem="this platform has no fork; one process serves",
    )
    return False


def _take(container: Container, what: str, host: str, port: int) -> socket.socket:
    """Take a port before anything else starts, or exit; it listens when the app is ready."""
    try:
        return bind(host, port)
    except OSError as error:
        container.logger.error("%s port %d is blocked or unreachable", what, port, host=host, error=str(error))
        sys.exit(1)
