"""How responses are framed, seen by a strict client that asks again on the same connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h11
import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import kvik
from kvik import App, Context, File, HTTPError, Redirect, Response, Stream, Unauthorized
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")

INJECTED = "x\r\nInjected: yes\r\n\r\n<script>"


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other == name]


async def _read(reader: asyncio.StreamReader, connection: h11.Connection) -> Answer:
    status, headers, body = 0, [], b""
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await asyncio.wait_for(reader.read(65536), 20))
            case h11.Response() as head:
                status = head.status_code
                headers = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
            case h11.Data() as piece:
                body += piece.data
            case h11.EndOfMessage():
                return Answer(status, headers, body)


async def _ask_twice(client: httpx.AsyncClient, method: str = "GET", path: str = "/x") -> Answer:
    """Ask, and ask again on the same connection: what was not part of the first response would be read there."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    connection = h11.Connection(h11.CLIENT)
    try:
        answers = []
        for one_method, target in ((method, path), ("GET", "/.well-known/alive")):
            request = h11.Request(method=one_method, target=target, headers=[("Host", "x")])
            writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
            answers.append(await _read(reader, connection))
            connection.start_next_cycle()
    finally:
        writer.close()
    assert (answers[1].status, answers[1].body) == (200, b'{"data":{"status":"UP"}}\n')
    return answers[0]


async def _answers(results: Mapping[str, Any], method: str = "GET") -> dict[str, Answer]:
    """Give what each of a handler's results, or the error it raises, is for a client."""
    app = App()
    for number, result in enumerate(results.values()):
        app.route(f"/{number}", methods=["GET" if method == "HEAD" else method])(_handler(result))
    async with serving(app) as client:
        return {name: await _ask_twice(client, method, f"/{number}") for number, name in enumerate(results)}


async def _answer(result: Any, method: str = "GET") -> Answer:
    return (await _answers({"it": result}, method))["it"]


def _handler(result: Any) -> Callable[[Context], Awaitable[Any]]:
    async def handler(_: Context) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    return handler


async def _pieces(*pieces: str) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece


class _Nothing:
    """Middleware that does nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Base(BaseHTTPMiddleware):
    """Middleware of Starlette's kind that does nothing, in a task of its own."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        return await call_next(request)


# Statuses without a body


def _without_body(status: int) -> dict[str, Any]:
    return {
        "raised": HTTPException(status),
        "raised with headers": HTTPException(status, "text", headers={"X-One": "1", "Content-Length": "4"}),
        "raised as chunked": HTTPException(status, headers={"Transfer-Encoding": "chunked"}),
        "data": Response("data", status=status),
        "nothing": Response(status=status),
        "data with headers": Response("data", status=status, headers={"Content-Length": "9", "X-One": "1"}),
        "Starlette's": PlainTextResponse("text", status),
        "Starlette's with a length": StarletteResponse(None, status, {"Content-Length": "7"}),
        "Starlette's stream": StreamingResponse(_pieces("a", "b"), status),
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(("status", "lengths"), [(204, []), (205, ["0"]), (304, [])])
async def test_a_status_without_a_body_has_none(method: str, status: int, lengths: list[str]) -> None:
    """Whatever makes a 204, 205 or 304: nothing follows its head, and the next response is read right."""
    for name, answer in (await _answers(_without_body(status), method)).items():
        assert (answer.status, answer.body) == (status, b""), name
        assert (answer.all("content-length"), answer.all("transfer-encoding")) == (lengths, []), name


@pytest.mark.parametrize("status", [99, 100, 103, 199, 600, 999])
async def test_a_status_that_cannot_end_a_response_is_a_500(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interim status would have the client wait for another response; the log says what is wrong."""
    answer = await _answer(StarletteResponse("text", status))
    assert (answer.status, answer.body) == (500, b'{"error":{"message":"Internal Server Error"}}\n')
    assert f"a response's status is 200 to 599, not {status}" in capsys.readouterr().err


@pytest.mark.parametrize("status", [404.5, "404", None, 200, 600])
def test_the_status_of_an_error_is_a_number(status: Any) -> None:
    """What is not the status of an error is refused where it is written."""
    with pytest.raises((ValueError, TypeError)):
        HTTPError(status, "x")
    if status is not None and status != 200:
        with pytest.raises((ValueError, TypeError)):
            Response(status=status)


# Empty responses


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize(
    "result",
    [Redirect("/y"), File(b""), StarletteResponse(), StarletteResponse(status_code=404), HTTPException(304), None],
    ids=["redirect", "file", "starlette", "404", "304", "none"],
)
async def test_an_empty_response_says_so(result: Any, method: str) -> None:
    """No empty response is chunked: its length is 0, or left out where the status says it."""
    answer = await _answer(result, method)
    assert answer.all("transfer-encoding") == []
    expected = [] if answer.status == 304 else ["3" if result is None else "0"]
    assert answer.all("content-length") == expected


@pytest.mark.parametrize("pieces", [(), ("",), ("a", "bc")], ids=len)
async def test_a_body_that_is_sent_at_once_has_a_length(pieces: tuple[str, ...]) -> None:
    """What an application sends as a whole has its length and no chunks, though it names none, or another."""

    async def mounted(scope: Scope, _: Receive, send: Send) -> None:
        wrong = [(b"content-length", b"2")] if scope["path"].endswith("/wrong") else []
        await send({"type": "http.response.start", "status": 200, "headers": wrong})
        await send({"type": "http.response.body", "body": "".join(pieces).encode()})

    app = App()
    app.mount("/mounted", mounted)
    app.get("/none")(_handler(Stream(_pieces())))
    async with serving(app) as client:
        for path in ("/mounted", "/mounted/wrong"):
            answer = await _ask_twice(client, path=path)
            assert (answer.body, answer.all("content-length")) == (
                "".join(pieces).encode(),
                [str(len(answer.body))],
            )
        empty = await _ask_twice(client, path="/none")
        assert (empty.body, empty.all("content-length"), empty.all("transfer-encoding")) == (b"", ["0"], [])


@pytest.mark.parametrize("around", [None, _Nothing, _Base])
async def test_a_head_does_not_wait_for_its_body(around: Any) -> None:
    """A stream's head is there before its first piece, and also before the end of one that fails at once."""
    go_on = asyncio.Event()

    async def waiting() -> AsyncIterator[str]:
        await go_on.wait()
        yield "late"

    async def failing() -> AsyncIterator[str]:
        raise ZeroDivisionError
        yield ""

    app = App()
    if around is not None:
        app.add_middleware(around)
    app.get("/waiting")(_handler(Stream(waiting())))
    app.get("/data")(_handler("data"))
    app.get("/failing")(_handler(Stream(failing())))
    async with serving(app) as client:
        async with client.stream("GET", "/waiting", headers={"Accept-Encoding": "identity"}) as response:
            assert response.headers["transfer-encoding"] == "chunked"
            go_on.set()
            assert await response.aread() == b"late"
        assert (await _ask_twice(client, path="/data")).body == b'{"data":"data"}\n'
        async with client.stream("GET", "/failing") as response:
            assert response.headers["transfer-encoding"] == "chunked"
            with pytest.raises(httpx.RemoteProtocolError):
                await response.aread()


async def test_options_is_empty() -> None:
    """OPTIONS has the length 0, once."""
    async with serving(App()) as client:
        answer = await _ask_twice(client, "OPTIONS", "/any")
    assert (answer.status, answer.all("content-length")) == (200, ["0"])


# Headers that are the server's


FRAMING: list[Mapping[str, str]] = [
    {"Content-Length": "3"},
    {"content-length": "300"},
    {"Content-Length": "x"},
    {"Transfer-Encoding": "chunked"},
    {"Transfer-Encoding": "gzip, chunked", "Content-Length": "3"},
    {"Connection": "keep-alive", "Keep-Alive": "timeout=99"},
    {"Connection": "X-Secret", "Trailer": "X-One", "Proxy-Connection": "close"},
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_handler_does_not_frame_its_response(method: str) -> None:
    """Content-Length is that of the body, once; Transfer-Encoding and what concerns the connection is left out."""
    results = {
        f"{kind} {headers}": result
        for headers in FRAMING
        for kind, result in {
            "17": Response("hello", headers=headers),
            "3": Response(headers=headers),
            "30": HTTPError(400, "hello", headers=headers),
            "30 ": HTTPException(400, "hello", headers=headers),
            "5": PlainTextResponse("hello", headers=headers),
            "7": JSONResponse("hello", headers=headers),
            "": Stream(_pieces("hel", "lo"), headers=headers),
        }.items()
    }
    for name, answer in (await _answers(results, method)).items():
        assert answer.status in {200, 400}, name
        length = name.partition(" ")[0]
        assert answer.all("content-length") == [length] * bool(length), name
        assert len(answer.body) == (0 if method == "HEAD" else int(length or 5)), name
        chunked = ["chunked"] if not length and method == "GET" else []
        assert answer.all("transfer-encoding") == chunked, name
        for header in ("connection", "keep-alive", "trailer", "proxy-connection"):
            assert answer.all(header) == [], name


@pytest.mark.parametrize("value", ["close", "Keep-Alive, Close"])
async def test_a_handler_may_close_the_connection(value: str) -> None:
    """`Connection: close` is said, once, and done."""
    app = App()

    @app.get("/x")
    async def handler(_: Context) -> Response:
        return Response("bye", headers={"Connection": value})

    async with serving(app) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    assert received.lower().count(b"connection:") == 1
    assert b"\r\nconnection: close\r\n" in received
    assert received.endswith(b'{"data":"bye"}\n')


@pytest.mark.parametrize(
    "lengths",
    [[b"5", b"5"], [b"5", b"6"], [b"x"], [b"-5"], [b"5, 5"]],
    ids=lambda lengths: b"|".join(lengths).decode(),
)
async def test_a_mounted_application_has_one_length(lengths: list[bytes]) -> None:
    """What an ASGI application says of its length is said once; what contradicts itself is a 500."""

    async def mounted(_: Scope, __: Receive, send: Send) -> None:
        headers = [*[(b"Content-Length", length) for length in lengths], (b"Transfer-Encoding", b"chunked")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    app = App()
    app.mount("/x", mounted)
    async with serving(app) as client:
        answer = await _ask_twice(client)
    if lengths == [b"5", b"5"]:
        assert (answer.status, answer.all("content-length"), answer.body) == (200, ["5"], b"hello")
    else:
        assert answer.status == 500
    assert answer.all("transfer-encoding") == []


async def test_there_is_one_date() -> None:
    """The server's, whatever a handler copies from elsewhere."""
    results = {"ours": Response("d", headers={"Date": "yesterday"}), "theirs": _starlette(date="yesterday")}
    for answer in (await _answers(results)).values():
        assert len(answer.all("date")) == 1
        assert answer.all("date") != ["yesterday"]


# What no header may carry


class _Marking:
    """Middleware that adds a header which breaks out of its line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"mark", INJECTED.encode())]
            await send(message)

        await self._app(scope, receive, marked)


def _changed(error: HTTPError) -> HTTPError:
    error.headers["X-Late"] = INJECTED
    return error


def _starlette(**headers: str) -> StarletteResponse:
    return PlainTextResponse("text", headers=headers)


UNSENDABLE: dict[str, Any] = {
    "a cookie's path": Response("d", cookies={"a": {"value": "x", "path": "/" + INJECTED}}),
    "a cookie's domain": Response("d", cookies={"a": {"value": "x", "domain": INJECTED}}),
    "a cookie's expiry": Response("d", cookies={"a": {"value": "x", "expires": INJECTED}}),
    "a cookie's age": Response("d", cookies={"a": {"value": "x", "max_age": INJECTED}}),
    "another option in a cookie's path": Response(
        "d", cookies={"a": {"value": "x", "path": "/; Domain=evil.example"}}
    ),
    "another option in a cookie's domain": Response("d", cookies={"a": {"value": "x", "domain": "a; Path=/"}}),
    "a cookie's name": Response("d", cookies={"a\r\nb": "x"}),
    "a cookie's name with a semicolon": Response("d", cookies={"a;b": "x"}),
    "a header's value": Response("d", headers={"X": INJECTED}),
    "a line feed alone": Response("d", headers={"X": "a\nb"}),
    "a NUL": Response("d", headers={"X": "a\0b"}),
    "a header's name": Response("d", headers={"X: y\r\nZ": "a"}),
    "an empty name": Response("d", headers={"": "a"}),
    "a content type": Response("d", headers={"Content-Type": INJECTED}),
    "a header of nothing": Response(headers={"X": INJECTED}),
    "a partial answer's header": Response("d", error=ValueError("x"), headers={"X": INJECTED}),
    "a redirect": Redirect("/" + INJECTED),
    "a stream's header": Stream(_pieces("a"), headers={"X": INJECTED}),
    "a stream's content type": Stream(_pieces("a"), content_type=INJECTED),
    "an event stream's header": Stream(_pieces("a"), content_type="text/event-stream", headers={"X": INJECTED}),
    "the content type of bytes": File(b"x", content_type=INJECTED),
    "the content type of a path": File(Path(__file__), content_type=INJECTED),
    "Starlette's response": _starlette(x=INJECTED),
    "Starlette's stream": StreamingResponse(_pieces("a"), headers={"x": INJECTED}),
    "Starlette's error": HTTPException(400, headers={"X": INJECTED}),
    "Starlette's error without a body": HTTPException(304, headers={"X": INJECTED}),
    "an error that was changed": _changed(HTTPError(400, "x")),
    "an error's name": HTTPException(400, headers={"X\r\nY": "z"}),
    "text beyond Latin-1": HTTPException(400, headers={"X": "日本"}),
}


@pytest.mark.parametrize("result", UNSENDABLE.values(), ids=UNSENDABLE.keys())
async def test_what_no_header_may_carry_is_a_500(result: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not reach the client, by whichever way it came, and the access line has the status that was sent."""
    answer = await _answer(result)
    assert (answer.status, answer.body) == (500, b'{"error":{"message":"Internal Server Error"}}\n')
    assert answer.all("injected") == []
    assert len(answer.all("x-correlation-id")) == 1
    assert '"response":500' in "".join(capsys.readouterr())


@pytest.mark.parametrize("around", ["all", "group", "mount", "mounted Starlette"])
async def test_what_a_middleware_or_a_mounted_application_adds_is_checked_too(
    around: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on the way out goes around the check."""
    app = App()

    async def handler(_: Context) -> str:
        return "text"

    async def text(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("text")(scope, receive, send)

    if around == "all":
        app.add_middleware(_Marking)
        app.get("/x")(handler)
    elif around == "group":
        app.group("/", middleware=[Middleware(_Marking)]).get("/x")(handler)
    elif around == "mount":
        app.mount("/x", _Marking(text))
    else:
        app.mount("/x", Starlette(middleware=[Middleware(_Marking)]))
    async with serving(app) as client:
        response = await client.get("/x")
    assert (response.status_code, response.json()) == (500, {"error": {"message": "Internal Server Error"}})
    assert "injected" not in response.headers
    assert '"response":500' in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "raised",
    [HTTPException(400, headers={"X": INJECTED}), HTTPException(101), _changed(HTTPError(400, "x"))],
    ids=repr,
)
async def test_an_error_of_a_middleware_is_checked_too(raised: Exception) -> None:
    """An error raised around the routes that cannot be sent is the usual 500."""

    class Failing:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/x":
                raise raised
            await self._app(scope, receive, send)

    app = App()
    app.add_middleware(Failing)
    async with serving(app) as client:
        answer = await _ask_twice(client)
    assert (answer.status, answer.body) == (500, b'{"error":{"message":"Internal Server Error"}}\n')


async def test_the_type_of_a_file_is_checked_where_it_stands_in_the_body_too() -> None:
    """A response of several ranges repeats the type in each part."""
    app = App()
    app.get("/x")(_handler(File(Path(__file__), content_type=INJECTED)))
    async with serving(app) as client:
        response = await client.get("/x", headers={"Range": "bytes=0-1,5-6"})
    assert (response.status_code, response.json()) == (500, {"error": {"message": "Internal Server Error"}})


def test_a_challenge_is_checked_where_it_is_written() -> None:
    """The headers that errors make of their arguments are refused there."""
    with pytest.raises(ValueError, match="www-authenticate"):
        Unauthorized(challenge=f"Basic realm={INJECTED}")
    with pytest.raises(ValueError, match="retry-after"):
        kvik.TooManyRequests(INJECTED)  # type: ignore[arg-type] # as a careless program does


@pytest.mark.parametrize("kind", ["accept", "subprotocol", "denial", "mounted denial", "denial without a body"])
async def test_the_answer_to_a_handshake_is_checked_too(kind: str) -> None:
    """A WebSocket's handshake is refused where a header of its answer could not be sent."""
    app = App()

    async def serve(websocket: WebSocket) -> None:
        if kind == "accept":
            await websocket.accept(headers=[(b"x", INJECTED.encode())])
        elif kind == "subprotocol":
            await websocket.accept(subprotocol=INJECTED)
        elif kind == "denial without a body":
            await websocket.send_denial_response(PlainTextResponse("text", 204))
        else:
            await websocket.send_denial_response(_starlette(x=INJECTED))

    @app.websocket("/ws")
    async def handler(ctx: Context) -> None:
        await serve(ctx.websocket)

    app.mount("/in", Starlette(routes=[WebSocketRoute("/ws", serve)]))
    async with serving(app) as client:
        path = "/in/ws" if kind == "mounted denial" else "/ws"
        url = f"ws://{client.base_url.host}:{client.base_url.port}{path}"
        with pytest.raises(InvalidStatus) as caught:
            await connect(url, proxy=None)
    response = caught.value.response
    assert "injected" not in response.headers
    assert response.status_code in ({204} if kind == "denial without a body" else {403, 500})
    assert b"text" not in response.body


# Redirects


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/日本", "/%E6%97%A5%E6%9C%AC"),
        ("/a b?q=ä ö#ü x", "/a%20b?q=%C3%A4%20%C3%B6#%C3%BC%20x"),
        ("/a%20b/%E6%97%A5?q=100%&r=%zz", "/a%20b/%E6%97%A5?q=100%&r=%zz"),
        ("https://bücher.example:8080/ä", "https://xn--bcher-kva.example:8080/%C3%A4"),
        ("//joe@例え.jp?ä", "//joe@xn--r8jz45g.jp?%C3%A4"),
        ("https://a..ü/", "https://a..%C3%BC/"),
        ("https://[::1]:80/;a=b,c!$'()*+~_-.@:&=", "https://[::1]:80/;a=b,c!$'()*+~_-.@:&="),
        ('/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("?page=2", "?page=2"),
        ("", ""),
    ],
)
async def test_a_redirect_is_escaped_as_browsers_do(url: str, location: str) -> None:
    """Text beyond ASCII, spaces and quotes are escaped; what is an escape, or a URL's own, stays."""
    answer = await _answer(Redirect(url))
    assert (answer.status, answer.all("location"), answer.all("content-length")) == (302, [location], ["0"])
