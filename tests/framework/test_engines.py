"""The ways of a request, direct or through ASGI, by `app.run()` or under uvicorn: one behaviour, byte for byte."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from websockets.sync.client import connect

from kvik import App
from kvik._serving import engine
from kvik._serving.direct import DirectConnection
from support import Program, connection_class, program, serving, until

PROGRAM = """
import asyncio
from kvik import App, Context, File, HTTPError, Raw, Redirect, Response, Stream
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

class Marked:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def marked(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"marked", b"yes")]
            await send(message)
        await self.app(scope, receive, marked)

app = App()

@app.get("/")
async def plain(ctx):
    return {"query": ctx.param("q"), "agent": ctx.header("user-agent"), "ip": ctx.client_ip}

@app.get("/u/{id:int}/{name}")
async def user(ctx):
    return [ctx.path_param("id"), ctx.path_param("name"), ctx.request.url.path, ctx.request.url.scheme]

@app.route("/body", methods=["POST", "PUT", "PATCH", "DELETE"])
async def body(ctx):
    return Raw({"body": (await ctx.body()).decode("latin-1"), "method": ctx.method})

@app.get("/cancels-itself")
async def cancels_itself(ctx):
    asyncio.current_task().cancel()
    await asyncio.sleep(9)

@app.get("/exits")
async def exits(ctx):
    raise SystemExit(3)

@app.get("/exits-in-a-thread")
def exits_in_a_thread(ctx):
    next(iter([]))

@app.post("/bind")
async def bind(ctx):
    return await ctx.bind(dict[str, int])

@app.post("/unread")
async def unread(ctx):
    return None

@app.get("/thread")
def thread(ctx):
    return ctx.path

@app.get("/nothing")
async def nothing(ctx):
    return Response(status=204)

@app.get("/close")
async def close(ctx):
    return Response("bye", headers={"Connection": "close"}, cookies={"a": "b"})

@app.get("/typed")
async def typed(ctx):
    return Response("typed", headers={"Content-Type": "text/plain", "X-Correlation-ID": "mine"})

@app.get("/redirect")
async def redirect(ctx):
    return Redirect("/elsewhere")

@app.get("/stream")
async def stream(ctx):
    async def pieces():
        for n in range(3):
            yield f"piece {n} "
            await asyncio.sleep(0)
    return Stream(pieces())

@app.get("/broken-stream")
async def broken_stream(ctx):
    async def pieces():
        yield "one "
        raise ValueError("no more")
    return Stream(pieces())

@app.get("/file")
async def file(ctx):
    return File(b"0123456789", content_type="text/plain")

@app.get("/starlette")
async def starlette(ctx):
    return PlainTextResponse("starlette")

@app.get("/large")
async def large(ctx):
    return "l" * 300_000

@app.get("/slow")
async def slow(ctx):
    await asyncio.sleep(0.02)
    return "slow"

@app.get("/late")
async def late(ctx):
    await asyncio.sleep(5)

@app.get("/refused")
async def refused(ctx):
    raise HTTPError(403, "refused", headers={"X-Why": "because"})

@app.get("/failing")
async def failing(ctx):
    raise ValueError("secret")

@app.get("/unencodable")
async def unencodable(ctx):
    return object()

@app.get("/cancelled")
async def cancelled(ctx):
    raise asyncio.CancelledError

async def mounted(scope, receive, send):
    await PlainTextResponse("mounted")(scope, receive, send)

app.mount("/mounted", mounted)
app.group("/group", middleware=[Middleware(Marked)]).get("/in")(plain)

@app.websocket("/ws")
async def ws(ctx):
    await ctx.websocket.accept()
    await ctx.websocket.send_text(await ctx.websocket.receive_text())

if __name__ == "__main__":
    app.run()
"""

Ways = Mapping[str, Program]
"""The program as it runs by each way; the first two are named after HTTP_ENGINE."""

LIMITS = {
    "HEADER_TIMEOUT": "300ms",
    "BODY_TIMEOUT": "300ms",
    "REQUEST_TIMEOUT": "700ms",
    "MAX_BODY_SIZE": "100KiB",
}
ALIVE = b"GET /.well-known/alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

fuzzing = settings(
    max_examples=120,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines") / "main.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture(scope="module")
def ways(main: Path) -> Iterator[Ways]:
    """Run the program with the direct protocol, without, and with it under `uvicorn main:app`."""
    as_uvicorn = ("--no-access-log", "--no-server-header")
    with (
        program(main, main.parent, HTTP_ENGINE="auto", **LIMITS) as direct,
        program(main, main.parent, HTTP_ENGINE="asgi", **LIMITS) as asgi,
        program(main, main.parent, uvicorn=as_uvicorn, HTTP_ENGINE="auto", **LIMITS) as under_uvicorn,
    ):
        yield {"auto": direct, "asgi": asgi, "uvicorn": under_uvicorn}


def _connect(running: Program) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _talk(running: Program, pieces: list[bytes]) -> bytes:
    """Send the pieces one by one, and give all that comes back until the server closes."""
    return _talk_and_see(running, pieces)[0]


def _talk_and_see(running: Program, pieces: list[bytes]) -> tuple[bytes, bool]:
    """Do the same, and tell whether the kernel reset the connection: then an end may have been lost on the way."""
    received = b""
    with _connect(running) as connection:
        try:
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(0.002)
                connection.sendall(piece)
            while data := connection.recv(65536):
                received += data
        except ConnectionError:
            with contextlib.suppress(ConnectionError):
                while data := connection.recv(65536):
                    received += data
            return received, True
    return received, False


def _comparable(answers: bytes) -> bytes:
    """Leave out what differs from one moment to the next."""
    return re.sub(rb"\r\n((?i:date): [^\r]*|x-correlation-id: [0-9a-f]{32})", b"", answers)


def _assert_same(ways: Ways, pieces: list[bytes]) -> bytes:
    """Compare the answers, as far as they came: who sends on behind a last request may have them cut."""
    expected, was_cut = _talk_and_see(ways["asgi"], pieces)
    expected = _comparable(expected)
    for name in ("auto", "uvicorn"):
        answers, was_cut_too = _talk_and_see(ways[name], pieces)
        answers = _comparable(answers)
        if was_cut or was_cut_too:
            assert answers.startswith(expected) or expected.startswith(answers), (name, pieces)
        else:
            assert answers == expected, (name, pieces)
    return expected


# The table, by hand

TARGETS = [
    *(b"/", b"/?q=1&q=2", b"/?q=%ff", b"/?q=%C3%A9", b"//", b"/#a?q=1", b"/?q=a#b", b"/u/7/joe", b"/u/7/a%2Fb"),
    *(
        b"/u/x/joe",
        b"/u/7/%zz",
        b"/u/7/%ff",
        b"/u//7//joe/",
        b"/body",
        b"/bind",
        b"/unread",
        b"/thread",
        b"/nothing",
    ),
    *(b"/close", b"/typed", b"/redirect", b"/stream", b"/broken-stream", b"/file", b"/starlette", b"/large"),
    *(b"/slow", b"/refused", b"/failing", b"/unencodable", b"/mounted", b"/mounted/x", b"/group/in", b"/ws"),
    *(b"/.well-known/alive", b"/.well-known/ready", b"/favicon.ico", b"/cancelled", b"/missing", b"*"),
    *(b"http://elsewhere/u/7/joe", b"/" + b"a" * 5000, b"/%2e%2e/", b"/?" + b"q" * 5000),
]
METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("method", METHODS)
def test_every_target_has_one_answer(ways: Ways, method: bytes, version: bytes) -> None:
    """Status, headers in their order, framing and body are the same for each method, path and version."""
    body = b"" if method in {b"GET", b"HEAD", b"OPTIONS"} else b'{"a":1}'
    for target in TARGETS:
        head = b"%b %b HTTP/%b\r\nHost: x\r\nContent-Length: %d\r\nUser-Agent: t\r\n" % (
            *(method, target, version),
            len(body),
        )
        assert _assert_same(ways, [head + b"\r\n" + body + ALIVE]), target


@pytest.mark.parametrize(
    "headers",
    [
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: Upgrade\r\nUpgrade: h2c",
        b"Connection: Upgrade\r\nUpgrade: websocket",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"Transfer-Encoding: chunked",
        b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https",
        b"X-Forwarded-For: 9.9.9.9, 127.0.0.1",
        b"X-Forwarded-For:",
        b"Origin: http://a",
        b"Host: y",
        b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
@pytest.mark.parametrize("target", [b"GET /u/7/joe", b"GET /", b"POST /body"])
def test_headers_that_mean_something_mean_the_same(ways: Ways, target: bytes, headers: bytes) -> None:
    """What decides about the connection, the client or the body decides alike."""
    head = target + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n"
    assert _assert_same(ways, [head, b"0\r\n\r\n" + ALIVE])


@pytest.mark.parametrize("size", [0, 1, 7, 65536, 65537, 102400, 102401])
def test_a_body_of_any_size_in_any_pieces(ways: Ways, size: int) -> None:
    """With its head, behind it, or in pieces: a body is read, or refused where it is too large."""
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    body = b"b" * size
    whole = _assert_same(ways, [head + body + ALIVE])
    assert _assert_same(ways, [head, body, ALIVE]) == whole
    assert _assert_same(ways, [head + body[:1], body[1:], ALIVE]) == whole


def test_a_connection_goes_from_one_way_to_the_other_and_back(ways: Ways) -> None:
    """Plain requests, and those that only ASGI can serve, are answered in their order on one connection."""
    targets = [b"/", b"/stream", b"/u/7/joe", b"/mounted", b"/group/in", b"/slow", b"/file", b"/thread", b"/large"]
    several = b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target for target in targets * 2)
    chunked = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    answers = _assert_same(ways, [several + chunked + GET + ALIVE])
    assert answers.count(b"HTTP/1.1 20") == 2 * len(targets) + 3


UPGRADES = (b"h2c", b"foo", b"h2c, websocket", b"h2c\r\nUpgrade: websocket", b"websocket")


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_an_upgrade_that_opens_no_websocket_is_ignored(ways: Ways, upgrade: bytes) -> None:
    """The body is read, by a POST with `Upgrade: websocket` too, and what is behind it is answered."""
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n"
    framed = [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    whole = GET + b"".join(head + body for body in framed) + GET
    expected = _assert_same(ways, [whole + ALIVE])
    assert re.findall(rb"HTTP/1.1 (\d+)", expected) == [b"200", b"201", b"201", b"200", b"200"]
    assert expected.count(b'{"body":"hello","method":"POST"}') == 2
    assert _assert_same(ways, [*(whole[at : at + 40] for at in range(0, len(whole), 40)), ALIVE]) == expected


@pytest.mark.parametrize(
    "target", [b"/stream", b"/broken-stream", b"/file", b"/mounted", b"/redirect", b"/nothing"]
)
def test_http_1_0_has_no_chunks(ways: Ways, target: bytes) -> None:
    """To an older client a response of unknown length ends with its connection."""
    for headers in (b"", b"Connection: keep-alive\r\n"):
        answer = _assert_same(ways, [b"GET " + target + b" HTTP/1.0\r\n" + headers + b"\r\n"])
        assert b"\r\nconnection: close\r\n" in answer
        assert b"chunked" not in answer
        if target == b"/stream":
            assert answer.endswith(b"\r\n\r\npiece 0 piece 1 piece 2 ")


@pytest.mark.parametrize(
    "refused",
    [
        b"CONNECT /u/7/joe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/3\r\nHost: x\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b@c d\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_served_is_refused(ways: Ways, refused: bytes) -> None:
    """Other protocols, requests to a proxy and doubtful hosts are 400, and the connection is closed."""
    for pieces in ([refused + GET], [GET + refused + GET]):
        answers = re.findall(rb"HTTP/1.1 (\d+)", _assert_same(ways, pieces))
        assert answers == [b"200"] * (len(pieces[0]) > len(refused + GET)) + [b"400"]


LARGE = b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 190_000


@pytest.mark.parametrize("large", [LARGE, LARGE + b"\r\n\r\n", LARGE[:27] + b"A: a\r\n" * 30_000], ids=len)
def test_the_limit_of_a_head_holds_behind_a_plain_request(ways: Ways, large: bytes) -> None:
    """190 KB of headers behind another request in one read are as much too large as alone."""
    for name in ("auto", "asgi", "uvicorn"):
        assert re.findall(rb"HTTP/1.1 (\d+)", _talk(ways[name], [GET + large])) == [b"200", b"431"]


@pytest.mark.parametrize(
    "behind", [GET[:9], b"hello\r\n\r\n", b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nb"]
)
def test_the_limits_hold_behind_a_plain_request(ways: Ways, behind: bytes) -> None:
    """Half a head, rubbish and half a body end the connection as they would at its beginning."""
    for pieces in ([GET + behind], [GET, behind]):
        assert _assert_same(ways, pieces).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_handler_out_of_time_is_408(ways: Ways) -> None:
    """REQUEST_TIMEOUT holds, and the connection goes on."""
    answers = _assert_same(ways, [b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n" + ALIVE])
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"408", b"200"]


@pytest.mark.parametrize("path", [b"/cancelled", b"/cancels-itself", b"/exits", b"/exits-in-a-thread"])
def test_what_would_end_more_than_a_request_is_a_500(ways: Ways, path: bytes) -> None:
    """A cancellation that nobody asked for, an exit, what a future refuses: the connection goes on."""
    answers = _assert_same(ways, [b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" + ALIVE])
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"500", b"200"]
    assert b'{"error":{"message":"Internal Server Error"}}' in answers


def test_log_lines_are_the_same(ways: Ways) -> None:
    """The access line and the lines of errors have the same fields, values and order."""
    kinds: list[list[object]] = []
    for name in ("auto", "asgi"):
        running = ways[name]
        running.news()
        for target in (
            b"/",
            b"/failing",
            b"/refused",
            b"/missing",
            b"/stream",
            b'/a"b%0a%C3%A9',
            b"/broken-stream",
        ):
            _talk(running, [b"GET %b HTTP/1.1\r\nHost: x\r\nUser-Agent: \xe9\\\r\n\r\n" % target + ALIVE])
        _until_logged(running, "/.well-known/alive", 7)
        lines = [json.loads(line) for line in running.news() if line.startswith("{")]
        changing = {"time", "start_time", "response_time", "trace_id", "span_id", "exception"}
        kinds.append([[(k, v if k not in changing else "") for k, v in line.items()] for line in lines])
    assert kinds[0] == kinds[1]


def _until_logged(running: Program, text: str, count: int = 1) -> None:
    until(lambda: running.output.count(text) >= count, "the line is not there")


# Requests of any kind, in any pieces

HEADERS = st.sampled_from(
    [
        *(b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"),
        *(b"X-Forwarded-For: 9.9.9.9\r\n", b'User-Agent: \xff"\\\r\n', b"Origin: null\r\n", b"Cookie: a=b\r\n"),
        *(b"Upgrade: websocket\r\n", b"Connection: upgrade\r\nUpgrade: other\r\n", b"Host: y\r\n", b"A: \0\r\n"),
        *(b"Content-Length: 3\r\n", b"Content-Length: x\r\n", b"Transfer-Encoding: gzip\r\n", b" folded\r\n"),
    ]
)
BODIES = st.one_of(st.just(b""), st.binary(max_size=30), st.just(b'{"a": 1}'), st.just(b"b" * 70_000))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make a request, mostly well-formed."""
    target = draw(st.one_of(st.sampled_from(TARGETS), st.binary(max_size=8).map(lambda data: b"/" + data)))
    method = draw(st.sampled_from([*METHODS, b"GET", b"GET", b"POST", b"get"]))
    body = draw(BODIES)
    lines = [
        b"%b %b HTTP/%b\r\n" % (method, target, draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"2.0"])))
    ]
    lines += [b"Host: x\r\n", *draw(st.lists(HEADERS, max_size=2))]
    if draw(st.integers(0, 3)) == 0:
        middle = len(body) // 2
        chunks = [part for part in (body[:middle], body[middle:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks) + b"0\r\n\r\n"
        lines += [b"Transfer-Encoding: chunked\r\n"]
    elif body or draw(st.booleans()):
        lines += [b"Content-Length: %d\r\n" % len(body)]
    return b"".join(lines) + b"\r\n" + body


RUBBISH = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"\r\n", b"GET / HTTP/1.1\r\n", b"hello\r\n\r\n", b"\0"])
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Make a few messages in a row, cut at any bytes."""
    messages = draw(st.lists(st.one_of(requests(), requests(), requests(), RUBBISH), max_size=4))
    sent = b"".join(messages) + ALIVE
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    return [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True) if start < end]


@fuzzing
@given(pieces=conversations())
def test_whatever_is_sent_is_answered_alike(ways: Ways, pieces: list[bytes]) -> None:
    """Requests well and ill formed, pipelined, cut at any bytes, have the same answers by every way."""
    _assert_same(ways, pieces)


# What only a server of its own can show


@pytest.mark.parametrize("engine_name", ["auto", "asgi"])
def test_one_connection_with_many_requests_does_not_starve_the_others(
    main: Path, engine_name: str, tmp_path: Path
) -> None:
    """A client that sends thousands of requests at once waits for its answers like everybody else."""
    with program(main, tmp_path, HTTP_ENGINE=engine_name) as running, _connect(running) as greedy:
        sender = threading.Thread(target=lambda: greedy.sendall(GET * 3000 + ALIVE))
        sender.start()
        began = time.monotonic()
        assert b"200 OK" in _talk(running, [ALIVE])
        waited = time.monotonic() - began
        received = b""
        while data := greedy.recv(65536):
            received += data
        sender.join()
        assert received.count(b"HTTP/1.1 200 OK") == 3001
        assert waited < (time.monotonic() - began) / 2


@pytest.mark.parametrize("engine_name", ["auto", "asgi", "uvicorn"])
def test_a_client_that_leaves_is_499_and_its_handler_cancelled(ways: Ways, engine_name: str) -> None:
    """Nothing is written, and the access line says so, long before the handler would have been done."""
    running = ways[engine_name]
    running.news()
    with _connect(running) as client:
        client.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
    _until_logged(running, '"response":499', 1)


@pytest.mark.parametrize("engine_name", ["auto", "asgi", "uvicorn"])
def test_a_client_that_reads_slowly_gets_all_of_it(ways: Ways, engine_name: str) -> None:
    """Answers wait until those before them have been read, and none is lost."""
    with _connect(ways[engine_name]) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + ALIVE)
        time.sleep(0.2)
        received = bytearray()
        while data := client.recv(65536):
            received += data
    assert received.count(b'{"data":"lll') == 20


def test_a_websocket_opens_on_a_program_of_its_own(ways: Ways) -> None:
    """An upgrade leaves the direct protocol for that of WebSockets."""
    for running in ways.values():
        with connect(running.url.replace("http", "ws") + "/ws", proxy=None) as client:
            client.send("hello")
            assert client.recv(timeout=20) == "hello"


async def test_an_app_whose_class_takes_part_in_each_request_is_let(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of one's own that overrides `__call__` sees every request, also under `app.run()`."""
    monkeypatch.setattr("support.PROTOCOL", "kvik")
    seen: list[str] = []

    class Watched(App):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])
            await super().__call__(scope, receive, send)

    async with serving(Watched()) as client:
        assert (await client.get("/.well-known/alive")).status_code == 200
    assert seen == ["lifespan", "http"]


def test_http_engine_asgi_switches_the_direct_protocol_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HTTP_ENGINE=asgi is obeyed in silence; with auto an untested version of uvicorn gives one WARNING."""

    def chosen() -> bool:
        return issubclass(connection_class(App()), DirectConnection)

    assert chosen()
    monkeypatch.setenv("HTTP_ENGINE", "asgi")
    assert not chosen()
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("HTTP_ENGINE", "auto")
    for version in ("0.52.0", "0.999.0", "1.0.0", "unknown"):
        monkeypatch.setattr(uvicorn, "__version__", version)
        assert not chosen()
        line = json.loads(capsys.readouterr().out)
        assert (line["level"], line["message"], line["uvicorn"]) == ("WARNING", "http_engine.asgi", version)


def test_the_tested_versions_are_those_that_are_declared_and_pinned() -> None:
    """The direct protocol is for uvicorn from the declared lower bound to the version that tests run with."""
    root = Path(__file__).parents[2]
    declared = re.search(r'"uvicorn>=([\d.]+)"', (root / "framework/pyproject.toml").read_text())
    pinned = re.search(r"^uvicorn==(\d+\.\d+)", (root / "constraints.txt").read_text(), re.MULTILINE)
    assert declared
    assert pinned
    assert [".".join(map(str, version)) for version in engine.TESTED_UVICORN] == [declared[1], pinned[1]]
