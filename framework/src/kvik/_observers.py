"""Who is told of what an app does: metrics, traces, and whatever else looks on."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from .kv_errors import KVError

if TYPE_CHECKING:
    from ._requests.outgoing import Outgoing

EndedBy: TypeAlias = KVError | asyncio.CancelledError | None
"""What ended an operation: its error, its cancellation, or None where it succeeded."""


class Operation(NamedTuple):
    """Name a verb of a store: the store's name, its driver's, the verb's, and what a trace is to tell of it."""

    store: str
    driver: str
    name: str
    trace_attributes: Mapping[str, str]


def outcome_of(error: EndedBy) -> str:
    """Give the word for how an operation ended: ok, cancelled, or the error's code."""
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else error.code


class Observer(Protocol):
    """Be told when a request begins and ends, and when a store's operation has ended.

    What a `began` returns is given to the `ended` of the same request or operation, which runs in the same task
    and context. Neither may raise, nor wait for anything.
    """

    def request_began(self, outgoing: "Outgoing") -> Any:
        """Look at a request whose route is not known yet."""

    def request_ended(self, outgoing: "Outgoing", begun: Any) -> None:
        """Look at a request whose route, status, error and seconds are known."""

    def operation_ended(self, operation: Operation, error: EndedBy, seconds: float, begun: Any) -> None:
        """Look at how an operation ended, and at the seconds that it took."""


class Outermost(Observer, Protocol):
    """Be told of a begin before all others, also of an operation's, and of an end after them."""

    def operation_began(self, operation: Operation) -> Any:
        """Look at an operation that the driver is about to be called for."""


class Observers:
    """Hold the observers of an app, and tell them all: of an end, the last that was told of the begin first."""

    def __init__(self) -> None:
        self._of_requests: tuple[Observer, ...] = ()
        self._of_operations: tuple[Observer, ...] = ()  # without the outermost; the last that was added first
        self._outermost: Outermost | None = None

    def add(self, observer: Observer, *, of_requests: bool = True) -> None:
        """Tell this observer too, of operations alone where requests do not concern it."""
        self._of_operations = (observer, *self._of_operations)
        if of_requests:
            self._of_requests = (*self._of_requests, observer)

    def add_outermost(self, observer: Outermost) -> None:
        """Tell this observer too; there is one outermost at most."""
        self._outermost = observer
        self._of_requests = (observer, *self._of_requests)

    def request_began(self, outgoing: "Outgoing") -> Any:
        """Tell of a request's begin."""
        observers = self._of_requests
        if len(observers) == 1:  # as in most apps
            return observers[0].request_began(outgoing)
        return [observer.request_began(outgoing) for observer in observers]

    def request_ended(self, outgoing: "Outgoing", begun: Any) -> None:
        """Tell of a request's end."""
        observers = self._of_requests
        if len(observers) == 1:
            observers[0].request_ended(outgoing, begun)
            return
        for observer, own in zip(reversed(observers), reversed(begun), strict=True):
            observer.request_ended(outgoing, own)

    def operation_began(self, operation: Operation) -> Any:
        """Tell of an operation's begin."""
        outermost = self._outermost
        return None if outermost is None else outermost.operation_began(operation)

    def operation_ended(self, operation: Operation, error: EndedBy, seconds: float, begun: Any) -> None:
        """Tell of an operation's end."""
        for observer in self._of_operations:
            observer.operation_ended(operation, error, seconds, None)
        if self._outermost is not None:
            self._outermost.operation_ended(operation, error, seconds, begun)
