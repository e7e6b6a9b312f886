"""The driver: a key-value store's verbs, and the life of what carries them."""

import asyncio
from functools import partial
from typing import Any, Protocol, Self

import boto3

from ._boto3 import Boto3Transport
from ._errors import DynamoDBError, closed, not_connected
from ._item import Layout
from ._options import Options
from ._retry import Retry, RetryPolicy
from ._table import ensure_table
from ._transport import Transport

_HEALTH_TIMEOUT = 1.0


class EventLogger(Protocol):
    """What the driver needs of a logger: structlog's way to say an event with its fields."""

    def warning(self, event: str, /, **fields: Any) -> Any:
        """Log an event that somebody may want to look at."""


class DynamoDB:
    """Keep string values under string keys in one DynamoDB table.

    ``region`` None takes the AWS configuration's; an empty ``endpoint`` means AWS. Timeouts are in seconds:
    ``connect_timeout`` and ``read_timeout`` bound one attempt, ``total_timeout`` a call with its retries.
    ``create_table`` makes a missing table at connect, for development. ``consistent_reads`` is on, so that a
    reader sees every acknowledged write. ``health_key`` is what health reads; it need not exist. ``session``
    is a boto3.Session to use instead of the default credential chain.

    Every failure is a DynamoDBError. Set and delete are last-write-wins: after a lost reply they are sent
    again, and a late first attempt may land after later calls. An instance serves one event loop at a time.
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
        health_key: str = "kvik:health",
        max_connections: int = 32,
        connect_timeout: float = 1.0,
        read_timeout: float = 2.0,
        total_timeout: float = 5.0,
        session: boto3.Session | None = None,
    ) -> None:
        self._options = Options(
            table=table,
            region=region,
            endpoint=endpoint,
            partition_key_name=partition_key_name,
            create_table=create_table,
            consistent_reads=consistent_reads,
            health_key=health_key,
            max_connections=max_connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            total_timeout=total_timeout,
            session=session,
        )
        self._layout = Layout(table, partition_key_name)
        self.limits = self._layout.limits
        self.trace_attributes = {"db.system.name": "aws.dynamodb", "db.collection.name": table}
        self._retries = RetryPolicy()
        self._transport: Transport | None = None
        self._closed = False
        self._connecting = asyncio.Lock()
        self._logger: EventLogger | None = None

    def __repr__(self) -> str:
        return f"DynamoDB({self._options.summary()})"

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
        """Log retries as ``dynamodb.retry`` with fields, in structlog's way."""
        self._logger = logger

    async def connect(self) -> None:
        """Make the client, create the table if that was asked for, and verify both by a read.

        Raises DynamoDBError saying what is wrong. The client stays, so that calls work as soon as the server
        does; calling again does what is still missing.
        """
        self._closed = False
        async with self._connecting:
            if self._closed:  # while this waited
                raise closed(self._options.target)
            self._transport = self._transport or Boto3Transport(self._options)
            await self._transport.open(within=self._options.total_timeout)
            try:
                await self._verify()
            except DynamoDBError as error:
                if not self._options.create_table or error.cause != "no such table":
                    raise
                await ensure_table(
                    partial(self._call, write=True), self._options.table, self._options.partition_key_name
                )
                await self._verify()

    async def close(self) -> None:
        """Refuse further calls and give back threads and connections.

        Waits for calls under way, at most connect_timeout + read_timeout; closing again does nothing.
        """
        transport, self._transport = self._transport, None
        self._closed = True
        self._connecting = asyncio.Lock()  # the next connect may run on another event loop
        if transport is not None:
            await transport.close()

    async def get(self, key: str) -> str | None:
        """Give the value stored under a key, None if there is none.

        Raises DynamoDBError: ``invalid_key``; ``corrupt`` if what is stored is no string; a failure's code.
        """
        payload = self._layout.get(key, consistent=self._options.consistent_reads)
        return self._layout.value_of(await self._call("GetItem", payload, write=False))

    async def set(self, key: str, value: str) -> None:
        """Store a value under a key, replacing what was there.

        Raises DynamoDBError: ``invalid_key``, ``invalid_value``, ``value_too_large``; a failure's code, whose
        ``outcome`` says whether the value may have been stored.
        """
        await self._call("PutItem", self._layout.put(key, value), write=True)

    async def delete(self, key: str) -> None:
        """Remove a key; a missing one is fine.

        Raises DynamoDBError: ``invalid_key``; a failure's code, whose ``outcome`` says if it may be gone.
        """
        await self._call("DeleteItem", self._layout.delete(key), write=True)

    async def health_check(self) -> dict[str, Any]:
        """Read the health key once, within a second, on a connection of its own; never raises.

        The details name table and region; when DOWN, ``error`` is the class of the cause. A throttled table
        is UP with ``throttled``, since taking the process out of rotation would not help it.
        """
        status = "UP"
        finding: dict[str, Any] = {}
        try:
            await self._probe(within=_HEALTH_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - health reports what it finds, whatever that is
            if getattr(error, "code", None) == "throttled":
                finding = {"throttled": True}
            else:
                status, finding = "DOWN", {"error": getattr(error, "cause", "other")}
        region = self._options.region or (self._transport and self._transport.region)
        return {"status": status, "details": {"table": self._options.table, "region": region, **finding}}

    async def _probe(self, *, within: float) -> None:
        payload = self._layout.probe(self._options.health_key)
        await self._ready().call("GetItem", payload, within=within, reserved=True)

    async def _verify(self) -> None:
        await self._retries.run(
            lambda left: self._probe(within=left),
            total=self._options.total_timeout,
            write=False,
            on_retry=partial(self._log_retry, "connect"),
        )

    async def _call(self, operation: str, payload: dict[str, Any], *, write: bool) -> dict[str, Any]:
        return await self._retries.run(
            lambda left: self._ready().call(operation, payload, within=left),
            total=self._options.total_timeout,
            write=write,
            on_retry=partial(self._log_retry, operation),
        )

    def _ready(self) -> Transport:
        if self._transport is None:
            raise (closed if self._closed else not_connected)(self._options.target)
        return self._transport

    def _log_retry(self, operation: str, retry: Retry) -> None:
        if self._logger is not None:
            self._logger.warning(
                "dynamodb.retry",
                operation=operation,
                table=self._options.table,
                attempt=retry.attempt,
                code=retry.error.code,
                reason=retry.error.reason,
                pause_ms=round(retry.pause * 1000),
            )
