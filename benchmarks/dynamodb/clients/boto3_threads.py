"""boto3, each call in a worker thread, as an asyncio program has to use it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

from dynamodb.clients.measured import Client, main
from dynamodb.items import CONNECTIONS, REGION, TABLE, VALUE, key


@contextlib.asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    """Make the client and its threads."""
    config = Config(max_pool_connections=CONNECTIONS)
    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint, config=config)
    loop = asyncio.get_running_loop()

    def get(number: int) -> str:
        reply = client.get_item(TableName=TABLE, Key={"pk": {"S": key(number)}}, ConsistentRead=True)
        return reply["Item"]["value"]["S"]

    def put(number: int) -> None:
        client.put_item(TableName=TABLE, Item={"pk": {"S": key(number)}, "value": {"S": VALUE}})

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        yield Client(
            get=lambda number: loop.run_in_executor(threads, get, number),
            put=lambda number: loop.run_in_executor(threads, put, number),
        )


if __name__ == "__main__":
    main(opened)
