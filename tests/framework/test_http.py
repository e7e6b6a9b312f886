"""What a client gets for what a handler returns or raises, over real HTTP."""

import asyncio
import functools
import json
import re
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pydantic
import pytest
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, StreamingResponse

import kvik
from kvik import App, Context, MemoryStore
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Struct(msgspec.Struct):
    y: int


class Model(pydantic.BaseModel):
    when: datetime


def _raise(error: Exception) -> Callable[[Context], Any]:
    async def handler(_: Context) -> None:
        raise error

    return handler


def _give(value: Any) -> Callable[[Context], Any]:
    async def handler(_: Context) -> Any:
        return value

    return handler


@pytest.mark.parametrize(
    ("method", "value", "status", "body"),
    [
        ("GET", {"a": 1}, 200, b'{"data":{"a":1}}\n'),
        ("PUT", {"a": 1}, 200, b'{"data":{"a":1}}\n'),
        ("PATCH", {"a": 1}, 200, b'{"data":{"a":1}}\n'),
        ("POST", {"a": 1}, 201, b'{"data":{"a":1}}\n'),
        ("DELETE", {"a": 1}, 200, b'{"data":{"a":1}}\n'),
        ("GET", None, 200, b"{}\n"),
        ("PUT", None, 200, b"{}\n"),
        ("PATCH", None, 200, b"{}\n"),
        ("POST", None, 202, b"{}\n"),
        ("DELETE", None, 204, b""),
        ("GET", [], 200, b'{"data":[]}\n'),
        ("GET", 0, 200, b'{"data":0}\n'),
        ("GET", "", 200, b'{"data":""}\n'),
        ("GET", {}, 200, b'{"data":{}}\n'),
        ("GET", False, 200, b'{"data":false}\n'),
    ],
)
async def test_status_and_body_follow_the_method(method: str, value: Any, status: int, body: bytes) -> None:
    """A result is wrapped in data, with the status of its method; only None leaves data out."""
    app = App()
    getattr(app, method.lower())("/x")(_give(value))
    async with serving(app) as client:
        answer = await client.request(method, "/x")
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers.get("content-type") == ("application/json" if body else None)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Point(1), b'{"x":1}'),
        (Struct(2), b'{"y":2}'),
        (Model(when=datetime(2026, 1, 2, tzinfo=UTC)), b'{"when":"2026-01-02T00:00:00Z"}'),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), b'"2026-01-02T03:04:05Z"'),
        (UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (Decimal("1.50"), b'"1.50"'),
        (Colour.RED, b'"red"'),
        (b"\x00\xff", b'"AP8="'),
        ([float("nan"), float("inf")], b"[null,null]"),
        ("é😀", '"é😀"'.encode()),
    ],
)
async def test_common_types_are_encoded(value: Any, data: bytes) -> None:
    """What Python programs commonly hold becomes JSON without help."""
    app = App()
    app.get("/x")(_give(value))
    async with serving(app) as client:
        answer = await client.get("/x")
    assert (answer.status_code, answer.content) == (200, b'{"data":' + data + b"}\n")


_CYCLE: list[Any] = []
_CYCLE.append(_CYCLE)


class _Frame:
    """Stand for a table of pandas."""

    def to_dict(self) -> dict[str, Any]:
        return {}


@dataclass
class _Holder:
    files: list[Any]


async def _pieces() -> AsyncIterator[str]:
    yield "a"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            object,
            "returned object, which has no JSON form: return str(it), a dict, a dataclass or a pydantic model",
        ),
        (lambda: Path("/a"), "returned PosixPath, which has no JSON form: return str(path), or File(path)"),
        (lambda: (i for i in "ab"), "returned generator, which has no JSON form: return list(it)"),
        (lambda: map(str, ()), "returned map, which has no JSON form: return list(it)"),
        ({}.keys, "returned dict_keys, which has no JSON form: return list(it)"),
        (_pieces, "returned async_generator, which has no JSON form: return Stream(it), or a list"),
        (
            asyncio.Event().wait,
            "returned coroutine, which has no JSON form: write `await` before the call of Event.wait",
        ),
        (lambda: 1j, "returned complex, which has no JSON form: return str(number), or [number.real"),
        (lambda: Fraction(1, 2), "returned Fraction, which has no JSON form: return str(it)"),
        (lambda: MappingProxyType({}), "returned mappingproxy, which has no JSON form: return dict(it)"),
        (lambda: ValueError("hush"), "returned ValueError, which has no JSON form: raise it"),
        (
            lambda: App,
            "returned type, which has no JSON form: return an instance of it: perhaps the () is missing",
        ),
        (lambda: len, "returned builtin_function_or_method, which has no JSON form: call it: perhaps the ()"),
        (_Frame, "returned _Frame, which has no JSON form: return its to_dict()"),
        (StringIO, "returned StringIO, which has no JSON form: return File(path), or what read() gives"),
        (lambda: "\ud800", "returned str, which has no JSON form: return text that UTF-8 can hold"),
        (
            lambda: {("hush",): 1},
            "returned dict, in which a key at `$` is tuple: return text or a number as the key",
        ),
        (lambda: [{None: 1}], "returned list, in which a key at `$[0]` is NoneType: return text or a number"),
        (lambda: {"a": [0, {1j}]}, "returned dict, in which `$.a[1][0]` is complex, which has no JSON form"),
        (lambda: {"hush hush": Path()}, "returned dict, in which `$[…]` is PosixPath, which has no JSON form"),
        (
            lambda: _Holder([1, Path()]),
            "returned _Holder, in which `$.files[1]` is PosixPath, which has no JSON form",
        ),
        (lambda: kvik.Raw([Path()]), "returned list, in which `$[0]` is PosixPath, which has no JSON form"),
        (lambda: kvik.Response("a", metadata={"at": Path()}), "in which `$.metadata.at` is PosixPath"),
        (lambda: _CYCLE, "returned list, which contains itself or is nested too deep for JSON at `$[0][0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_what_is_no_json_is_a_500(
    make: Callable[[], Any], words: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result without a JSON form is a 500, and an ERROR line with handler, type, place and advice."""
    app = App()

    async def report(_: kvik.Context) -> Any:
        return make()

    def report_plainly(_: kvik.Context) -> Any:
        return make()

    handler: Any = report if kind == "async def" or make.__name__ == "wait" else report_plainly
    app.get("/x")(handler)
    async with serving(app) as client:
        answer = await client.get("/x")
    assert answer.status_code == 500
    assert answer.content == b'{"error":{"message":"failed to encode response as JSON"}}\n'
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (error,) = [line["error"] for line in lines if "error" in line]
    assert error.startswith(f"handler `{handler.__name__}` returned ")
    assert words in error
    assert "hush" not in error


@pytest.mark.parametrize(
    ("error", "status", "message", "headers"),
    [
        (kvik.HTTPError(400, "key parameter is required"), 400, "key parameter is required", {}),
        (kvik.HTTPError(503, "later, please"), 503, "later, please", {}),
        (kvik.HTTPError(418, "tea", headers={"X-Pot": "1"}), 418, "tea", {"X-Pot": "1"}),
        (kvik.EntityNotFound("id", "2"), 404, "No entity found with id: 2", {}),
        (kvik.EntityAlreadyExists(), 409, "entity already exists", {}),
        (kvik.InvalidParam("a", "b"), 400, "'2' invalid parameter(s): a, b", {}),
        (kvik.MissingParam("id"), 400, "'1' missing parameter(s): id", {}),
        (kvik.Unauthorized("who?"), 401, "who?", {"WWW-Authenticate": "Bearer"}),
        (kvik.Forbidden("not you"), 403, "not you", {}),
        (kvik.TooManyRequests(7), 429, "rate limit exceeded", {"Retry-After": "7"}),
        (kvik.TooManyRequests(), 429, "rate limit exceeded", {}),
        (
            kvik.ServiceUnavailable("mail", "X"),
            503,
            "Service unavailable due to error: X from dependency mail",
            {},
        ),
        (HTTPException(402, "pay", {"X-Price": "1"}), 402, "pay", {"X-Price": "1"}),
        (ZeroDivisionError("secret text"), 500, "Internal Server Error", {}),
        (kvik.KeyNotFound("secret"), 404, "key not found", {}),
        (kvik.Unavailable("10.0.0.1 is gone"), 503, "key-value store unavailable", {}),
        (kvik.Throttled("slow", retry_after=1.2), 503, "key-value store unavailable", {"Retry-After": "2"}),
        (kvik.DeadlineExceeded("host x"), 504, "key-value store timed out", {}),
        (kvik.Misconfigured("table x"), 500, "key-value store failed", {}),
        (kvik.AccessDenied("role x"), 500, "key-value store failed", {}),
        (kvik.Corrupt("x"), 500, "key-value store failed", {}),
        (kvik.Conflict("x"), 409, "conflict with the current value", {}),
        (kvik.Unsupported("x"), 501, "not supported by the key-value store", {}),
        (kvik.PartialFailure("x"), 503, "key-value store unavailable", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_errors_have_their_status_and_message(
    error: Exception, status: int, message: str, headers: dict[str, str]
) -> None:
    """An error answers with its own status and text; one that was not foreseen tells nothing of itself."""
    app = App()
    app.get("/x")(_raise(error))
    async with serving(app) as client:
        answer = await client.get("/x")
    assert (answer.status_code, answer.json()) == (status, {"error": {"message": message}})
    assert headers.items() <= {name.title(): value for name, value in answer.headers.items()}.items() | {
        (name, answer.headers.get(name)) for name in headers
    }


@pytest.mark.parametrize("status", [200, 399, 600])
def test_an_http_error_has_an_error_status(status: int) -> None:
    """A status that is no error's is refused where it is written."""
    with pytest.raises(ValueError, match=f"400 to 599, not {status}"):
        kvik.HTTPError(status, "x")


async def test_a_plain_def_handler_runs_in_a_thread() -> None:
    """A `def` handler does not run on the loop's thread, and reaches the store by ctx.wait."""
    app = App()
    app.add_kv_store(MemoryStore())

    @app.get("/x")
    def handler(ctx: Context) -> dict[str, Any]:
        ctx.wait(ctx.kv_store.set("k", "v"))
        on_main = threading.current_thread() is threading.main_thread()
        return {"value": ctx.wait(ctx.kv_store.get("k")), "main": on_main}

    @app.get("/missing")
    def missing(ctx: Context) -> Any:
        return ctx.wait(ctx.kv_store.get("other"))

    async with serving(app) as client:
        assert (await client.get("/x")).json() == {"data": {"value": "v", "main": False}}
        assert (await client.get("/missing")).status_code == 404


async def test_wait_on_the_loop_is_refused() -> None:
    """`ctx.wait` in an `async def` handler raises at once, for it would wait for itself."""
    app = App()
    app.add_kv_store(MemoryStore())
    seen: list[str] = []

    @app.get("/x")
    async def handler(ctx: Context) -> None:
        try:
            ctx.wait(ctx.kv_store.get("k"))
        except RuntimeError as error:
            seen.append(str(error))

    async with serving(app) as client:
        await client.get("/x")
    assert seen == ["ctx.wait is for def handlers; use await"]


async def test_head_has_gets_headers_and_no_body() -> None:
    """HEAD answers as GET does, without the body."""
    app = App()
    app.get("/x")(_give("12345"))
    async with serving(app) as client:
        answer = await client.head("/x")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "17", b"")


@pytest.mark.parametrize("path", ["/a", "/a/b/c", "/items", "/items/x", "/items/7/x", "/files", "/%61"])
async def test_a_path_that_no_route_has_is_not_found(path: str) -> None:
    """Neither the beginning of a route's path, nor one that goes on behind it, nor a parameter of another kind."""
    app = App()
    app.get("/a/b")(_give(1))
    app.get("/items/{id:int}")(_give(1))
    app.get("/files/{name}/{rest:path}")(_give(1))
    async with serving(app) as client:
        answers = [await client.request(method, path) for method in ("GET", "POST")]
    assert [answer.status_code for answer in answers] == [404, 404]


async def test_unknown_path_and_wrong_method() -> None:
    """An unknown path is 404, a known one with another method 405 with Allow."""
    app = App()
    app.get("/x")(_give(1))
    app.delete("/x")(_give(1))
    async with serving(app) as client:
        unknown, wrong = await client.get("/y"), await client.post("/x")
    assert (unknown.status_code, unknown.json()) == (404, {"error": {"message": "route not registered"}})
    assert (wrong.status_code, wrong.json()) == (405, {"error": {"message": "method not allowed"}})
    assert wrong.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


async def test_a_starlette_response_is_passed_through() -> None:
    """A Starlette response goes out as it is, with the correlation id."""
    app = App()
    app.get("/x")(_give(PlainTextResponse("hi", 203)))
    async with serving(app) as client:
        answer = await client.get("/x")
    assert (answer.status_code, answer.text) == (203, "hi")
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-correlation-id"])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", True),
        ("cc-0123456789abcdef0123456789abcdef-0123456789abcdef-01-more", True),
        ("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01-more", False),
        ("00-00000000000000000000000000000000-0123456789abcdef-01", False),
        ("00-0123456789abcdef0123456789abcdef-0000000000000000-01", False),
        ("ff-0123456789abcdef0123456789abcdef-0123456789abcdef-01", False),
        ("00-0123456789ABCDEF0123456789ABCDEF-0123456789abcdef-01", False),
        ("nonsense", False),
    ],
)
async def test_correlation_id_follows_a_valid_traceparent(sent: str, *, kept: bool) -> None:
    """A valid traceparent decides the correlation id; with any other it is random."""
    app = App()

    @app.get("/x")
    async def handler(ctx: Context) -> str:
        return ctx.correlation_id

    async with serving(app) as client:
        answer = await client.get("/x", headers={"traceparent": sent})
    assert answer.headers["x-correlation-id"] == answer.json()["data"]
    assert (answer.json()["data"] == "0123456789abcdef0123456789abcdef") is kept


async def test_a_users_route_wins_over_a_built_in_one() -> None:
    """The path of a built-in route may be taken by the user."""
    app = App()
    app.get("/.well-known/alive")(_give("mine"))
    async with serving(app) as client:
        assert (await client.get("/.well-known/alive")).json() == {"data": "mine"}


async def test_a_response_that_breaks_midway_closes_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that has begun and fails cannot become a 500: the connection is cut, and one line says why."""

    async def chunks() -> Any:
        yield b"one"
        raise ZeroDivisionError

    app = App()
    app.get("/x")(_give(StreamingResponse(chunks())))
    async with serving(app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/x")
    assert capsys.readouterr().err.count('"message":"request.failed"') == 1


def test_a_handler_takes_one_context() -> None:
    """What cannot be called with one Context is refused where it is registered."""
    app = App()
    with pytest.raises(TypeError, match="must take one argument, the Context"):
        app.get("/x")(lambda: None)  # type: ignore[type-var]  # the mistake under test
    with pytest.raises(TypeError, match="a handler is a function of one Context, not str"):
        app.get("/x")("handler")  # type: ignore[type-var]  # the mistake under test
    with pytest.raises(TypeError, match=r'@app.get\("/path"\), with the parentheses'):
        app.get(_give(1))  # type: ignore[arg-type]  # the mistake under test


async def test_a_client_that_leaves_while_sending_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A client that goes away in the middle of its body leaves an access line with 499, and no ERROR."""
    app = App()

    @app.post("/x")
    async def handler(ctx: Context) -> Any:
        return await ctx.body()

    async with serving(app) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
        assert await reader.read() == b""
    out, err = capsys.readouterr()
    assert '"response":499' in out
    assert err == ""


async def test_a_partial_is_a_handler() -> None:
    """A coroutine function with arguments filled in runs on the loop like any other."""

    async def greet(greeting: str, ctx: Context) -> str:
        return f"{greeting} {ctx.param('name')}"

    app = App()
    app.get("/x")(functools.partial(greet, "hello"))
    async with serving(app) as client:
        assert (await client.get("/x?name=ann")).json() == {"data": "hello ann"}
