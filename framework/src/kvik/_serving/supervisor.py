"""The supervisor of several workers: fork them, replace what dies, and stop them all in order.

It runs no code of the app and has neither threads nor an event loop, so that every fork, also that of a
replacement hours later, starts from the state in which the program called `app.run()`.

Each worker has a socket pair with the supervisor. The worker's first line on it says that it is ready, each
other answers the supervisor's question for its metrics; the end of the stream tells either side that the other
is gone.
"""

import contextlib
import functools
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from structlog.typing import FilteringBoundLogger

from .._logs.output import catch_up
from .._metrics.worker_metrics import WorkersMetrics
from .crash_report import CrashReport
from .ending import HANGUP_SIGNALS, STOP_SIGNALS, end_at_once, flush_output, stop_signals

READY = b"ready\n"
"""What a worker says when it accepts connections."""

ALIVE = b"alive\n"
"""What it says from then on, several times within WORKER_TIMEOUT."""

SUPERVISED_SIGNALS = (*STOP_SIGNALS, *HANGUP_SIGNALS, signal.SIGUSR1, signal.SIGCHLD)
"""What a worker finds blocked, and unblocks once it has handlers of its own."""

_READ = 64 * 1024
_FIRST_DELAY = 0.5
_SECOND_CHANCE = 1.0
"""Seconds that a silent worker has to say something: it may be that the whole machine stood still."""

_ABORT_TIMEOUT = 1.0
"""Seconds that it then has to report its stacks and end."""
_LONGEST_DELAY = 30.0
_LOG_RETRY = 0.1
_SETTLED = 30.0
"""Seconds after which a worker's death counts as the first one again."""


@dataclass(slots=True, eq=False)
class _Worker:
    """Hold what is known of a running worker."""

    pid: int
    channel: socket.socket
    report: CrashReport
    started: float
    delay: float
    """Seconds that it was held back after its predecessor's death; 0 where it is the first in its place."""
    ready: bool = False
    said: bytes = b""
    """What it has said of a line that is not complete yet."""
    silent_at: float = math.inf
    """When it is taken for stuck, unless it says something."""
    is_suspected: bool = False
    killed_at: float = math.inf
    """When it is killed, which does not end by itself though it was asked to."""
    label: str = ""
    """The name that its metrics have."""


@dataclass(frozen=True, slots=True)
class _Replacement:
    """Hold when a worker is to be started in the place of a dead one."""

    due: float
    delay: float


class Supervisor:
    """Keep `count` workers at work until a signal ends them.

    `work` serves in a worker: it gets the worker's end of the socket pair and returns the exit status. It finds
    the SUPERVISED_SIGNALS blocked. The supervisor keeps `listener` open for workers to come, and closes it when
    it stops; on `metrics_listener` it serves the workers' metrics to the end. What has not ended `grace_period`
    and `rest_of_stop`, in seconds, after the signal is killed. So is a worker that says nothing for
    `worker_timeout` seconds, and it is replaced.
    """

    def __init__(
        self,
        work: Callable[[socket.socket], int],
        *,
        count: int,
        listener: socket.socket,
        grace_period: float,
        rest_of_stop: float,
        logger: FilteringBoundLogger,
        toggle_debug: Callable[[], None],
        worker_timeout: float | None = None,
        metrics_listener: socket.socket | None = None,
    ) -> None:
        self._work = work
        self._count = count
        self._listener = listener
        self._grace_period = grace_period
        self._rest_of_stop = rest_of_stop
        self._logger = logger
        self._toggle_debug = toggle_debug
        self._worker_timeout = math.inf if worker_timeout is None else worker_timeout
        self._workers: list[_Worker] = []
        self._replacements: list[_Replacement] = []
        self._stop_signals = stop_signals()
        self._stopping = False
        self._deadline: float | None = None  # when what has not stopped is killed
        self._status = 0
        self._log_is_behind = False
        # Not epoll, which lives in the kernel: a forked child would hold a copy of it.
        self._selector = selectors.PollSelector()
        self._wakeup, self._wakeup_writer = socket.socketpair()
        self._metrics = WorkersMetrics(metrics_listener, self._selector)

    def run(self) -> int:
        """Return 0 where every worker ended well after SIGTERM or SIGINT, else 1.

        A second signal kills the workers. Where a worker dies before it was ready, and was the first in its
        place, the start of the program has failed: all the others are stopped.
        """
        with self._woken_by_signals():
            self._metrics.open()
            for _ in range(self._count):
                self._start(delay=0)
            while self._workers or self._replacements:
                self._step()
        if self._deadline is not None:  # nothing was killed
            self._logger.info("Application shutdown complete")
        return self._status

    def _step(self) -> None:
        """Wait until something happens, and see to it."""
        self._log_is_behind = not catch_up()
        for key, _ in self._selector.select(self._seconds_to_wait()):
            key.data()
        for worker in self._workers[:]:  # after the signals: what ends by Ctrl-C has not died unexpectedly
            self._reap(worker)
        self._keep_appointments()

    def _seconds_to_wait(self) -> float | None:
        times = [*self._metrics.deadlines, *(replacement.due for replacement in self._replacements)]
        if self._deadline is not None:
            times.append(self._deadline)
        times += [min(worker.silent_at, worker.killed_at) for worker in self._workers]
        if self._log_is_behind:
            times.append(time.monotonic() + _LOG_RETRY)
        soonest = min(times, default=math.inf)
        return None if soonest == math.inf else max(0, soonest - time.monotonic())

    def _keep_appointments(self) -> None:
        now = time.monotonic()
        self._metrics.keep_time(now)
        for replacement in [replacement for replacement in self._replacements if replacement.due <= now]:
            self._replacements.remove(replacement)
            self._start(replacement.delay)
        for worker in self._workers:
            self._end_if_stuck(worker, now)
        if self._deadline is not None and self._deadline <= now:
            self._logger.error("workers.killed", workers=len(self._workers), grace_period=self._grace_period)
            self._kill()

    # Signals and the stop

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        """Have every signal's number written to a socket, so that the loop sees to them one by one."""
        self._wakeup.settimeout(0)
        self._wakeup_writer.settimeout(0)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_signals)
        wakeup_before = signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        handlers_before = {sig: signal.signal(sig, _leave_it_to_the_loop) for sig in SUPERVISED_SIGNALS}
        try:
            yield
        finally:
            for sig, handler in handlers_before.items():
                signal.signal(sig, handler)
            signal.set_wakeup_fd(wakeup_before)
            self._close_own()

    def _close_own(self) -> None:
        """Close what is the supervisor's own: everything but the channels and the listener."""
        for part in (self._metrics, self._selector, self._wakeup, self._wakeup_writer):
            part.close()

    def _on_signals(self) -> None:
        for number in self._wakeup.recv(4096):
            if number == signal.SIGUSR1:
                self._toggle_debug()  # also for workers to come, which begin with the supervisor's level
                self._send_to_all(number)
            elif number in self._stop_signals:
                if self._stopping:
                    self._kill()
                else:
                    self._stop(number)

    def _stop(self, number: int) -> None:
        self._logger.info("Shutting down server with a timeout of %gs", self._grace_period)
        self._stopping = True
        self._deadline = time.monotonic() + self._grace_period + self._rest_of_stop
        self._replacements.clear()
        for worker in self._workers:
            worker.silent_at = math.inf
        self._listener.close()
        self._send_to_all(number)

    def _kill(self) -> None:
        self._status = 1
        self._deadline = None
        self._send_to_all(signal.SIGKILL)

    def _send_to_all(self, number: int) -> None:
        for worker in self._workers:
            os.kill(worker.pid, number)  # until it is reaped, the pid is nobody else's

    # Workers

    def _start(self, delay: float) -> None:
        if self._stopping:
            return  # the worker before this one could not be started
        try:
            worker = self._fork(delay)
        except OSError as error:
            self._logger.error("worker.not_forked", error=str(error))
            self._replace(delay)
            return
        self._workers.append(worker)
        worker.label = self._metrics.joined(worker.channel)
        self._selector.register(worker.channel, selectors.EVENT_READ, functools.partial(self._hear, worker))

    def _fork(self, delay: float) -> _Worker:
        flush_output()  # else the child has a copy of what is buffered, and writes it once more
        ours, theirs = socket.socketpair()
        report = CrashReport()
        with theirs, _blocked(SUPERVISED_SIGNALS):
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                report.keep_reader()
                report.close()
                raise
            if pid == 0:
                ours.close()
                self._become_worker(theirs, report)
        ours.settimeout(0)
        report.keep_reader()
        return _Worker(pid, ours, report, started=time.monotonic(), delay=delay)

    def _become_worker(self, channel: socket.socket, report: CrashReport) -> NoReturn:
        """Work in the child, and end it: nothing of the program that called `app.run()` may go on here."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            self._close_own()
            for sibling in self._workers:  # who held a copy would hide the supervisor's end from the sibling
                sibling.channel.close()
                sibling.report.close()
            report.enable()
            status = self._work(channel)
        except BaseException as error:  # also SystemExit: there is nobody to raise it to
            self._logger.error("worker.failed", exc_info=error)
        finally:
            end_at_once(status)

    def _hear(self, worker: _Worker) -> bool:
        """Read some of what a worker has said, and tell whether there was anything."""
        try:
            said = worker.channel.recv(_READ)
        except BlockingIOError:
            return False  # it has ended, but a process that it forked has its end of the channel open
        except ConnectionResetError:
            said = b""  # it has ended and left a question unread
        if not said:
            self._stop_listening(worker)  # the end would wake the loop for ever
        worker.is_suspected = False
        *lines, worker.said = (worker.said + said).split(b"\n")
        for line in lines:
            self._heed(worker, line + b"\n")
        return bool(said)

    def _heed(self, worker: _Worker, line: bytes) -> None:
        if not self._stopping:
            worker.silent_at = time.monotonic() + self._worker_timeout
        if line == ALIVE:
            return
        if line == READY:
            worker.ready = True
            self._logger.info("worker.ready", pid=worker.pid)
        else:
            self._metrics.heard(worker.label, line)

    def _stop_listening(self, worker: _Worker) -> None:
        with contextlib.suppress(KeyError):  # it had closed its end before it ended
            self._selector.unregister(worker.channel)

    def _reap(self, worker: _Worker) -> None:
        """See to a worker that has ended, if it has."""
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if not pid:
            return
        while self._hear(worker):  # it may have been ready for a moment
            pass
        self._stop_listening(worker)
        worker.channel.close()
        report = worker.report.read()
        worker.report.close()
        self._metrics.left(worker.label)
        self._workers.remove(worker)
        if status and self._stopping:
            self._status = 1
        if os.WIFSIGNALED(status) or not self._stopping:
            self._logger.error("worker.died", pid=pid, **_cause_of_death(status, report))
        if not self._stopping:
            self._replace(worker.delay, lived=time.monotonic() - worker.started, ready=worker.ready)

    def _end_if_stuck(self, worker: _Worker, now: float) -> None:
        """End a worker that has said nothing for too long; its last words are the stacks of its threads."""
        if worker.killed_at <= now:
            worker.killed_at = math.inf
            os.kill(worker.pid, signal.SIGKILL)
        elif worker.silent_at <= now and not worker.is_suspected:
            worker.is_suspected = True
            worker.silent_at = now + _SECOND_CHANCE
        elif worker.silent_at <= now:
            self._logger.error("worker.stuck", pid=worker.pid, worker_timeout=self._worker_timeout)
            worker.silent_at = math.inf
            worker.killed_at = now + _ABORT_TIMEOUT
            os.kill(worker.pid, signal.SIGABRT)

    def _replace(self, delay: float, *, lived: float = 0, ready: bool = False) -> None:
        """Start a worker in the place of a dead one, unless the program has failed to start."""
        if not delay and not ready:
            self._logger.error("workers.not_started", stopping=len(self._workers))
            self._status = 1
            self._stop(signal.SIGTERM)
            return
        delay = _FIRST_DELAY if not delay or lived >= _SETTLED else min(2 * delay, _LONGEST_DELAY)
        self._logger.info("worker.to_be_replaced", seconds=delay)
        self._replacements.append(_Replacement(time.monotonic() + delay, delay))


def _leave_it_to_the_loop(_: int, __: FrameType | None) -> None:
    """Take no default action: the signal's number has been written to the wakeup socket."""


@contextlib.contextmanager
def _blocked(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Keep signals from a child that would take them for its parent's."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause_of_death(status: int, report: str) -> dict[str, Any]:
    """Return the fields that tell of it: the exit status, or the name of the signal, and perhaps the stacks."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return {"status": code}
    names = {number.value: number.name for number in signal.Signals}
    stack = {"stack": report} if report else {}
    return {"signal": names.get(-code, -code), **stack}  # most of the real-time signals have no name
