"""aiodynamo on aiohttp."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiodynamo.client
import aiohttp
from aiodynamo.credentials import Credentials
from aiodynamo.http.aiohttp import AIOHTTP
from yarl import URL

from dynamodb.clients.measured import Client, main
from dynamodb.items import CONNECTIONS, REGION, TABLE, VALUE, key


@contextlib.asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    """Make the HTTP session and the client."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        client = aiodynamo.client.Client(AIOHTTP(session), Credentials.auto(), REGION, URL(endpoint))
        table = client.table(TABLE)

        async def get(number: int) -> Any:
            item = await table.get_item({"pk": key(number)}, consistent_read=True)
            return item["value"]

        async def put(number: int) -> None:
            await table.put_item({"pk": key(number), "value": VALUE})

        yield Client(get, put)


if __name__ == "__main__":
    main(opened)
