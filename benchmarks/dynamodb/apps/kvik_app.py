"""Kvik under `app.run()`, batteries on; BENCH_TRANSPORT names the driver's transport."""

import os
from typing import Any

from dynamodb.items import CONNECTIONS, REGION, TABLE
from kvik import App, Context, from_json
from kvik_dynamodb import DynamoDB

app = App()
_options: dict[str, Any] = {"transport": os.environ["BENCH_TRANSPORT"], "max_connections": CONNECTIONS}
app.add_kv_store(DynamoDB(TABLE, REGION, os.environ["BENCH_ENDPOINT"], **_options))


@app.get("/values/{key}")
async def stored(ctx: Context) -> object:
    """Answer what is stored under a key."""
    return from_json(await ctx.kv_store.get(ctx.path_param("key")))


if __name__ == "__main__":
    app.run()
