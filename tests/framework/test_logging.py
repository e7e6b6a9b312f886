"""Log lines: one JSON object each off a terminal, whatever is logged."""

import asyncio
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
import structlog
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from kvik import App, Context, HTTPError
from kvik._logs.logging import Logging
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


async def test_a_requests_lines_carry_its_trace_id(capsys: pytest.CaptureFixture[str]) -> None:
    """The handler's lines, a library's and the access line of one request have one trace id."""
    app = App()

    @app.get("/u/{id}")
    async def handler(ctx: Context) -> None:
        ctx.logger.info("user.seen", id=ctx.path_param("id"))
        logging.getLogger("library").warning("careful: %s", "this")
        structlog.get_logger().info("elsewhere")

    async with serving(app) as client:
        answer = await client.get("/u/7?secret=1", headers={"user-agent": "test"})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    mine = [line for line in lines if line.get("trace_id") == answer.headers["x-correlation-id"]]
    assert [line["message"] for line in mine] == ["user.seen", "careful: this", "elsewhere", "request"]
    assert [*mine[0]] == ["level", "time", "message", "trace_id", "span_id", "id"]
    assert (mine[1]["level"], mine[1]["logger"]) == ("WARNING", "library")
    access = mine[-1]
    assert isinstance(access.pop("response_time"), int)
    assert access.pop("start_time") <= access.pop("time")
    assert access.pop("span_id") == mine[0]["span_id"]
    assert access == {
        "level": "INFO",
        "message": "request",
        "method": "GET",
        "user_agent": "test",
        "ip": "127.0.0.1",
        "uri": "/u/7",
        "response": 200,
        "trace_id": answer.headers["x-correlation-id"],
    }


async def test_the_access_line_has_the_client_that_middleware_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Where middleware believes a proxy's header, the line has the client and not the proxy."""
    app = App()
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts="*")  # type: ignore[arg-type] # uvicorn's are narrower

    @app.get("/x")
    async def handler(ctx: Context) -> str:
        return ctx.client_ip

    async with serving(app) as client:
        answer = await client.get("/x", headers={"x-forwarded-for": "192.0.2.7"})
    access = next(line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "uri" in line)
    assert (answer.json(), access["ip"]) == ({"data": "192.0.2.7"}, "192.0.2.7")


async def test_an_unforeseen_error_is_logged_with_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    """A 500 leaves one ERROR line with the stack on stderr, and an ERROR access line."""
    app = App()

    @app.get("/x")
    async def handler(_: Context) -> None:
        raise ZeroDivisionError("by zero")

    async with serving(app) as client:
        answer = await client.get("/x")
    failed, access = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (failed["message"], failed["level"], failed["error"]) == ("request.failed", "ERROR", "by zero")
    assert "in handler" in failed["exception"]
    assert failed["trace_id"] == access["trace_id"] == answer.headers["x-correlation-id"]
    assert (access["message"], access["response"]) == ("request", 500)


async def test_probes_can_be_silenced(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """LOG_DISABLE_PROBES leaves the well-known routes out of the access log."""
    monkeypatch.setenv("LOG_DISABLE_PROBES", "true")
    async with serving(App()) as client:
        await client.get("/.well-known/alive")
        await client.get("/other")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["uri"] for line in lines if line["message"] == "request"] == ["/other"]


def test_the_level_decides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines below LOG_LEVEL are not written; ERROR goes to stderr, what is below to stdout."""
    monkeypatch.setenv("LOG_LEVEL", "WARN")
    logger = App().logger
    logger.info("no")
    logger.warning("out")
    logger.critical("err")
    out, err = capsys.readouterr()
    assert ("no" in out, "out" in out, "err" in err) == (False, True, True)


async def test_the_standard_librarys_logging_is_given_back() -> None:
    """An app that has stopped leaves the root logger as it found it."""
    before = logging.getLogger().handlers[:]
    async with serving(App()):
        assert logging.getLogger().handlers != before
    assert logging.getLogger().handlers == before


async def test_lines_of_one_turn_are_written_together_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """They wait for the event loop to come round, before any other line, and an ERROR does not wait at all."""
    logs = Logging("INFO")

    def written() -> list[str]:
        return [json.loads(line)["message"] for line in "".join(capsys.readouterr()).splitlines()]

    logs.logger_by_turns.info("first")
    logs.logger_by_turns.warning("second")
    assert written() == []
    logs.logger.info("third")
    assert written() == ["first", "second", "third"]
    logs.logger_by_turns.info("fourth")
    await asyncio.sleep(0)
    assert written() == ["fourth"]
    logs.logger_by_turns.error("fifth")
    assert written() == ["fifth"]


@pytest.mark.usefixtures("both_protocols")
async def test_a_refusal_is_told_of_before_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    """The reason stands before the access line, and both have the trace id that the client was told."""
    async with serving(App()) as client:
        ids = [(await client.get("/nowhere")).headers["x-correlation-id"] for _ in range(2)]
    lines = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "trace_id" in line]
    assert [(line["message"], line["trace_id"]) for line in lines] == [
        (message, trace) for trace in ids for message in ("request.rejected", "request")
    ]
    rejected = lines[0]
    assert list(rejected) == ["level", "time", "message", "trace_id", "span_id", "status", "error"]
    assert (rejected["level"], rejected["status"], rejected["error"]) == ("INFO", 404, "route not registered")


async def test_a_record_that_cannot_be_formatted_breaks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's broken log call is one line with the message as it is, and the caller goes on."""
    async with serving(App()):
        logging.getLogger("library").warning("%d", "no number")
    line = next(line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "logger" in line)
    assert (line["message"], line["problem"]) == ("%d", "the arguments do not fit the message: TypeError")


def test_a_closed_stream_does_not_stop_the_service() -> None:
    """When whoever read the log has gone, logging goes on without an error."""
    program = (
        "import sys, kvik; logger = kvik.App().logger; sys.stdout.close(); logger.info('x'); logger.error('y')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert '"message":"y"' in run.stderr


def _binding_app() -> App:
    """Make an app whose handlers bind the query's user, in the ways there are."""
    app = App()

    @app.get("/async")
    async def bind(ctx: Context) -> None:
        structlog.contextvars.bind_contextvars(user=ctx.param("user"))
        await asyncio.sleep(0.01)
        ctx.logger.info("handler", own=1)
        logging.getLogger("library").warning("library")

    @app.get("/def")
    def bind_in_thread(ctx: Context) -> None:
        structlog.contextvars.bind_contextvars(user=ctx.param("user"))
        structlog.get_logger().info("handler")
        ctx.background(lambda: ctx.logger.info("background"))

    @app.get("/fails")
    async def fail(ctx: Context) -> None:
        structlog.contextvars.bind_contextvars(user=ctx.param("user"), level="mine")
        raise HTTPError(500, "no")

    @app.get("/fails-in-thread")
    def fail_in_thread(ctx: Context) -> None:
        structlog.contextvars.bind_contextvars(user=ctx.param("user"))
        raise ZeroDivisionError

    @app.get("/plain")
    async def plain(ctx: Context) -> None:
        ctx.logger.info("handler")

    return app


class _OwnTask(BaseHTTPMiddleware):
    """Run what is behind it in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


@pytest.mark.parametrize("middleware", [None, ProxyHeadersMiddleware, _OwnTask])
@pytest.mark.parametrize("path", ["/async", "/def", "/fails", "/fails-in-thread"])
async def test_bound_values_are_in_every_line_of_their_request(
    path: str, middleware: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `bind_contextvars` adds is in all lines of the request and in no other's."""
    app = _binding_app()
    if middleware is not None:
        app.add_middleware(middleware)
    users: dict[str, str] = {}
    async with serving(app) as client:
        for user in ("ann", "bob"):
            answer = await client.get(path, params={"user": user})
            users[answer.headers["x-correlation-id"]] = user
        others = [(await client.get("/plain")).headers["x-correlation-id"] for _ in range(2)]
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in (out + err).splitlines()]
    mine = [line for line in lines if line.get("trace_id") in users]
    assert [line["user"] for line in mine] == [users[line["trace_id"]] for line in mine]
    assert {"request"} < {line["message"] for line in mine}
    theirs = [line for line in lines if line.get("trace_id") in others]
    assert len(theirs) == 4
    assert not any("user" in line for line in theirs)


async def test_bound_values_do_not_reach_pipelined_requests(capsys: pytest.CaptureFixture[str]) -> None:
    """A request that begins when the one before it on the connection ends has none of its values."""
    async with serving(_binding_app()) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(
            b"GET /async?user=ann HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n" * 2
        )
        for _ in range(3):
            await reader.readuntil(b"{}\n")
        writer.close()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    requests = [line for line in lines if line["message"] == "request"]
    assert [line.get("user") for line in requests] == ["ann", None, None]
    assert [line.get("user") for line in lines if line["message"] == "handler"] == ["ann", None, None]


async def test_values_bound_when_the_program_starts_are_in_all_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What is bound outside of requests stays in the lines of all of them."""
    with structlog.contextvars.bound_contextvars(region="eu"):
        async with serving(_binding_app()) as client:
            await client.get("/plain")
            await client.get("/async?user=ann")
            await client.get("/plain")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["region"] for line in lines if line["message"] == "request"] == ["eu"] * 3
    assert [line.get("user") for line in lines if line["message"] == "request"] == [None, "ann", None]
