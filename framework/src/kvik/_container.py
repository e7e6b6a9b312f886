"""What an app has made once and every request uses: configuration, logger, stores, threads."""

import asyncio
from typing import TYPE_CHECKING, Any

from ._background import BackgroundWork
from ._logs.access_log import AccessLog
from ._logs.logging import Logging
from ._logs.operation_lines import OperationLines
from ._logs.remote_level import RemoteLevel
from ._metrics.measurements import Measurements
from ._metrics.metrics_port import MetricsPort
from ._mounted import MountedApps
from ._observers import Observers
from ._requests.failures import Failure, failure_of
from ._requests.interruption import ClientWatch
from ._requests.loop_watch import LoopWatch
from ._stores import Stores
from ._threads import WorkerThreads
from ._traces.tracing import Tracing
from .config import Config, read_settings
from .health import HealthChecks
from .kv_errors import KVError
from .metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

    from ._requests.headers import FirstValues, RawHeaders

_SERVER_ERROR = 500


class Container:
    """Build and hold the parts of one app."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings, self.bad_settings = read_settings(config)
        self.logging = Logging(self.settings.log_level)
        self.logger = self.logging.logger
        self.remote_level = RemoteLevel(
            self.logging,
            self.settings.remote_log_url,
            self.settings.remote_log_fetch_interval,
            self.settings.app_name,
        )
        self.observers = Observers()
        self.metrics = Metrics(self.logger)
        self.measurements = Measurements(self.settings, self.metrics)
        self.metrics_port = MetricsPort(self)
        self.observers.add(self.measurements)
        beneath_request = self.logging.on_terminal
        self.observers.add(
            OperationLines(self.logger, self.logging.sink.level, beneath_request=beneath_request),
            of_requests=beneath_request,
        )
        self.access_log = AccessLog(self.logging, log_probes=not self.settings.log_disable_probes)
        self.client_watch = ClientWatch()
        self.cors_of_refusal: Callable[[FirstValues, Scope | None], RawHeaders] = (
            lambda *_: []
        )  # until there are routes
        self.mounted = MountedApps(self.logger)
        self.stores = Stores(self.logger, self.observers)
        self.stores.offer("use_metrics", self.metrics)
        self.tracing = Tracing(self.settings, self.logger, self.observers, self.stores)
        self.loop_watch = LoopWatch(self.logger, self.settings.loop_blocked_after)
        self.health = HealthChecks(self.logger)
        self.handler_threads = WorkerThreads(self.settings.handler_threads, "kvik-handler")
        self.background = BackgroundWork(self.logger, self.handler_threads)
        self.has_run = False  # by app.run()
        self.stopping = asyncio.Event()  # set when the app is to stop: streams of events end
        self.start: asyncio.Task[Any] | None = None  # while the app starts
        self.handshakes: set[asyncio.Timeout] = set()  # of the WebSockets that are not accepted yet
        self.has_own_server = False  # `app.run()` serves: no other server, nor what wraps the app, takes part
        self.cutting_off = False  # the grace period is over: requests are being cancelled
        self.bad_settings += self.tracing.bad_settings

    def log_bad_settings(self) -> None:
        """Write a line for each variable that keeps the app from starting."""
        for bad in self.bad_settings:
            self.logger.error("config.invalid", variable=bad.name, value=bad.value, problem=bad.problem)

    def cancel_start(self) -> None:
        """End a start that is not done."""
        task, self.start = self.start, None
        if task is not None:
            task.cancel()

    @property
    def has_busy_threads(self) -> bool:
        """Tell whether a handler or a store is at work in a thread, which nothing can interrupt."""
        return self.handler_threads.is_busy or any(store._has_busy_threads for store in self.stores.values())

    def log_failure(self, error: Exception) -> Failure:
        """Write a failed request's line, with a stack where it was not foreseen; return what the error means."""
        failure = failure_of(error)
        fields: dict[str, Any] = {"status": failure.status, "error": _text_of(error)}
        if isinstance(error, KVError):
            fields |= {"store": error.store, "operation": error.operation, "code": error.code}
        if failure.with_stack:
            fields["exc_info"] = error
        event = "request.failed" if failure.status >= _SERVER_ERROR else "request.rejected"
        getattr(self.logging.logger_by_turns, failure.log_level)(event, **fields)
        return failure


def _text_of(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception's text may be anybody's code
        return type(error).__name__
