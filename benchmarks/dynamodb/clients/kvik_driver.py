"""Kvik's driver, without the framework; BENCH_TRANSPORT names its transport."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from dynamodb.clients.measured import Client, main
from dynamodb.items import CONNECTIONS, REGION, TABLE, VALUE, key
from kvik_dynamodb import DynamoDB


@contextlib.asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    """Make the driver and connect it."""
    options: dict[str, Any] = {"transport": os.environ["BENCH_TRANSPORT"], "max_connections": CONNECTIONS}
    async with DynamoDB(TABLE, REGION, endpoint, **options) as db:
        yield Client(get=lambda number: db.get(key(number)), put=lambda number: db.set(key(number), VALUE))


if __name__ == "__main__":
    main(opened)
