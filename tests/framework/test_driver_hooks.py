"""GoFr's optional hooks of a driver: `use_logger` and its like, called before it is connected."""

import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from kvik import App, Context, MemoryStore
from kvik.testing import TestClient
from kvik_dynamodb import DynamoDB
from support import serving


class _Reporting(MemoryStore):
    """Say what is called, and in what order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def use_logger(self, logger: Any) -> None:
        self.calls.append("use_logger")
        self._logger = logger

    async def connect(self) -> None:
        self.calls.append("connect")
        self._logger.warning("driver.event", attempt=1)

    async def close(self) -> None:
        self.calls.append("close")


def test_a_driver_gets_the_logger_before_it_is_connected(capsys: pytest.CaptureFixture[str]) -> None:
    """`use_logger` is called once at the start, and what the driver logs is in the app's log."""
    store = _Reporting()
    app = App()
    app.add_kv_store(store)
    with TestClient(app):
        assert store.calls == ["use_logger", "connect"]
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["attempt"] for event in events if event["message"] == "driver.event"] == [1]


def test_a_hook_that_raises_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """A driver's broken hook is one ERROR line, and the app starts."""

    class Broken(MemoryStore):
        def use_logger(self, _: Any) -> None:
            raise ValueError("boom")

    app = App()
    app.add_kv_store(Broken())
    with TestClient(app) as client:
        assert client.get("/.well-known/alive").status_code == 200
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["hook"], line["store"]) == ("store.hook_failed", "use_logger", "default")


async def test_a_retry_of_the_dynamodb_driver_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that fails once makes one `dynamodb.retry` line, with the trace id of the request."""
    calls: list[str] = []

    async def dynamodb(scope: Scope, _: Receive, send: Send) -> None:
        """Answer as DynamoDB does: fail the first PutItem."""
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        operation = dict(scope["headers"])[b"x-amz-target"].decode().rpartition(".")[2]
        calls.append(operation)
        fails = operation == "PutItem" and calls.count("PutItem") == 1
        body = b'{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}' if fails else b"{}"
        head = [(b"content-type", b"application/x-amz-json-1.0"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 500 if fails else 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    fake = App()
    fake.mount("/", dynamodb)
    app = App()

    @app.post("/save")
    async def save(ctx: Context) -> None:
        await ctx.kv_store.set("k", "v")

    async with serving(fake) as server:
        app.add_kv_store(DynamoDB(table="users", endpoint=str(server.base_url), region="us-east-1"))
        async with serving(app) as client:
            answer = await client.post("/save")
    assert answer.status_code == 202
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (retry,) = (event for event in events if event["message"] == "dynamodb.retry")
    assert (retry["level"], retry["operation"], retry["attempt"]) == ("WARNING", "PutItem", 1)
    assert retry["trace_id"] == answer.headers["x-correlation-id"]
