"""Who is told of what an app does: metrics, traces, and whatever else looks on."""

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from ._kv.driver import Driver
    from ._requests.outgoing import Outgoing
    from .kv_errors import KVError


class Operation(msgspec.Struct, eq=False):
    """Tell of one call of a store's method; at its end also how it went.

    `error` is None where it succeeded, and where it was `cancelled`.
    """

    driver: "Driver"
    name: str
    error: "KVError | None" = None
    cancelled: bool = False
    seconds: float = 0.0


class Observer(Protocol):
    """Be told when a request or a store's operation begins, and when it ends.

    What a `began` returns is given to the `ended` of the same request or operation, which runs in the same task
    and context. Neither may raise, nor wait for anything.
    """

    def request_began(self, outgoing: "Outgoing") -> Any:
        """Look at a request whose route is not known yet."""

    def request_ended(self, outgoing: "Outgoing", begun: Any) -> None:
        """Look at a request whose route, status, error and seconds are known."""

    def operation_began(self, operation: Operation) -> Any:
        """Look at an operation that the driver is about to be called for."""

    def operation_ended(self, operation: Operation, begun: Any) -> None:
        """Look at an operation whose error and seconds are known."""


class Observers:
    """Hold the observers of an app, and tell them all: of an end, the last that was told of the begin first."""

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()
        self._of_requests: tuple[Observer, ...] = ()

    def add(self, observer: Observer, *, of_requests: bool = True) -> None:
        """Tell this observer too, of operations alone where requests do not concern it."""
        self._observers = (*self._observers, observer)
        if of_requests:
            self._of_requests = (*self._of_requests, observer)

    def add_outermost(self, observer: Observer) -> None:
        """Tell this observer too, of a begin before all others and of an end after them."""
        self._observers = (observer, *self._observers)
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

    def operation_began(self, operation: Operation) -> list[Any]:
        """Tell of an operation's begin."""
        return [observer.operation_began(operation) for observer in self._observers]

    def operation_ended(self, operation: Operation, begun: list[Any]) -> None:
        """Tell of an operation's end."""
        for observer, own in zip(reversed(self._observers), reversed(begun), strict=True):
            observer.operation_ended(operation, own)
