"""py-key-value's DynamoDBStore, in a table of its own layout; it reads with eventual consistency."""

import contextlib
import warnings
from collections.abc import AsyncIterator
from typing import Any

from key_value.aio.stores.dynamodb import DynamoDBStore

from dynamodb.clients.measured import Client, main
from dynamodb.items import KEYS, REGION, VALUE, key


@contextlib.asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    """Make the store, and fill it the first time."""
    warnings.simplefilter("ignore", UserWarning)  # it calls itself unstable, each time
    async with DynamoDBStore(table_name="py-key-value", region_name=REGION, endpoint_url=endpoint) as store:

        async def get(number: int) -> Any:
            return (await store.get(key(number)))["value"]

        async def put(number: int) -> None:
            await store.put(key(number), {"value": VALUE})

        if await store.get(key(KEYS - 1)) is None:
            for number in range(KEYS):
                await put(number)
        yield Client(get, put)


if __name__ == "__main__":
    main(opened)
