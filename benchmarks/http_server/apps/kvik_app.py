"""Kvik, configured by its environment; BENCH_SQLITE names the file of its store, without which it has none.

As a program it is what `app.run()` serves; with BENCH_UVICORN=1 it is an ASGI application like the peers'.
"""

import os

from http_server.exchange import GREETING, KEYS, Person, digest, summary
from kvik import App, Context, from_json, to_json
from kvik_sqlite import SQLite
from under_uvicorn import serve

app = App()
_DATABASE = os.environ.get("BENCH_SQLITE")

if _DATABASE:
    app.add_kv_store(SQLite(_DATABASE))

    @app.on_start
    async def fill(ctx: Context) -> None:
        """Store what is going to be read."""
        await ctx.kv_store.set_many({f"key-{number}": to_json(GREETING) for number in range(KEYS)})


@app.get("/greeting")
async def greeting(_: Context) -> dict[str, object]:
    """Answer one small JSON value."""
    return GREETING


@app.get("/digest")
async def work(_: Context) -> dict[str, object]:
    """Answer what takes a millisecond to find."""
    return digest()


@app.post("/people")
async def add_person(ctx: Context) -> dict[str, object]:
    """Bind the body, and answer a part of it."""
    return summary(await ctx.bind(Person))


@app.get("/values/{key}")
async def stored(ctx: Context) -> object:
    """Answer what is stored under a key."""
    return from_json(await ctx.kv_store.get(ctx.path_param("key")))


if __name__ == "__main__":
    if os.environ.get("BENCH_UVICORN") == "1":
        serve(app)
    else:
        app.run()
