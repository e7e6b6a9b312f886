"""Health: what a check answers, and the report of all checks of an app."""

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ._exits import UnexpectedExitError, as_error, call_in_thread
from ._health_details import NO_ANSWER, NOT_ENCODABLE, hidden_texts, public_details
from ._json import encode
from ._signatures import check_takes_nothing
from ._threads import is_coroutine_function

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

CHECK_TIMEOUT = 1.8
"""Seconds that one check may take; a slower one counts as DOWN. So the whole report is there within 2 s."""

_KEEP_UP = 5.0
_KEEP_DOWN = 1.0
_RESERVED = ("name", "status", "version", "kv-store")
_STORES_PREFIX = "kv-store:"

Status = Literal["UP", "DOWN"]


class Health(msgspec.Struct, frozen=True):
    """Tell whether something works: `status` is "UP" or "DOWN", `details` say where, and why not."""

    status: Status
    details: Mapping[str, Any] = {}


Answer = Health | Mapping[str, object] | bool | None
Check = Callable[[], Answer | Awaitable[Answer]]
"""A check of a user's own; see `App.add_health_check`."""

_TIMED_OUT = Health("DOWN", {"error": "timeout"})


class HealthChecks:
    """Hold the checks of an app, run them all at once, and put their answers into one report."""

    def __init__(self, logger: "FilteringBoundLogger") -> None:
        self._logger = logger
        self._checks: dict[str, _CachedCheck] = {}

    def add(self, name: str, check: Callable[[], Awaitable[Health]]) -> None:
        """Add a check, which never raises and limits its time, under the name that it has in the report."""
        self._checks[name] = _CachedCheck(check, self._logger.bind(check=name))

    def add_own(self, name: str, check: Check) -> None:
        """Add a user's check; ValueError if the name cannot be had, TypeError if `check` is no such function."""
        if not name or name in _RESERVED or name.startswith(_STORES_PREFIX):
            raise ValueError(f"a health check cannot be named {name!r}: the report has a meaning for that itself")
        if name in self._checks:
            raise ValueError(f"there is a health check named {name!r} already; give this one a name of its own")
        check_takes_nothing(check, "a health check")
        self.add(name, LimitedCheck(check, read=_read_own))

    def forget(self) -> None:
        """Ask every check afresh the next time: the app starts, perhaps with other stores."""
        for check in self._checks.values():
            check.forget()

    async def report(self) -> tuple[Literal["UP", "DEGRADED"], dict[str, Health]]:
        """Return the status, "DEGRADED" when anything is DOWN, and the public part of each check's answer."""
        answers = await asyncio.gather(*(check.answer() for check in self._checks.values()))
        healthy = all(health.status == "UP" for health in answers)
        return ("UP" if healthy else "DEGRADED"), dict(zip(self._checks, answers, strict=True))


class _CachedCheck:
    """Keep a check's answer for a moment, so that a storm of probes is no load on what is checked.

    5 s while it is UP; 1 s when DOWN, to see it recover.
    """

    def __init__(self, check: Callable[[], Awaitable[Health]], logger: "FilteringBoundLogger") -> None:
        self._check = check
        self._logger = logger
        self._health = Health("UP")
        self._fresh_until = 0.0

    def forget(self) -> None:
        self._fresh_until = 0.0

    async def answer(self) -> Health:
        if time.monotonic() >= self._fresh_until:
            health = await self._check()
            if health.status == "DOWN" != self._health.status and (texts := hidden_texts(health.details)):
                self._logger.warning("health.down", details=texts)  # once for each time that it goes DOWN
            self._health = Health(health.status, public_details(health.details))
            keep = _KEEP_UP if self._health.status == "UP" else _KEEP_DOWN
            self._fresh_until = time.monotonic() + keep
        return self._health


def read_health(answer: object) -> Health:
    """Take a check's answer for what it says: a Health, or a mapping with `status` and perhaps `details`."""
    if isinstance(answer, Health):
        answer = {"status": answer.status, "details": answer.details}
    if isinstance(answer, Mapping) and answer.get("status") in ("UP", "DOWN"):
        return Health(answer["status"], _encodable(answer.get("details")))
    return Health("DOWN", {"error": NO_ANSWER})


def _class_of(error: Exception) -> str:
    """Return the name of the class of what a check raised."""
    return type(error.__cause__ if isinstance(error, UnexpectedExitError) else error).__name__


class LimitedCheck:
    """Ask one check: one call of it at a time, an answer within CHECK_TIMEOUT, and never an exception.

    Who asks while a call runs shares it. A plain function runs in a thread of its own, since one that hangs would
    take a thread for ever from those that do the work; nothing can cancel it, so that it is DOWN until it has
    returned, and no second thread joins it. `read` makes the Health of what the check returns, `cause` gives the
    word for what it raises.
    """

    def __init__(
        self,
        check: Callable[[], Any],
        *,
        read: Callable[[object], Health] = read_health,
        cause: Callable[[Exception], str] = _class_of,
    ) -> None:
        self._check = check
        self._read = read
        self._cause = cause
        self._task: asyncio.Task[Health] | None = None
        self._in_thread: Future[Any] | None = None

    async def __call__(self) -> Health:
        """Give the check's answer, DOWN with the cause where it has none."""
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            if self._in_thread is not None and not self._in_thread.done():
                return _TIMED_OUT
            task = self._task = asyncio.create_task(self._ask())
        # wait() cancels nothing when its caller goes away, and returns also where a task refuses to be cancelled
        await asyncio.wait({task}, timeout=CHECK_TIMEOUT)
        if not task.done():
            return _TIMED_OUT
        return Health("DOWN", {"error": "CancelledError"}) if task.cancelled() else task.result()

    async def _ask(self) -> Health:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                return self._read(await self._call())
        except TimeoutError:
            return _TIMED_OUT
        except BaseException as raised:  # noqa: BLE001 - whatever a check raises, the report has to be given
            return Health("DOWN", {"error": self._cause(as_error(raised))})

    async def _call(self) -> Any:
        if is_coroutine_function(self._check):
            return await self._check()
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # from here on it is done only when the thread is
        work = contextvars.copy_context().run
        threading.Thread(target=work, args=(self._work, future), name="kvik-health", daemon=True).start()
        self._in_thread = future
        answer = await asyncio.wrap_future(future)
        return await answer if inspect.isawaitable(answer) else answer

    def _work(self, future: Future[Any]) -> None:
        try:
            future.set_result(call_in_thread(self._check))
        except Exception as error:  # noqa: BLE001 - it is handed to the loop, which raises it
            future.set_exception(error)


def _read_own(answer: object) -> Health:
    """Take a user's check for what it says, also in fewer words: None and True are UP, False is DOWN."""
    if answer is None or isinstance(answer, bool):
        return Health("DOWN" if answer is False else "UP")
    return read_health(answer)


def _encodable(details: object) -> dict[str, Any]:
    """Keep details only where they can be sent: the report must not fail on one of its parts."""
    if not isinstance(details, Mapping):
        return {}
    by_name = {str(name): value for name, value in details.items()}
    try:
        encode(by_name)
    except Exception:  # noqa: BLE001 - a value's own way to become JSON may raise anything
        return {"error": NOT_ENCODABLE}
    return by_name
