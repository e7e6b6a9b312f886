import time
from datetime import UTC, datetime
from typing import Any

from kvik import App, Context, Health, HTTPError, KVStore, from_json, to_json
from kvik_dynamodb import DynamoDB
from kvik_sqlite import SQLite

app = App()


def open_store() -> KVStore:
    table = app.config.get("DYNAMODB_TABLE")
    if not table:
        return SQLite(app.config.get_or_default("SQLITE_PATH", "kvik.db"))
    endpoint = app.config.get_or_default("DYNAMODB_ENDPOINT", "")
    return DynamoDB(
        table=table,
        region=app.config.get_or_default("DYNAMODB_REGION", "us-east-1"),
        endpoint=endpoint,  # empty for AWS; set for DynamoDB Local
        partition_key_name="pk",
        create_table=bool(endpoint),  # on AWS the table is yours to make
    )


app.add_kv_store(open_store())


@app.post("/dynamodb")
async def set_data(ctx: Context) -> dict[str, str]:
    key = ctx.param("key") or "default-key"
    value = {
        "name": "John Doe",
        "email": "john@example.com",
        "created": int(time.time()),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    await ctx.kv_store.set(key, to_json(value))
    ctx.logger.info("data.stored")
    return {"status": "data stored", "key": key}


@app.get("/dynamodb/{key}")
async def get_data(ctx: Context) -> Any:
    key = ctx.path_param("key")
    if not key:
        raise HTTPError(400, "key parameter is required")
    value = await ctx.kv_store.get(key)  # a missing key is a 404 by itself
    ctx.logger.info("data.retrieved")
    return from_json(value)


@app.delete("/dynamodb/{key}")
async def delete_data(ctx: Context) -> dict[str, str]:
    key = ctx.path_param("key")
    await ctx.kv_store.delete(key)
    ctx.logger.info("data.deleted")
    return {"status": "data deleted", "key": key}


@app.get("/health")
async def health_check(ctx: Context) -> Health:
    return await ctx.kv_store.health_check()


if __name__ == "__main__":
    app.run()
