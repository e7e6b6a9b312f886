"""What the driver tells about itself: events for a logger, figures for metrics; neither holds a key or a value."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from ._errors import DynamoDBError

_RETRIES: Final = "dynamodb_retries"
_THROTTLES: Final = "dynamodb_throttles"
_CONNECTIONS: Final = "dynamodb_connections"
_POOL_WAITS: Final = "dynamodb_pool_wait_seconds"
_CAPACITY: Final = "dynamodb_consumed_capacity_units"

_UNITS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0)


class EventLogger(Protocol):
    """What the driver needs of a logger: structlog's way to say an event with its fields."""

    def warning(self, event: str, /, **fields: Any) -> Any:
        """Log an event that somebody may want to look at."""

    def debug(self, event: str, /, **fields: Any) -> Any:
        """Log an event that explains what happened."""


class EventMetrics(Protocol):
    """What the driver needs of metrics: those of Kvik, or of whoever has the same methods."""

    def new_counter(self, name: str, description: str) -> None:
        """Declare a counter; declaring the same one again changes nothing."""

    def new_histogram(self, name: str, description: str, *buckets: float) -> None:
        """Declare a histogram, with the upper bounds of its buckets."""

    def increment_counter(self, name: str, /, **labels: object) -> None:
        """Add 1, under these labels."""

    def record_histogram(self, name: str, value: float, /, **labels: object) -> None:
        """Count a value, under these labels."""


class Events:
    """Tell logger and metrics, as far as somebody gave them; every event names the table."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.logger: EventLogger | None = None
        self._metrics: EventMetrics | None = None

    def use_metrics(self, metrics: EventMetrics) -> None:
        """Declare what is counted, and count it from now on."""
        metrics.new_counter(_RETRIES, "Requests to DynamoDB that were sent again.")
        metrics.new_counter(_THROTTLES, "Replies of DynamoDB that refused a request for its load.")
        metrics.new_counter(_CONNECTIONS, "Connections opened to DynamoDB, by what made them necessary.")
        metrics.new_histogram(_POOL_WAITS, "Seconds that requests waited for a connection, where they had to.")
        metrics.new_histogram(_CAPACITY, "Capacity units that requests consumed.", *_UNITS)
        self._metrics = metrics

    def retried(self, operation: str, attempt: int, pause: float, error: DynamoDBError) -> None:
        """Tell of a request that is sent again after so many seconds."""
        pause_ms = round(pause * 1000)
        what = {"operation": operation, "code": error.code, "reason": error.reason}
        self.warning("dynamodb.retry", **what, attempt=attempt, pause_ms=pause_ms)
        self._count(_RETRIES, **what)

    def throttled(self, operation: str, error: DynamoDBError) -> None:
        """Tell of a refusal for load, whether or not the request is sent again."""
        self._count(_THROTTLES, operation=operation, reason=error.reason)

    def connected(self, reason: str) -> None:
        """Tell of a new connection: ``demand``, or ``stale`` in place of one that was found dead."""
        if self.logger is not None:
            self.logger.debug("dynamodb.connect", table=self._table, reason=reason)
        self._count(_CONNECTIONS, reason=reason)

    def waited(self, seconds: float) -> None:
        """Tell of a request for which every connection was busy."""
        if self._metrics is not None:
            self._metrics.record_histogram(_POOL_WAITS, seconds, table=self._table)

    def consumed(self, operation: str, reply: Mapping[str, Any]) -> None:
        """Tell what a reply says of the capacity it took."""
        told = reply.get("ConsumedCapacity")
        if self._metrics is None or not told:
            return
        try:
            units = sum(each["CapacityUnits"] for each in (told if isinstance(told, list) else [told]))
        except (LookupError, TypeError):  # no figure is no reason to fail
            return
        self._metrics.record_histogram(_CAPACITY, units, table=self._table, operation=operation)

    def credentials_not_renewed(self, error: str) -> None:
        """Tell that credentials could not be renewed early; those that are there still work."""
        self.warning("dynamodb.credentials_not_renewed", error=error)

    def setting_replaced(self, setting: str, instead: str) -> None:
        """Tell of an AWS setting that is set in vain."""
        self.warning("dynamodb.setting_not_used", setting=setting, reason=instead)

    def warning(self, event: str, **fields: Any) -> None:
        """Log an event that somebody may want to look at."""
        if self.logger is not None:
            self.logger.warning(event, table=self._table, **fields)

    def _count(self, name: str, **labels: object) -> None:
        if self._metrics is not None:
            self._metrics.increment_counter(name, table=self._table, **labels)
