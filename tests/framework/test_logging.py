"""Log lines: one JSON object each off a terminal, whatever is logged."""

import asyncio
import json
import logging
import subprocess
import sys

import pytest
import structlog
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from kvik import App, Context
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
