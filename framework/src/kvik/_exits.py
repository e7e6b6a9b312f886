"""Exceptions that are not an `Exception`: raised by a user's code, they would end more than that code.

SystemExit and KeyboardInterrupt end the event loop, whichever task raises them. A CancelledError that nobody asked
for ends the task without a word, and a future refuses StopIteration, so that whoever awaits it waits for ever.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelled
from typing import Any, TypeVar

T = TypeVar("T")


class UnexpectedExitError(RuntimeError):
    """Raised in the place of such an exception, which is its cause."""


def as_error(raised: BaseException, *, task_may_end: bool = True) -> Exception:
    """Return an Exception to handle in the place of what was raised.

    Raises it again where it is the end of the running task itself, if that may end: a cancellation that was asked
    for, or a coroutine that is closed because its loop is gone.
    """
    if isinstance(raised, Exception):
        return raised
    if ends_task(raised) and (task_may_end or isinstance(raised, GeneratorExit)):
        raise raised
    return _unexpected(raised)


def ends_task(raised: BaseException) -> bool:
    """Tell whether an exception is the end of the running task, asked for from outside."""
    task = _running_task()
    if isinstance(raised, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    return isinstance(raised, GeneratorExit) and task is None


def call_in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a function whose exception a future is to carry to the event loop: it raises nothing but errors."""
    try:
        return function(*args)
    except (StopIteration, FutureCancelled) as refused:
        raise _unexpected(refused) from refused
    except Exception:
        raise
    except BaseException as raised:
        raise _unexpected(raised) from raised


def _unexpected(raised: BaseException) -> UnexpectedExitError:
    error = UnexpectedExitError(f"{raised!r} was raised")
    error.__cause__ = raised
    return error


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop is running
        return None
