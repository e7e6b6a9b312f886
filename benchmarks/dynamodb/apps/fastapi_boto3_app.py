"""FastAPI with boto3 in a `def` handler, which FastAPI runs in a thread, as most services do it."""

import json
import os

import boto3
from botocore.config import Config
from fastapi import FastAPI

from dynamodb.items import CONNECTIONS, REGION, TABLE
from under_uvicorn import serve

app = FastAPI()
client = boto3.client(
    "dynamodb",
    region_name=REGION,
    endpoint_url=os.environ["BENCH_ENDPOINT"],
    config=Config(max_pool_connections=CONNECTIONS),
)


@app.get("/values/{key}")
def stored(key: str) -> dict[str, object]:
    """Answer what is stored under a key."""
    reply = client.get_item(TableName=TABLE, Key={"pk": {"S": key}}, ConsistentRead=True)
    return {"data": json.loads(reply["Item"]["value"]["S"])}


if __name__ == "__main__":
    serve(app)
