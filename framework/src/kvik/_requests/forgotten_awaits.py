"""A coroutine that nobody awaited has done nothing: Python notices when it is thrown away, the log says where.

Python's own way is a RuntimeWarning on stderr, once for each line of code, or with `-W error` nothing that anybody
could act on. While an app runs, that warning becomes an ERROR line, each time. Until something is forgotten,
nothing is done for it.
"""

import re
import sys
import warnings
from types import FrameType
from typing import Any, TextIO

from structlog.typing import FilteringBoundLogger

from .._signatures import name_of
from .._threads import is_coroutine_function
from .running_handler import running_handler

_MESSAGE = r"coroutine '(.+)' was never awaited"
_FILTER = ("always", re.compile(_MESSAGE), RuntimeWarning, None, 0)

_loggers: list[FilteringBoundLogger] = []
"""Those of the apps that run in this process; the last one is told."""

_before: Any = None


def report_forgotten_awaits(logger: FilteringBoundLogger) -> None:
    """Log coroutines that nobody awaits, until `stop_reporting`."""
    global _before  # noqa: PLW0603 - what it stands for, warnings.showwarning, is the process's too
    if not _loggers:
        _before = warnings.showwarning
        warnings.showwarning = _show
    _loggers.append(logger)
    warnings.filterwarnings("always", _MESSAGE, RuntimeWarning)  # goes before any other filter, such as `error`


def stop_reporting(logger: FilteringBoundLogger) -> None:
    """Leave such coroutines to Python again, when no app is left that reports them."""
    before = len(_loggers)
    _loggers[:] = [each for each in _loggers if each is not logger]  # equal ones may be another app's
    if before and not _loggers:
        if warnings.showwarning is _show:
            warnings.showwarning = _before
        warnings.filters[:] = [each for each in warnings.filters if each != _FILTER]  # type: ignore[index] # a list


def _show(  # noqa: PLR0917 - as warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    forgotten = re.match(_MESSAGE, str(message)) if category is RuntimeWarning and _loggers else None
    if forgotten is None:
        _before(message, category, filename, lineno, file, line)
    else:
        _report(forgotten[1], f"{filename}:{lineno}", sys._getframe(1))  # noqa: SLF001 - documented


def _report(call: str, place: str, frame: FrameType) -> None:
    handler = running_handler(frame)
    name = "" if handler is None else name_of(handler)
    within = f" in handler `{name}`" if name else ""
    remedy = (
        "await …" if handler is None or is_coroutine_function(handler) else "ctx.wait(…), for a def cannot await"
    )
    fields = {"handler": name, "call": call} if name else {"call": call}
    _loggers[-1].error(
        "await.forgotten",
        **fields,
        line=place,
        problem=f"{call} was called without await{within}, so it has done nothing: write {remedy}",
    )
