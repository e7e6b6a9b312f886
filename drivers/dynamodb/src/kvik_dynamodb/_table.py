"""The table: whether it is there and as configured, and its creation for development.

Nothing else touches DynamoDB's control plane.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ._errors import DynamoDBError
from ._item import Layout
from ._operations import Operations
from ._options import Options
from ._requests import Requests

_LONGEST_WAIT = 30.0  # seconds; AWS takes about ten, local servers none
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0

Call: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Table:
    """Look at the table through the smallest of reads, on the lane that ordinary calls cannot fill."""

    def __init__(self, options: Options, requests: Requests, operations: Operations) -> None:
        self._options = options
        self._operations = operations
        self._layout = requests.layout
        self._probe = requests.probe(options.health_key)

    async def probe(self, *, within: float) -> None:
        """Read the health key once."""
        deadline = asyncio.get_running_loop().time() + within
        await self._operations.connection.transport().call("GetItem", self._probe, deadline, reserved=True)

    async def prepare(self) -> None:
        """Verify that calls will work; create a missing table if that was asked for."""
        try:
            await self._verify()
        except DynamoDBError as error:
            if not self._options.create_table or error.cause != "no such table":
                raise
            await ensure_table(self._administer, self._layout)
            await self._verify()

    async def _verify(self) -> None:
        await self._operations.start().read("GetItem", self._probe, reserved=True)

    async def _administer(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._operations.start().write(name, payload)


async def ensure_table(call: Call, layout: Layout) -> None:
    """Create the table on demand unless it is there, and return when it is ACTIVE and sweeps expired items.

    Another process may create, or still be deleting, the same table meanwhile. Raises DynamoDBError, after
    30 seconds with code ``deadline_exceeded``.
    """
    try:
        async with asyncio.timeout(_LONGEST_WAIT):
            await _create_and_wait(call, layout)
            await _turn_sweeper_on(call, layout)
    except TimeoutError:
        raise DynamoDBError(
            f"table {layout.table!r} was not ACTIVE within {_LONGEST_WAIT:.0f} s: look at its status,"
            " and connect again",
            code="deadline_exceeded",
            cause="timeout",
            retryable=True,
        ) from None


async def _create_and_wait(call: Call, layout: Layout) -> None:
    pause = _FIRST_PAUSE
    while (status := await _status(call, layout.table)) != "ACTIVE":
        if status is None:
            await _create(call, layout)
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


async def _status(call: Call, table: str) -> str | None:
    try:
        reply = await call("DescribeTable", {"TableName": table})
    except DynamoDBError as error:
        if error.cause == "no such table":
            return None
        raise
    return str(reply["Table"]["TableStatus"])


async def _create(call: Call, layout: Layout) -> None:
    partition_key_name = layout.partition_key_name
    payload = {
        "TableName": layout.table,
        "AttributeDefinitions": [{"AttributeName": partition_key_name, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": partition_key_name, "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    try:
        await call("CreateTable", payload)
    except DynamoDBError as error:
        if error.reason != "ResourceInUseException":  # somebody else was faster, which serves as well
            raise


async def _turn_sweeper_on(call: Call, layout: Layout) -> None:
    wanted = {"Enabled": True, "AttributeName": layout.ttl_attribute}
    try:
        await call("UpdateTimeToLive", {"TableName": layout.table, "TimeToLiveSpecification": wanted})
    except DynamoDBError as error:
        # Where it is on already, DynamoDB refuses, in words only; whoever was faster serves as well.
        if error.cause != "request refused" or not await _sweeper_is_on(call, layout):
            raise


async def _sweeper_is_on(call: Call, layout: Layout) -> bool:
    found = (await call("DescribeTimeToLive", {"TableName": layout.table}))["TimeToLiveDescription"]
    on = found["TimeToLiveStatus"] in {"ENABLING", "ENABLED"}
    return on and found.get("AttributeName") == layout.ttl_attribute
