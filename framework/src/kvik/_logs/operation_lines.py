"""Key-value operations in the log, at DEBUG: one line each, without key and value."""

import logging
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from .._observers import EndedBy, Operation, outcome_of
from .log_line import OPERATION
from .logger import Level

if TYPE_CHECKING:
    from .._requests.outgoing import Outgoing

_Held = list[dict[str, Any]]

_held: ContextVar[_Held | None] = ContextVar("kvik_held_operations", default=None)
"""The operations of the current request whose lines wait for that of the request; None where they do not."""


class OperationLines:
    """Log each operation; on a terminal beneath the line of its request, which is written when that ends."""

    def __init__(self, logger: FilteringBoundLogger, level: Level, *, beneath_request: bool) -> None:
        self._logger = logger
        self._level = level
        self._beneath_request = beneath_request

    def request_began(self, _: "Outgoing") -> Token[_Held | None] | None:
        """Begin to hold lines back, where there will be any."""
        if self._beneath_request and self._level.number <= logging.DEBUG:
            return _held.set([])
        return None

    def request_ended(self, _: "Outgoing", begun: Token[_Held | None] | None) -> None:
        """Write what was held back."""
        if begun is None:
            return
        for fields in _held.get() or ():
            self._logger.debug(OPERATION, **fields)
        _held.reset(begun)

    def operation_ended(self, operation: Operation, error: EndedBy, seconds: float, _: None) -> None:
        """Write the line, or hold it back."""
        if self._level.number > logging.DEBUG:
            return
        fields = {
            "store": operation.store,
            "driver": operation.driver,
            "operation": operation.name,
            "outcome": outcome_of(error),
            "microseconds": int(seconds * 1_000_000),
        }
        held = _held.get()
        if held is None:
            self._logger.debug(OPERATION, **fields)
        else:
            held.append(fields)
