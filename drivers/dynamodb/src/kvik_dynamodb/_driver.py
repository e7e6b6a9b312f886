"""The driver: a key-value store's verbs, each done in a room of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ._batches import Batches
from ._conditional import ConditionalWrites
from ._connection import Connection
from ._counters import Counters
from ._errors import Versioned
from ._events import EventLogger, EventMetrics, Events
from ._health import check_health
from ._item import Layout, new_token
from ._operations import Operations
from ._options import Options, TransportName
from ._reads import Reads
from ._requests import Requests
from ._scans import Scans
from ._table import Table

if TYPE_CHECKING:
    import boto3


class DynamoDB:
    """Keep string values under string keys in one DynamoDB table.

    ``region`` None takes the AWS configuration's; an empty ``endpoint`` means AWS. Timeouts are in seconds:
    ``connect_timeout`` bounds connecting, ``read_timeout`` a silence, ``total_timeout`` a call with its retries.
    ``create_table`` makes a missing table at connect, for development. ``consistent_reads`` is on, so that a
    reader sees every acknowledged write. ``ttl_attribute`` is the one that the table's TTL is set to.
    ``health_key`` is what health reads; it need not exist. ``session`` is a boto3.Session to use instead of
    the default credential chain.

    ``limits`` says what fits. ``clock`` gives the time by which keys expire, in seconds since the epoch; a
    test may replace it.

    Every failure is a DynamoDBError, and so is a wrong key or value: ``invalid_key``, ``invalid_value``,
    ``value_too_large``. ``corrupt``: another program stored no string. Of a write ``outcome`` says whether it
    may have happened. Unconditional writes are last-write-wins: after a lost reply they are sent again, and a
    late first attempt may land after later calls. An instance serves the event loop on which connect() was
    awaited last.
    """

    def __init__(  # noqa: PLR0913 - each is one documented option, all but four by keyword
        self,
        table: str,
        region: str | None = None,
        endpoint: str = "",
        partition_key_name: str = "pk",
        *,
        create_table: bool = False,
        consistent_reads: bool = True,
        ttl_attribute: str = "expires_at",
        health_key: str = "kvik:health",
        max_connections: int = 32,
        connect_timeout: float = 1.0,
        read_timeout: float = 2.0,
        total_timeout: float = 5.0,
        transport: TransportName = "auto",
        batch_reads: bool = False,
        report_capacity: bool = False,
        session: "boto3.Session | None" = None,
    ) -> None:
        self._options = Options(
            table=table,
            region=region,
            endpoint=endpoint,
            partition_key_name=partition_key_name,
            ttl_attribute=ttl_attribute,
            create_table=create_table,
            consistent_reads=consistent_reads,
            health_key=health_key,
            max_connections=max_connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            total_timeout=total_timeout,
            transport=transport,
            batch_reads=batch_reads,
            report_capacity=report_capacity,
            session=session,
        )
        self._layout = Layout(table, partition_key_name, ttl_attribute)
        self.limits = self._layout.limits
        self.clock: Callable[[], float] = time.time
        self.trace_attributes = {"db.system.name": "aws.dynamodb", "db.collection.name": table}
        self._furnish()

    def _furnish(self) -> None:
        options, target = self._options, self._options.target
        self._events = Events(options.table)
        self._requests = Requests(self._layout, report_capacity=options.report_capacity)
        self._connection = Connection(options, self._events)
        self._operations = Operations(options, self._connection, self._events)
        self._table = Table(options, self._requests, self._operations)
        self._writes = ConditionalWrites(self._requests, target, self._now)
        self._counters = Counters(self._writes, target)
        self._batches = Batches(self._requests, target, self._now, consistent=options.consistent_reads)
        self._reads = Reads(
            self._requests,
            self._batches,
            self._now,
            consistent=options.consistent_reads,
            together=options.batch_reads,
        )
        self._scans = Scans(self._requests, self._now, consistent=options.consistent_reads)

    def __repr__(self) -> str:
        return f"DynamoDB({self._options.summary()})"

    # Lifecycle and hooks

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def use_logger(self, logger: EventLogger) -> None:
        """Log retries, new connections and what the driver had to correct, in structlog's way."""
        self._events.logger = logger

    def use_metrics(self, metrics: EventMetrics) -> None:
        """Count retries, throttles, connections, waits for one, and with report_capacity the units used."""
        self._events.use_metrics(metrics)

    def use_deadline(self, remaining: Callable[[], float | None]) -> None:
        """Ask once per call for the seconds that the caller has left, None: no limit of its own."""
        self._operations.remaining = remaining

    async def connect(self) -> None:
        """Make the client, create the table if that was asked for, and verify both by a read.

        Raises DynamoDBError saying what is wrong. The client stays, so that calls work as soon as the server
        does; calling again does what is still missing. On another event loop it begins anew, and calls on the
        one before are refused.
        """
        if not self._connection.serves_this_loop:
            self._reads.begin_anew()
            self._counters.begin_anew()
        await self._connection.open(self._table.prepare)

    async def close(self) -> None:
        """Refuse further calls and give back threads and connections.

        Waits for calls under way, at most connect_timeout + read_timeout; closing again does nothing.
        """
        await self._connection.close()

    async def health_check(self) -> dict[str, Any]:
        """Read the health key on a connection of its own, within a second and a half; never raises.

        The details name table and region; when DOWN, ``error`` is the class of the cause. A throttled table
        is UP with ``throttled``, since taking the process out of rotation would not help it.
        """
        status, finding = await check_health(self._table.probe)
        details = {"table": self._options.table, "region": self._connection.region, **finding}
        return {"status": status, "details": details}

    # Values

    async def get(self, key: str) -> str | None:
        """Give the value stored under a key, None if there is none or it has expired."""
        return await self._reads.get(self._operations.begin(), key)

    async def set(self, key: str, value: str) -> None:
        """Store a value under a key for good, replacing what was there."""
        operation = self._operations.begin()
        await operation.write("PutItem", self._requests.put(self._layout.item(key, value, new_token())))

    async def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        """Store a value until then, in seconds since the epoch; what was there is replaced."""
        operation = self._operations.begin()
        item = self._layout.item(key, value, new_token(), self._layout.end(expires_at, self._now()))
        await operation.write("PutItem", self._requests.put(item))

    async def delete(self, key: str) -> None:
        """Remove a key; a missing one is fine."""
        operation = self._operations.begin()
        await operation.write("DeleteItem", self._requests.delete(key))

    # Versions

    async def get_versioned(self, key: str) -> Versioned | None:
        """Give value, version and expiry, None if there is nothing; always strongly consistent."""
        return await self._writes.get_versioned(self._operations.begin(), key)

    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        """Store a value if the key has this version, None: if it is absent; give the new version.

        Raises DynamoDBError with code ``conflict`` and what is ``current``; its ``outcome`` is ``unknown``
        if a reply was lost and somebody else has written since.
        """
        return await self._writes.set_if(
            self._operations.begin(), key, value, version=version, expires_at=expires_at
        )

    async def delete_if(self, key: str, version: str) -> None:
        """Remove a key that has this version; else, or if it is missing, a conflict as of set_if."""
        await self._writes.delete_if(self._operations.begin(), key, version)

    # Counters

    async def increment(self, key: str, delta: int) -> int:
        """Add to the number under a key, 0 if there is none, keep its expiry, and give the sum.

        Raises DynamoDBError: ``invalid_value`` where there is no number, or the sum has more than 64 bits;
        ``throttled`` with the reason ``contention`` if others were faster until the time was over.
        """
        return await self._counters.increment(self._operations.begin(), key, delta)

    # Batches

    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Give the values of those keys that are there.

        Raises DynamoDBError with code ``partial_failure``, ``results`` and ``errors`` if some keys failed;
        the error itself if all did.
        """
        return await self._batches.get_many(self._operations.begin(), keys)

    async def set_many(self, items: Mapping[str, str], expires_at: float | None = None) -> None:
        """Store values, each by itself; a failure is as of get_many, with the keys written as ``results``."""
        await self._batches.set_many(self._operations.begin(), items, expires_at)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Remove keys, each by itself; a failure is as of get_many, with the keys removed as ``results``."""
        await self._batches.delete_many(self._operations.begin(), keys)

    # Scan

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Give at most ``limit`` keys that begin so, and the cursor of the next page, None after the last.

        All pages together read the whole table, whatever the prefix, and AWS charges for that: the rarer such keys
        are, the more a page reads. A page may be empty and still have a next one. Raises DynamoDBError with code
        ``invalid_value`` for a cursor that is none of this table's.
        """
        return await self._scans.page(self._operations.begin(), prefix, cursor, limit)

    def _now(self) -> float:
        return self.clock()
