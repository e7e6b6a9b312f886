"""What never stands in a log: credentials, and above DEBUG keys, values, bodies and query strings."""

import re
from pathlib import Path

import pytest

from support import program

SECRETS = {
    "header": "Bearer s3cret-authorization",
    "cookie": "s3cret-cookie",
    "query": "s3cret-query",
    "key": "s3cret-key",
    "value": "s3cret-value",
    "body": "s3cret-body",
    "env": "s3cret-environment",
}

SQLITE = """
from kvik import App
from kvik_sqlite import SQLite

app = App()
app.add_kv_store(SQLite("app.db"))

@app.post("/save")
async def save(ctx):
    await ctx.body()
    await ctx.kv_store.set(ctx.header("x-key"), ctx.header("x-value"))

@app.get("/read")
async def read(ctx):
    return await ctx.kv_store.get(ctx.header("x-key") + "-missing")

@app.get("/long")
async def long(ctx):
    await ctx.kv_store.get(ctx.header("x-key") * 1000)

@app.post("/bind")
async def bind(ctx):
    return await ctx.bind(dict)

@app.get("/broken")
async def broken(ctx):
    key, value = ctx.header("x-key"), ctx.header("x-value")
    raise RuntimeError("broken")

app.run()
"""

DYNAMODB = """
from kvik import App
from kvik_dynamodb import DynamoDB
import os

app = App()
app.add_kv_store(DynamoDB(table=os.environ["TABLE"], endpoint=os.environ["ENDPOINT"], region="us-east-1",
                          partition_key_name="pk", create_table=True))

@app.post("/save")
async def save(ctx):
    await ctx.kv_store.set(ctx.header("x-key"), ctx.header("x-value"))

app.run()
"""


def _found(output: str) -> list[str]:
    return re.findall(r"s3cret-\w+", output)


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_no_secret_is_in_the_log(level: str, tmp_path: Path) -> None:
    """Whatever a request carries, and however it fails, nothing of it is logged but its path; nor at DEBUG."""
    main = tmp_path / "main.py"
    main.write_text(SQLITE)
    headers = {
        "authorization": SECRETS["header"],
        "cookie": f"session={SECRETS['cookie']}",
        "x-key": SECRETS["key"],
        "x-value": SECRETS["value"],
    }
    env = {"LOG_LEVEL": level, "AWS_SECRET_ACCESS_KEY": SECRETS["env"], "TRACER_HEADERS": f"k={SECRETS['env']}"}
    with program(main, tmp_path, **env) as running:
        with running.client() as client:
            client.headers.update(headers)
            query = {"token": SECRETS["query"]}
            statuses = [
                client.post("/save", params=query, content=SECRETS["body"]).status_code,
                client.get("/read", params=query).status_code,
                client.get("/long", params=query).status_code,
                client.post("/bind", params=query, content=SECRETS["body"]).status_code,
                client.get("/broken", params=query).status_code,
                client.get("/none", params=query).status_code,
            ]
        assert statuses == [202, 404, 400, 400, 500, 404]
        running.terminate()
        assert _found(running.output) == []
        assert '"uri":"/save"' in running.output


def test_botocore_is_silent_at_debug(tmp_path: Path, dynamodb_endpoint: str, table_name: str) -> None:
    """What botocore logs at DEBUG has signatures, keys and values in it; it is heard from WARNING on."""
    main = tmp_path / "main.py"
    main.write_text(DYNAMODB)
    env = {"AWS_ACCESS_KEY_ID": "S3CRETID", "AWS_SECRET_ACCESS_KEY": SECRETS["env"]}
    with program(
        main, tmp_path, LOG_LEVEL="DEBUG", TABLE=table_name, ENDPOINT=dynamodb_endpoint, **env
    ) as running:
        with running.client() as client:
            answer = client.post("/save", headers={"x-key": SECRETS["key"], "x-value": SECRETS["value"]})
        assert answer.status_code == 202
        assert any(event["message"] == "kv.operation" for event in running.events)
        assert _found(running.output) == []
        assert not re.search(r"Signature|AWS4|botocore", running.output)
