"""The application: routes, stores, hooks, and the way to run it."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ._requests.routes import Routes, RouteTables
from ._requests.routing import Router
from ._signatures import check_takes_context
from ._stores import DEFAULT
from .config import Config
from .health import Check
from .metrics import Metrics

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ._lifecycle import Hook
    from .testing import TestClient

HookFunction = TypeVar("HookFunction", bound="Hook")


class App(Routes):
    """Be an application: an ASGI callable for any server, and with `run()` a server of its own.

    Reads its configuration when it is made: process environment, then `configs/.env` and its overlay below the
    working directory; `config_folder` names another folder. Raises ConfigError if a file is malformed.
    """

    def __init__(self, *, config_folder: str | Path = "configs") -> None:
        # A quarter of all that a program with an app imports; where only names of kvik are used it is not needed.
        from ._container import Container  # noqa: PLC0415 - see above, and so the next two
        from ._lifecycle import Lifecycle  # noqa: PLC0415
        from ._requests.entrance import Entrance  # noqa: PLC0415

        self._container = Container(Config(config_folder))
        self._lifecycle = Lifecycle(self._container)
        http, websockets = Router(), Router()
        check = self._lifecycle.check_not_started
        super().__init__(RouteTables(http, websockets, self._container.mounted, check))
        wrapped = type(self).__call__ is not App.__call__
        self._entrance = Entrance(self._container, http, websockets, wrapped=wrapped)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            if "uvicorn" in sys.modules:  # it may be the server; no other one needs it
                from ._serving.engine import use_under_uvicorn  # noqa: PLC0415 - see above

                use_under_uvicorn(self, receive, self._container, self._entrance.path)
            await self._lifecycle(scope, receive, send)
            return
        await self._entrance.path()(scope, receive, send)

    def run(self) -> None:
        """Serve on HTTP_HOST:HTTP_PORT, default 0.0.0.0:8000, until SIGTERM or SIGINT.

        Returns when every request was answered within SHUTDOWN_GRACE_PERIOD, default 30 s. Exits with status 1
        where one was cut off, where a start hook raised, or where the port is taken. With HTTP_WORKERS above 1 it
        forks that many processes: start no threads and connect no stores before, the app does it in each of them.
        """
        from ._serving.serve import serve  # noqa: PLC0415 - under another ASGI server uvicorn is not needed

        serve(self, self._container, self._entrance.path)

    def add_middleware(self, cls: Callable[..., ASGIApp], *args: Any, **options: Any) -> None:
        """Put an ASGI middleware class around all routes, as Starlette does: the last one added is outermost.

        It is called as `cls(app, *args, **options)`. Raises RuntimeError once the app serves.
        """
        self._tables.check_not_started("middleware")
        if not callable(cls):
            raise TypeError(f"middleware is a class that is called with an app, not {type(cls).__name__}")
        self._entrance.add(Middleware(cls, *args, **options))

    # Stores and hooks

    def add_kv_store(self, store: object, name: str = DEFAULT) -> None:
        """Inject a key-value store: `ctx.kv_store` for the default name, `ctx.kv_stores[name]` for any.

        `store` is any object with get, set, delete and health_check; TypeError names what it lacks. ValueError
        if the name is taken. The app connects it at its start and closes it at its stop.
        """
        self._tables.check_not_started("a store")
        stores = self._container.stores
        stores.add(store, name)
        check = functools.partial(stores.health_check, name)
        self._container.health.add("kv-store" if name == DEFAULT else f"kv-store:{name}", check)

    def add_health_check(self, name: str, check: Check) -> None:
        """Report a check of your own under this name; while it is DOWN the app is not ready.

        `check` takes no argument and may be `async def` or `def`, which runs in a thread of its own. It returns
        a Health, or a mapping with `status` ("UP" or "DOWN") and perhaps `details`, or a bool; None is UP, so
        that a function which raises when something is wrong will do. One that raises is DOWN with the name of
        the exception's class, one that takes longer than 1.8 s is DOWN with `timeout`. An answer is kept for
        5 s, 1 s when DOWN. ValueError if the name is taken or the report's own.
        """
        self._tables.check_not_started("a health check")
        self._container.health.add_own(name, check)

    @contextlib.contextmanager
    def testing(
        self, *, kv_store: object = None, kv_stores: Mapping[str, object] | None = None
    ) -> Iterator["TestClient"]:
        """Run the app for a test, with other stores: `with app.testing(kv_store=MemoryStore()) as client:`.

        `kv_store` takes the place of the default store, `kv_stores` of others by name; every store that neither
        names is an empty MemoryStore, so that none of the app's own is ever connected. They are back when the
        block ends, however it ends. LookupError for a name that the app has not, RuntimeError while it runs.
        Needs `kvik[testing]`.
        """
        from .testing import TestClient  # noqa: PLC0415 - an extra that no running service needs

        given = dict(kv_stores or {}) if kv_store is None else {**(kv_stores or {}), DEFAULT: kv_store}
        with self._container.stores.replaced(given), TestClient(self) as client:
            yield client

    def on_start(self, hook: HookFunction) -> HookFunction:
        """Register a function of one Context to be run when the stores are connected.

        Hooks run in order of registration; one that raises ends the start, and the program with status 1.
        """
        self._tables.check_not_started("a start hook")
        check_takes_context(hook, "a hook")
        self._lifecycle.start_hooks.append(hook)
        return hook

    def on_stop(self, hook: HookFunction) -> HookFunction:
        """Register a function of one Context to be run when the last request is answered, before stores close.

        All stop hooks together have 5 seconds; one that raises is logged, and the others run.
        """
        self._tables.check_not_started("a stop hook")
        check_takes_context(hook, "a hook")
        self._lifecycle.stop_hooks.append(hook)
        return hook

    @property
    def config(self) -> Config:
        """Give the configuration, for what is set up before the app runs."""
        return self._container.config

    @property
    def logger(self) -> "FilteringBoundLogger":
        """Give the structlog logger, for what is logged outside of a request."""
        return self._container.logger

    @property
    def metrics(self) -> Metrics:
        """Give the program's own metrics, to declare them before the app runs."""
        return self._container.metrics

    @property
    def metrics_app(self) -> ASGIApp:
        """Give an ASGI app that answers with all metrics of this process, to be mounted where it is wanted.

        `app.mount("/metrics", app.metrics_app)` serves on the app's own port what METRICS_PORT serves on its;
        with HTTP_WORKERS above 1 it is one worker's alone.
        """
        from ._metrics.exposition import MetricsApp  # noqa: PLC0415 - prometheus-client takes long to import

        return MetricsApp(self._container.measurements.families)
