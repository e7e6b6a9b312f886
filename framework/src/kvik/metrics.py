"""The metrics of a program's own: declared once, recorded by name in handlers, read at scrape time."""

import math
import re
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Literal

import msgspec

from ._metrics.families import Family, Kind, Labels, Merge, label_text

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

MOST_LABEL_SETS = 1000
"""Label sets of one metric; what comes beyond is recorded under `overflow="true"`."""

_MILLISECONDS = (1, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 750, 1_000, 2_000, 3_000, 5_000, 10_000, 30_000)
DEFAULT_BUCKETS = tuple(milliseconds / 1_000 for milliseconds in _MILLISECONDS)
"""GoFr's bounds for the response time in seconds, for histograms that name none."""

_OVERFLOW: Labels = (("overflow", "true"),)
_MOST_REPORTS = 100
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_FRAMEWORK_NAMES = ("app_info", "app_http_", "app_kv_", "process_", "python_")

_Type = Literal["counter", "up-down counter", "histogram", "gauge"]
_SAMPLES = {"counter": ("_total",), "histogram": ("", "_bucket", "_count", "_sum")}
_EXPOSED_AS: dict[_Type, tuple[Kind, Merge]] = {
    "counter": ("counter", "sum"),
    "up-down counter": ("gauge", "sum"),
    "histogram": ("histogram", "sum"),
    "gauge": ("gauge", "each"),
}
_RESERVED_LABELS = {"histogram": "le", "gauge": "worker"}


class _Metric(msgspec.Struct, eq=False):
    name: str
    description: str
    type: _Type
    bounds: tuple[float, ...] = ()
    series: dict[Labels, list[float]] = msgspec.field(default_factory=dict)
    is_full: bool = False

    @property
    def definition(self) -> tuple[object, ...]:
        return self.description, self.type, self.bounds

    @property
    def base(self) -> str:
        return self.name.removesuffix("_total") if self.type == "counter" else self.name

    @property
    def samples(self) -> set[str]:
        """Give the names that Prometheus sees."""
        return {self.base + ending for ending in _SAMPLES.get(self.type, ("",))}

    def family(self) -> Family:
        kind, merge = _EXPOSED_AS[self.type]
        series = [(labels, values.copy()) for labels, values in self.series.items()]
        return Family(self.base, label_text(self.description), kind, merge, self.bounds, series)


class Metrics:
    """Hold the program's own metrics; `app.metrics` and `ctx.metrics` give it.

    Declaring raises where something is wrong with the declaration, because that is the program's mistake.
    Recording never raises: what cannot be recorded is left out, with one ERROR line for each cause, so that no
    request fails for a metric. All methods may be called from any thread.
    """

    def __init__(self, logger: "FilteringBoundLogger") -> None:
        self._logger = logger
        self._metrics: dict[str, _Metric] = {}
        self._reported: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    # Declaring

    def new_counter(self, name: str, description: str) -> None:
        """Declare a counter, which only goes up; Prometheus sees it as `name` with `_total` at its end.

        This and the other three raise ValueError for a name that Prometheus does not allow, for one that the
        framework or another metric uses, and for one that was declared otherwise. Declaring the same metric
        again changes nothing, so that a start hook may do it.
        """
        self._declare(_Metric(name, description, "counter"))

    def new_updown_counter(self, name: str, description: str) -> None:
        """Declare an up-down counter: a sum of changes, over all of HTTP_WORKERS' processes."""
        self._declare(_Metric(name, description, "up-down counter"))

    def new_histogram(self, name: str, description: str, *buckets: float) -> None:
        """Declare a histogram with the upper bounds of its buckets, in rising order.

        Without bounds it has DEFAULT_BUCKETS, for seconds. ValueError for bounds that do not rise or are not
        finite.
        """
        bounds = tuple(float(bound) for bound in buckets) or DEFAULT_BUCKETS
        if not all(map(math.isfinite, bounds)) or sorted(set(bounds)) != list(bounds):
            raise ValueError(f"the buckets of {name!r} are finite numbers in rising order, not {buckets}")
        self._declare(_Metric(name, description, "histogram", bounds))

    def new_gauge(self, name: str, description: str) -> None:
        """Declare a gauge: a value that is as it was last set, in each of HTTP_WORKERS' processes for itself."""
        self._declare(_Metric(name, description, "gauge"))

    # Recording

    def increment_counter(self, name: str, /, **labels: object) -> None:
        """Add 1 to a counter, under these labels."""
        self._record("counter", name, 1, labels)

    def delta_updown_counter(self, name: str, value: float, /, **labels: object) -> None:
        """Add a value, perhaps below 0, to an up-down counter, under these labels."""
        self._record("up-down counter", name, value, labels)

    def record_histogram(self, name: str, value: float, /, **labels: object) -> None:
        """Count a value in a histogram, under these labels."""
        self._record("histogram", name, value, labels)

    def set_gauge(self, name: str, value: float, /, **labels: object) -> None:
        """Set a gauge, under these labels."""
        self._record("gauge", name, value, labels)

    def _families(self) -> list[Family]:
        """Give what was recorded; the framework calls it at scrape time."""
        with self._lock:
            return [metric.family() for metric in self._metrics.values()]

    def _declare(self, metric: _Metric) -> None:
        if not _METRIC_NAME.fullmatch(metric.name):
            raise ValueError(
                f"a metric's name is letters, digits, _ and :, and does not begin with a digit: {metric.name!r}"
            )
        if metric.name.startswith(_FRAMEWORK_NAMES):
            raise ValueError(f"names such as {metric.name!r} are the framework's own")
        with self._lock:
            before = self._metrics.get(metric.name)
            if before is not None and before.definition == metric.definition:
                return
            for other in self._metrics.values():
                if other.base == metric.base or other.samples & metric.samples:
                    raise ValueError(f"{metric.name!r} and the {other.type} {other.name!r} would be confused")
            self._metrics[metric.name] = metric

    def _record(self, kind: _Type, name: str, value: float, labels: dict[str, object]) -> None:
        try:
            problem = self._add(kind, name, value, labels)
        except Exception as error:  # noqa: BLE001 - a label's or a value's own conversion may raise anything
            problem = f"{type(error).__name__} in the conversion of its value or of a label"
        if problem is not None:
            self._report(name, problem)

    def _add(self, kind: _Type, name: str, value: float, labels: dict[str, object]) -> str | None:
        """Record a value, or return why it cannot be."""
        metric = self._metrics.get(name)
        if metric is None:
            return f"it was never declared; do so with app.metrics.new_{kind.replace('-', '').replace(' ', '_')}"
        if metric.type != kind:
            return f"it is a {metric.type}, not a {kind}"
        number = value if value == 1 else float(value)
        if not math.isfinite(number):
            return "a value is a finite number"
        key = tuple(sorted((label, label_text(given)) for label, given in labels.items()))
        with self._lock:
            values = metric.series.get(key)
            if values is None:
                values, problem = self._new_series(metric, key)
                if problem is not None:
                    return problem
            self._change(metric, values, number)
        return None

    def _new_series(self, metric: _Metric, key: Labels) -> tuple[list[float], str | None]:
        bad = [name for name, _ in key if not _is_label(name, metric.type)]
        if bad:
            return [], f"it can have no label {bad[0]!r}"
        if len(metric.series) >= MOST_LABEL_SETS:
            if not metric.is_full:
                metric.is_full = True
                self._logger.error(
                    "metrics.too_many_label_sets",
                    metric=metric.name,
                    limit=MOST_LABEL_SETS,
                    problem='the labels of what comes beyond are replaced by overflow="true"',
                )
            key = _OVERFLOW
        zeros: list[float] = [0] * (len(metric.bounds) + 2 if metric.bounds else 1)
        return metric.series.setdefault(key, zeros), None

    @staticmethod
    def _change(metric: _Metric, values: list[float], number: float) -> None:
        if metric.type == "gauge":
            values[0] = number
            return
        if metric.type == "histogram":
            values[bisect_left(metric.bounds, number)] += 1
        values[-1] += number

    def _report(self, name: str, problem: str) -> None:
        """Write one line for each metric and problem, and not without end where names come from clients."""
        report = (str(name), problem)
        if report not in self._reported and len(self._reported) < _MOST_REPORTS:
            self._reported.add(report)
            self._logger.error("metrics.not_recorded", metric=name, problem=problem)


def _is_label(name: str, kind: _Type) -> bool:
    return bool(_LABEL_NAME.fullmatch(name)) and name != _RESERVED_LABELS.get(kind)
