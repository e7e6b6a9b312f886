"""Threads that do not delay the end of the process, unlike those of concurrent.futures."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeAlias, TypeVar
from weakref import finalize

T = TypeVar("T")
P = ParamSpec("P")

_Job: TypeAlias = tuple[Future[Any], Callable[[], Any]]
_Jobs: TypeAlias = "SimpleQueue[_Job | None]"


class DaemonThreads(Executor):
    """An executor for work that may hang, in a program of the user's or on a network, and is then left behind."""

    def __init__(self, max_threads: int, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._jobs: _Jobs = SimpleQueue()
        self._threads: list[Thread] = []
        self._unfinished = 0
        self._lock = Lock()
        self._stop = finalize(self, _stop, self._jobs, self._threads)
        self._stop.atexit = False

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if not self._stop.alive:
                raise RuntimeError("this executor is shut down")
            self._unfinished += 1
            future.add_done_callback(self._finished)
            self._jobs.put((future, lambda: work(*args, **kwargs)))
            if len(self._threads) < min(self._unfinished, self._max_threads):
                thread = Thread(target=_serve, args=(self._jobs,), name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's own signature
        first = self._stop.alive  # later, the queue holds what ends the threads
        waiting = list(_taken(self._jobs)) if cancel_futures and first else []
        with self._lock:
            self._stop()
        for future, _ in waiting:
            future.cancel()
        for thread in self._threads if wait else ():
            thread.join()

    def _finished(self, _: Future[Any]) -> None:
        with self._lock:
            self._unfinished -= 1


def _taken(jobs: _Jobs) -> "list[_Job]":
    taken: list[_Job] = []
    while True:
        try:
            job = jobs.get_nowait()
        except Empty:
            return taken
        if job is not None:
            taken.append(job)


def _stop(jobs: _Jobs, threads: list[Thread]) -> None:
    for _ in threads:
        jobs.put(None)


def _serve(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        future, work = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(_as_error(error))
        else:
            future.set_result(result)
        del job, future, work


def _as_error(raised: BaseException) -> Exception:
    """Return what a future can carry to an event loop.

    A session's credentials and event handlers are anybody's code. A future refuses StopIteration, so that whoever
    awaits it waits for ever, and SystemExit would end the loop.
    """
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"{raised!r} was raised")
    error.__cause__ = raised
    return error
