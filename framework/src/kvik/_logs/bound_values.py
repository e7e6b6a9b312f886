"""The values that `structlog.contextvars.bind_contextvars` has added to all lines of the current request."""

from contextvars import ContextVar, copy_context
from typing import Any

from structlog.contextvars import STRUCTLOG_KEY_PREFIX, get_contextvars

_MAX_OTHERS = 1000

_others: set[ContextVar[Any]] = set()
"""Variables that are not structlog's: where there are no others, as in most requests, nothing is bound."""


def bound_values(unbound: int = 0) -> dict[str, Any]:
    """Return the values that are bound here, by name.

    `unbound` is how many variables this context had when nothing was bound in it, if that is known: there cannot
    be as many with one of structlog's among them, for none is ever removed.
    """
    variables = copy_context()
    if len(variables) == unbound or _others.issuperset(variables):
        return {}
    if len(_others) < _MAX_OTHERS:
        _others.update(each for each in variables if not each.name.startswith(STRUCTLOG_KEY_PREFIX))
    return get_contextvars()
