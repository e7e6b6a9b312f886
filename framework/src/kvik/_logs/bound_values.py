"""The values that `structlog.contextvars.bind_contextvars` has added to all lines of the current request."""

from contextvars import ContextVar, copy_context
from typing import Any

from structlog.contextvars import STRUCTLOG_KEY_PREFIX, get_contextvars

_MAX_OTHERS = 1000

_others: set[ContextVar[Any]] = set()
"""Variables that are not structlog's: where there are no others, as in most requests, nothing is bound."""


def bound_values() -> dict[str, Any]:
    """Return the values that are bound here, by name."""
    variables = copy_context()
    if _others.issuperset(variables):
        return {}
    if len(_others) < _MAX_OTHERS:
        _others.update(each for each in variables if not each.name.startswith(STRUCTLOG_KEY_PREFIX))
    return get_contextvars()
