"""The stores that the tests here compare, each connected and in its own empty storage."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from kvik import KV, MemoryStore
from kvik_dynamodb import DynamoDB
from kvik_sqlite import SQLite

STORES = ["memory", "sqlite", "wire", "boto3"]
"""The drivers, DynamoDB's by its two transports."""

_PATIENT: dict[str, Any] = {"connect_timeout": 10.0, "read_timeout": 10.0, "total_timeout": 30.0}

Maker: TypeAlias = Callable[[str], KV]


@pytest.fixture
def make_store(tmp_path: Path, dynamodb_endpoint: str, table_name: str) -> Maker:
    """Return a function that makes a store by its name, not connected."""

    def dynamodb(**options: Any) -> DynamoDB:
        table = f"{table_name}-{options['transport']}"
        return DynamoDB(table, "eu-west-1", dynamodb_endpoint, create_table=True, **_PATIENT, **options)

    makers: dict[str, Callable[[], Any]] = {
        "memory": MemoryStore,
        "sqlite": lambda: SQLite(tmp_path / "kv.db"),
        "wire": lambda: dynamodb(transport="wire", batch_reads=True),
        "boto3": lambda: dynamodb(transport="boto3"),
    }
    return lambda name: KV(makers[name]())


@pytest.fixture(params=STORES)
async def kv(request: pytest.FixtureRequest, make_store: Maker) -> AsyncIterator[KV]:
    """Return each store in turn, connected."""
    store = make_store(request.param)
    await store.connect()
    yield store
    await store.close()


@pytest.fixture
async def stores(make_store: Maker) -> AsyncIterator[dict[str, KV]]:
    """Return all stores by name, connected."""
    stores = {name: make_store(name) for name in STORES}
    async with AsyncExitStack() as stack:
        for store in stores.values():
            await store.connect()
            stack.push_async_callback(store.close)
        yield stores
