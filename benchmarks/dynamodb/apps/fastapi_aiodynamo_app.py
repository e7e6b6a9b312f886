"""FastAPI with aiodynamo on aiohttp."""

import contextlib
import json
import os
from collections.abc import AsyncIterator

import aiohttp
from aiodynamo.client import Client
from aiodynamo.credentials import Credentials
from aiodynamo.http.aiohttp import AIOHTTP
from fastapi import FastAPI
from yarl import URL

from dynamodb.items import CONNECTIONS, REGION, TABLE
from under_uvicorn import serve


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the HTTP session for as long as the app runs."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        client = Client(AIOHTTP(session), Credentials.auto(), REGION, URL(os.environ["BENCH_ENDPOINT"]))
        app.state.table = client.table(TABLE)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/values/{key}")
async def stored(key: str) -> dict[str, object]:
    """Answer what is stored under a key."""
    item = await app.state.table.get_item({"pk": key}, consistent_read=True)
    return {"data": json.loads(item["value"])}


if __name__ == "__main__":
    serve(app)
