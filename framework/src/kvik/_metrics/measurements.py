"""The framework's own metrics: an observer that counts requests and stores' operations, without a lock.

All of it runs on the app's loop; a scrape, in a thread, takes copies.
"""

import functools
from bisect import bisect_left
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._observers import EndedBy, Operation, outcome_of
from ..metrics import DEFAULT_BUCKETS, Metrics
from .families import Family, Labels, label_text

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from .._requests.outgoing import Outgoing
    from ..config import Settings

K = TypeVar("K", bound=Hashable)

UNMATCHED = "unmatched"
"""The path of every request that no route took: what clients make up must not become label values."""

OTHER = "other"
"""What stands for every method, and every status, that HTTP's specifications do not name."""

KV_BUCKETS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""From a dictionary's microseconds to the facade's limit of 10 s, about three to the factor of ten."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_STATUSES = range(100, 600)


class Histogram(Generic[K]):
    """Count values in buckets, for each key apart."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._children: dict[K, list[float]] = {}

    def record(self, key: K, value: float) -> None:
        """Count a value."""
        try:
            child = self._children[key]
        except KeyError:
            child = self._children[key] = [0] * (len(self.bounds) + 2)
        child[bisect_left(self.bounds, value)] += 1
        child[-1] += value

    def copy(self) -> list[tuple[K, list[float]]]:
        """Give the counts of each key's buckets, with the sum behind them, as they are now."""
        return [(key, child.copy()) for key, child in self._children.copy().items()]


class Measurements:
    """Be the observer, and tell at scrape time what was seen, the program's own metrics included."""

    def __init__(self, settings: "Settings", own: Metrics) -> None:
        self._settings = settings
        self._own = own
        self._requests = Histogram[tuple[str, str, int]](DEFAULT_BUCKETS)
        self._operations = Histogram[tuple[str, str, str, str]](KV_BUCKETS)
        self._in_flight = 0

    # The observer

    def request_began(self, outgoing: "Outgoing") -> None:  # noqa: ARG002 - the seam's signature
        """Count a request in."""
        self._in_flight += 1

    def request_ended(self, outgoing: "Outgoing", begun: Any) -> None:  # noqa: ARG002 - as above
        """Count a request out, under its route's template."""
        self._in_flight -= 1
        route = outgoing.match.route
        method = outgoing.method
        key = (
            route.path if route is not None else UNMATCHED,
            method if method in _METHODS else OTHER,
            outgoing.status if outgoing.status in _STATUSES else 0,
        )
        self._requests.record(key, outgoing.seconds)

    def operation_ended(self, operation: Operation, error: EndedBy, seconds: float, _: Any) -> None:
        """Count an operation, by how it went."""
        store, driver, name, _ = operation
        self._operations.record((store, driver, name, "ok" if error is None else outcome_of(error)), seconds)

    # The scrape

    def families(self) -> list[Family]:
        """Give all metrics of this process."""
        return [
            self._app_info(),
            Family(
                "app_http_response",
                "Seconds that requests took, by route.",
                "histogram",
                "sum",
                self._requests.bounds,
                [
                    (_labels(path=path, method=method, status=status or OTHER), values)
                    for (path, method, status), values in self._requests.copy()
                ],
            ),
            Family(
                "app_http_in_flight",
                "Requests that are being worked on.",
                "gauge",
                "living",
                (),
                [((), [self._in_flight])],
            ),
            Family(
                "app_kv_operation_duration_seconds",
                "Seconds that key-value stores' drivers took.",
                "histogram",
                "sum",
                self._operations.bounds,
                [
                    (_labels(store=store, driver=driver, operation=operation, outcome=outcome), values)
                    for (store, driver, operation, outcome), values in self._operations.copy()
                ],
            ),
            *self._own._families(),
            *self._of_the_process(),
        ]

    def _app_info(self) -> Family:
        labels = _labels(
            app_name=self._settings.app_name,
            app_version=self._settings.app_version,
            framework_version=_framework_version(),
        )
        return Family("app_info", "The app and its framework.", "gauge", "once", (), [(labels, [1])])

    def _of_the_process(self) -> list[Family]:
        return [
            Family(
                metric.name,
                metric.documentation,
                "counter" if metric.type == "counter" else "gauge",
                "each",
                (),
                [(tuple(sample.labels.items()), [sample.value]) for sample in metric.samples],
            )
            for metric in _of_prometheus().collect()
        ]


def _labels(**labels: object) -> Labels:
    return tuple((name, label_text(value)) for name, value in labels.items())


@functools.cache
def _framework_version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - imported at the first scrape

    return version("kvik")


@functools.cache
def _of_prometheus() -> "CollectorRegistry":
    """Give prometheus-client's collectors of the process, for all apps in it."""
    from prometheus_client import (  # noqa: PLC0415 - imported at the first scrape
        CollectorRegistry,
        GCCollector,
        PlatformCollector,
        ProcessCollector,
    )

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
