"""aioboto3: boto3's interface on aiohttp, by aiobotocore."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aioboto3
from botocore.config import Config

from dynamodb.clients.measured import Client, main
from dynamodb.items import CONNECTIONS, REGION, TABLE, VALUE, key


@contextlib.asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    """Make the client."""
    config = Config(max_pool_connections=CONNECTIONS)
    session = aioboto3.Session(region_name=REGION)
    async with session.client("dynamodb", endpoint_url=endpoint, config=config) as client:

        async def get(number: int) -> Any:
            reply = await client.get_item(TableName=TABLE, Key={"pk": {"S": key(number)}}, ConsistentRead=True)
            return reply["Item"]["value"]["S"]

        async def put(number: int) -> None:
            await client.put_item(TableName=TABLE, Item={"pk": {"S": key(number)}, "value": {"S": VALUE}})

        yield Client(get, put)


if __name__ == "__main__":
    main(opened)
