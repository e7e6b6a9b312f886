"""Applications that an app serves below a path, and their lifespans, which run within the app's own."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Scope

from ._exits import as_error

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

OPENS_NO_PORT = "kvik.opens_no_port"
"""In the scope of the lifespan, keeps the app from opening any port; a test's client says so."""

STOP_TIMEOUT = 5.0
"""Seconds that all of them together may take to stop."""
_AFTER_CANCEL = 1.0
_AFTER_FAILURE = 1.0
"""Seconds that an application may take to raise what it has reported as a failed start."""


class MountedApp:
    """An ASGI application with its lifespan, and the state that this has given to its requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run the start of its lifespan, if it has one; RuntimeError where that fails."""
        self.state = {}
        self._takes_part = self._has_begun = False
        self._stopping = asyncio.Event()
        self._started: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # asyncio need not log it
        try:
            await asyncio.wait((self._task, self._started), return_when=asyncio.FIRST_COMPLETED)
            await self._see_how_it_started(self._task)
        except BaseException:
            self._task.cancel()
            self._task = None
            raise

    async def stop(self, seconds: float) -> None:
        """Run the stop of its lifespan; raises what that raises, and TimeoutError where it takes longer."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_AFTER_CANCEL)
            raise TimeoutError(f"the stop took longer than {STOP_TIMEOUT:g} seconds")
        task.result()

    async def _see_how_it_started(self, task: asyncio.Task[None]) -> None:
        message = self._started.result() if self._started.done() else None
        if message is not None:
            await asyncio.wait((task,), timeout=_AFTER_FAILURE)
        error = task.exception() if task.done() else None
        if message is not None or (error is not None and self._takes_part):
            what = (message or str(error)).strip().rpartition("\n")[2]
            raise RuntimeError(f"a mounted application did not start: {what}") from error
        if not self._started.done():
            self._task = None  # it has no lifespan

    async def _run(self) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope: Scope = {"type": "lifespan", "asgi": asgi, "state": self.state, OPENS_NO_PORT: True}
        try:
            await self.app(scope, self._receive, self._send)
        except BaseException as raised:
            raise as_error(raised) from raised

    async def _receive(self) -> Message:
        if not self._has_begun:
            self._has_begun = self._takes_part = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("lifespan.startup.complete", "lifespan.startup.failed"):
            if not self._started.done():
                self._started.set_result(message.get("message", "") if kind.endswith("failed") else None)
        elif kind == "lifespan.shutdown.failed":
            raise RuntimeError(message.get("message", ""))
        elif kind != "lifespan.shutdown.complete":
            self._takes_part = False  # it takes the lifespan for a request
            raise RuntimeError(f"{kind} does not belong to a lifespan")


class MountedApps:
    """The applications mounted in an app, each once however many paths it has."""

    def __init__(self, logger: "FilteringBoundLogger") -> None:
        self._logger = logger
        self._apps: list[MountedApp] = []
        self._running: list[MountedApp] = []

    def add(self, app: ASGIApp) -> MountedApp:
        """Return what stands for an application."""
        for mounted in self._apps:
            if mounted.app is app:
                return mounted
        self._apps.append(MountedApp(app))
        return self._apps[-1]

    async def start(self) -> None:
        """Start them in order of mounting; RuntimeError where one fails."""
        for mounted in self._apps:
            await mounted.start()
            self._running.append(mounted)

    async def stop(self) -> None:
        """Stop those that were started, the last one first, within 5 s in all; a failure is logged."""
        end = time.monotonic() + STOP_TIMEOUT
        while self._running:
            mounted = self._running.pop()
            try:
                await mounted.stop(max(0.0, end - time.monotonic()))
            except Exception as error:
                self._logger.error("mounted.stop_failed", app=type(mounted.app).__name__, exc_info=error)
