"""Creation of the table, for development: nothing else touches DynamoDB's control plane."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ._errors import DynamoDBError

_LONGEST_WAIT = 30.0  # seconds; AWS takes about ten, local servers none
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0

Call: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def ensure_table(call: Call, table: str, partition_key_name: str) -> None:
    """Create the table on demand unless it is there, and return when it is ACTIVE.

    Another process may create, or still be deleting, the same table meanwhile. Raises DynamoDBError, after
    30 seconds with code ``deadline_exceeded``.
    """
    try:
        async with asyncio.timeout(_LONGEST_WAIT):
            await _create_and_wait(call, table, partition_key_name)
    except TimeoutError:
        raise DynamoDBError(
            f"table {table!r} was not ACTIVE within {_LONGEST_WAIT:.0f} s: look at its status, connect again",
            code="deadline_exceeded",
            cause="timeout",
            retryable=True,
        ) from None


async def _create_and_wait(call: Call, table: str, partition_key_name: str) -> None:
    pause = _FIRST_PAUSE
    while (status := await _status(call, table)) != "ACTIVE":
        if status is None:
            await _create(call, table, partition_key_name)
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


async def _create(call: Call, table: str, partition_key_name: str) -> None:
    payload = {
        "TableName": table,
        "AttributeDefinitions": [{"AttributeName": partition_key_name, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": partition_key_name, "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    try:
        await call("CreateTable", payload)
    except DynamoDBError as error:
        if error.reason != "ResourceInUseException":  # somebody else was faster, which serves as well
            raise
