"""Errors beyond the framework's own: strangers' classes, groups, and the other format."""

import json
from typing import Any

import pytest

import kvik
from kvik import App, Context
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


class TeapotError(Exception):
    status_code = 418
    log_level = "warning"

    def response(self) -> dict[str, Any]:
        return {"pot": "small", "message": "cannot be overridden"}


class BrokenError(Exception):
    status_code = 503


class BadGatewayError(Exception):
    status_code = 502


class OddStatusError(Exception):
    status_code = 200


class TrueStatusError(Exception):
    status_code = True


class OddLevelError(Exception):
    status_code = 400
    log_level = "shout"
    response = "not callable"


class OddResponseError(Exception):
    status_code = 400

    def response(self) -> Any:
        return [1]


class FailingResponseError(Exception):
    status_code = 400

    def response(self) -> Any:
        raise ValueError


class UpstreamError(Exception):
    def __init__(self) -> None:
        super().__init__("upstream said 404")
        self.status_code = 404


def _chained() -> Exception:
    error = kvik.EntityNotFound("id", "1")
    error.__cause__ = ZeroDivisionError("cause")  # as `raise … from` makes it
    return error


async def _fail(error: Exception, **request: Any) -> Any:
    app = App()

    @app.get("/x")
    async def handler(_: Context) -> None:
        raise error

    async with serving(app) as client:
        return await client.get("/x", **request)


@pytest.mark.parametrize(
    ("error", "status", "body", "level"),
    [
        (TeapotError("tea"), 418, b'{"error":{"message":"tea","pot":"small"}}\n', "WARNING"),
        (BrokenError("host x"), 503, b'{"error":{"message":"Internal Server Error"}}\n', "ERROR"),
        (OddStatusError("x"), 500, b'{"error":{"message":"Internal Server Error"}}\n', "ERROR"),
        (TrueStatusError("x"), 500, b'{"error":{"message":"Internal Server Error"}}\n', "ERROR"),
        (OddLevelError("x"), 400, b'{"error":{"message":"x"}}\n', "INFO"),
        (OddResponseError("x"), 400, b'{"error":{"message":"x"}}\n', "INFO"),
        (FailingResponseError("x"), 400, b'{"error":{"message":"x"}}\n', "INFO"),
        (UpstreamError(), 500, b'{"error":{"message":"Internal Server Error"}}\n', "ERROR"),
        (_chained(), 404, b'{"error":{"message":"No entity found with id: 1"}}\n', "INFO"),
        (
            ExceptionGroup("several", [kvik.MissingParam("a"), ExceptionGroup("x", [kvik.Forbidden("no")])]),
            403,
            b'{"error":{"message":"no"}}\n',
            "INFO",
        ),
        (
            ExceptionGroup("several", [kvik.MissingParam("a"), ValueError("secret")]),
            500,
            b'{"error":{"message":"Internal Server Error"}}\n',
            "ERROR",
        ),
        (kvik.EntityAlreadyExists(), 409, b'{"error":{"message":"entity already exists"}}\n', "WARNING"),
        (kvik.HTTPError(500, "told on purpose"), 500, b'{"error":{"message":"told on purpose"}}\n', "ERROR"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_an_error_is_answered_and_logged(
    error: Exception, status: int, body: bytes, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A class may declare its status, level and extra fields; an instance may not, and 5xx tells nothing."""
    answer = await _fail(error)
    assert (answer.status_code, answer.content) == (status, body)
    lines = [json.loads(line) for line in "".join(capsys.readouterr()).splitlines() if line.startswith("{")]
    (line,) = (line for line in lines if line["message"].startswith("request."))
    assert (line["level"], line["status"]) == (level, status)


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            kvik.EntityNotFound("id", "2"),
            404,
            b'{"type":"about:blank","title":"Not Found","status":404,"detail":"No entity found with id: 2"}\n',
        ),
        (
            TeapotError("tea"),
            418,
            b'{"pot":"small","type":"about:blank","title":"I\'m a Teapot","status":418,"detail":"tea"}\n',
        ),
        (
            BadGatewayError("secret"),
            502,
            b'{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"Internal Server Error"}\n',
        ),
        (
            kvik.HTTPError(599, "odd"),
            599,
            b'{"type":"about:blank","title":"Error","status":599,"detail":"odd"}\n',
        ),
    ],
)
async def test_problem_details(
    error: Exception, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ERROR_FORMAT=problem an error is RFC 9457's problem+json."""
    monkeypatch.setenv("ERROR_FORMAT", "problem")
    answer = await _fail(error)
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_http_errors_headers_are_checked_where_it_is_made() -> None:
    """A header with a line break is refused by the error itself."""
    with pytest.raises(ValueError, match="characters that HTTP cannot carry"):
        kvik.HTTPError(400, "x", headers={"X": "a\r\nb"})
