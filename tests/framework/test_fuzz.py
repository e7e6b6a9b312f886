"""Whatever a client sends: an answer below 500 or a closed connection, soon, and a server that goes on."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import Program, program

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
ALIVE = b"GET /.well-known/alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HANGS_AFTER = 30.0  # seconds; above the timers that the programs run with
FOR_AN_ANSWER = 0.02  # seconds in which the answer to malformed bytes may come before the client's end is closed

fuzzing = settings(
    max_examples=300,
    derandomize=True,  # the same requests on every machine, so that a failure is one
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module", params=[("dynamodb", "auto"), ("swap_drivers", "asgi")], ids="-".join)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run an example as it is, on SQLite or in memory, by either way, with short timers."""
    example, engine = request.param
    folder = tmp_path_factory.mktemp("fuzz")
    limits = {"HEADER_TIMEOUT": "2s", "BODY_TIMEOUT": "2s", "SQLITE_PATH": str(folder / "kvik.db")}
    with program(EXAMPLES / example / "main.py", folder, HTTP_ENGINE=engine, **limits) as served:
        yield served


# Speaking to the server


def _send(running: Program, data: bytes, *, complete: bool) -> bytes:
    """Send bytes and give all that comes back until the server closes; a hang is an AssertionError.

    A `complete` request says "Connection: close" and waits for its answer; otherwise the client closes its end.
    """
    url = httpx.URL(running.url)
    with socket.create_connection((url.host, url.port or 0), HANGS_AFTER) as connection:
        answer = b""
        try:
            connection.sendall(data)
            if not complete:
                connection.settimeout(FOR_AN_ANSWER)
                answer = _received(connection)
                connection.settimeout(HANGS_AFTER)
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except TimeoutError:
            raise AssertionError(f"no end within {HANGS_AFTER:g} s of {data[:500]!r}") from None
        except (ConnectionError, OSError):
            pass  # closed, which is an answer too
    return answer


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


def _statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"(?:^|\n)HTTP/1\.[01] (\d{3}) ", answer)]


def _assert_unharmed(running: Program) -> None:
    """Check that the server answers, and that nothing went wrong inside of it."""
    assert _statuses(_send(running, ALIVE, complete=True)) == [200]
    errors = [line for line in running.news() if re.match(r'{"level":"(ERROR|CRITICAL)"', line)]
    assert errors == []


# Requests that are HTTP


SEGMENTS = st.one_of(
    st.text(max_size=12).map(quote),
    st.sampled_from(
        [
            *("dynamodb", "notes", "health", ".well-known", "alive", "ready", "favicon.ico"),
            *("", ".", "..", "%2e%2e", "%2F", "%00", "%ff", "%C3%28", "%zz", "%", "*", ";a=b", "a" * 3000),
            *("%ED%A0%80", "%F0%9F%94%91", "a%0d%0ab"),
        ]
    ),
    st.binary(max_size=12).map(quote),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#?"), max_size=12),
)
ROUTED = st.one_of(
    st.sampled_from(["POST /dynamodb", "GET /health", "GET /.well-known/health", "GET /.well-known/ready"]),
    st.tuples(
        st.sampled_from(["GET /dynamodb/", "DELETE /dynamodb/", "PUT /notes/", "GET /notes/", "DELETE /notes/"]),
        st.one_of(st.sampled_from(["k", "l"]), SEGMENTS),
    ).map("".join),
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "NONSENSE"])
PATHS = st.lists(SEGMENTS, max_size=5).map(lambda segments: "/" + "/".join(segments))
TARGETS = st.one_of(ROUTED, ROUTED, st.tuples(METHODS, st.one_of(PATHS, st.just("*"))).map(" ".join))
QUERIES = st.one_of(
    st.just(""),
    st.sampled_from(
        ["?key=k", "?key", "?key=&key=x", "?key=%00", "?key=%ff", "?%ff=k", "?key=" + "k" * 3000, "?&&=;"]
    ),
    st.binary(max_size=20).map(lambda data: "?key=" + quote(data)),
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
HEADERS = st.one_of(
    st.sampled_from(
        [
            *("Content-Type: application/json", "Content-Type: text/plain", "Content-Type: a/b; charset=\xff"),
            *("Content-Type: application/x-www-form-urlencoded", "Content-Type: multipart/form-data; boundary=b"),
            *("Content-Type: multipart/form-data", "Content-Type:", "Expect: 100-continue", "Expect: nonsense"),
            *("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"),
            *("Range: bytes=0-", "Range: bytes=9-1", "If-None-Match: *", "Accept-Encoding: gzip", "Origin: null"),
            *("Origin: http://a", "Access-Control-Request-Method: PUT", "X-Forwarded-For: a, b, \xff"),
            *(
                "X-Forwarded-Proto: gopher",
                "traceparent: 00-" + "0" * 32 + "-" + "0" * 16 + "-00",
                "traceparent: x",
            ),
            *("X-Correlation-ID: \xff", "Cookie: a=b; \xff; =; c", "Authorization: Basic \xff", "Host: b\xff"),
        ]
    ),
    st.tuples(st.from_regex(r"[A-Za-z!#$%&'*+.^_`|~-]{1,12}", fullmatch=True), VALUES).map(": ".join),
).filter(lambda header: not re.match(r"(?i)content-length|transfer-encoding|connection:", header))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
BODIES = st.one_of(
    st.just(b""),
    st.just(b'{"text":"milk"}'),
    JSON,
    st.binary(max_size=50),
    st.sampled_from(
        [
            *(b"[" * 100_000, b'{"a":' * 50_000, b'{"text":"\xff"}', b'"\\ud800"', b"1e999999", b"1" * 10_000),
            *(
                b"a=b&a=%ff&=&&c",
                b"--b\r\n\r\n",
                b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--",
            ),
        ]
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make a request that is well-formed, however little sense it makes."""
    target, query, body = draw(TARGETS), draw(QUERIES), draw(BODIES)
    lines = [f"{target}{query} HTTP/1.1", "Host: localhost", *draw(st.lists(HEADERS, max_size=5))]
    if draw(st.booleans()):
        lines += [f"Content-Length: {len(body)}"]
    else:
        lines += ["Transfer-Encoding: chunked"]
        middle = draw(st.integers(0, len(body)))
        parts = [part for part in (body[:middle], body[middle:]) if part]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


@fuzzing
@given(data=requests())
def test_a_request_is_answered_below_500(running: Program, data: bytes) -> None:
    """Any method, path, query, headers and body have an answer below 500, and the server goes on."""
    statuses = _statuses(_send(running, data, complete=True))
    assert statuses, data
    assert max(statuses) < 500, data
    _assert_unharmed(running)


# Bytes that are not


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            *(
                b"GET ",
                b"POST ",
                b"PUT ",
                b"/",
                b"/dynamodb/k",
                b"/notes/k",
                b"*",
                b" HTTP/1.1\r\n",
                b" HTTP/1.0\r\n",
            ),
            *(
                b" HTTP/9.9\r\n",
                b" HTTP/2.0\r\n",
                b" RTSP/1.0\r\n",
                b"CONNECT ",
                b"\r\n",
                b"\n",
                b"\r",
                b"\r\n\r\n",
                b"\0",
                b"Host: a\r\n",
                b"Host: \xff\r\n",
                b": \r\n",
            ),
            *(
                b"Content-Length: 5\r\n",
                b"Content-Length: -1\r\n",
                b"Content-Length: 9e9\r\n",
                b"content-length:5\r\n",
            ),
            *(
                b"Transfer-Encoding: chunked\r\n",
                b"Transfer-Encoding: x, chunked\r\n",
                b"5\r\nhello\r\n",
                b"0\r\n\r\n",
            ),
            *(
                b"fffffffffffffffff\r\n",
                b"Connection: keep-alive\r\n",
                b"Expect: 100-continue\r\n",
                b"hello",
                b" a\r\n",
            ),
            *(
                b"Upgrade: websocket\r\n",
                b"Upgrade: h2c\r\n",
                b"Upgrade: h2c, websocket\r\n",
                b"Connection: Upgrade\r\n",
                b"A" * 5000,
            ),
        ]
    ),
)


@fuzzing
@given(pieces=st.lists(PIECES, max_size=12))
def test_bytes_of_any_kind_are_answered_below_500_or_closed(running: Program, pieces: list[bytes]) -> None:
    """What is hardly HTTP gets an answer below 500 or a closed connection, and the server goes on."""
    statuses = _statuses(_send(running, b"".join(pieces), complete=False))
    assert max(statuses, default=0) < 500
    _assert_unharmed(running)


def _head(*lines: bytes, start: bytes = b"GET /.well-known/alive HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: localhost", *lines, b"", b""])


POST = b"POST /dynamodb?key=k HTTP/1.1"
PUT = b"PUT /notes/k HTTP/1.1"
WEBSOCKET = (
    *(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
MALFORMED = {
    "nothing": b"",
    "a NUL in the path": _head(start=b"GET /\0 HTTP/1.1"),
    "a NUL in a header": _head(b"A: b\0c"),
    "a NUL percent-encoded": _head(start=b"GET /notes/%00 HTTP/1.1"),
    "bad UTF-8 in the path": _head(start=b"GET /notes/\xff\xfe HTTP/1.1"),
    "bad UTF-8 in the query": _head(start=b"POST /dynamodb?key=\xff HTTP/1.1"),
    "bad UTF-8 percent-encoded": _head(start=b"GET /notes/%ff?%ff=%fe HTTP/1.1"),
    "dots": _head(start=b"GET /../../../etc/passwd HTTP/1.1"),
    "dots percent-encoded": _head(start=b"GET /%2e%2e/%2e%2e%2fetc/passwd HTTP/1.1"),
    "an absolute target": _head(start=b"GET http://elsewhere/notes/k HTTP/1.1"),
    "a target for a proxy": _head(start=b"CONNECT elsewhere:443 HTTP/1.1"),
    "no version": b"GET /notes/k\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "an upgrade to HTTP/2": _head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"),
    "an upgrade with a body": _head(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 2", start=PUT)
    + b"{}",
    "upgrades in a row": _head(b"Connection: Upgrade", b"Upgrade: foo, bar") * 50,
    "a WebSocket by POST": _head(b"Connection: Upgrade", b"Upgrade: websocket", start=POST),
    "a WebSocket with a body": _head(*WEBSOCKET, b"Content-Length: 3") + b"abc",
    "a WebSocket with chunks": _head(*WEBSOCKET, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    "a WebSocket with many headers": _head(*WEBSOCKET, *(b"A: a",) * 200),
    "a WebSocket with a long header": _head(*WEBSOCKET, b"A: " + b"a" * 9000),
    "a WebSocket behind a request": _head() + _head(*WEBSOCKET, b"Content-Length: 3") + b"abc",
    "a WebSocket by HTTP/1.0": _head(*WEBSOCKET, start=b"GET /.well-known/alive HTTP/1.0"),
    "RTSP": _head(start=b"OPTIONS * RTSP/1.0"),
    "a Host with a path": b"GET /.well-known/alive HTTP/1.1\r\nHost: a/b@c d\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "no Host": b"GET /.well-known/alive HTTP/1.1\r\n\r\n",
    "two Hosts": _head(b"Host: elsewhere"),
    "bare line feeds": b"GET /.well-known/alive HTTP/1.1\nHost: a\n\n",
    "a folded header": _head(b"A: b", b" c"),
    "a space before the colon": _head(b"Content-Length : 5") + b"hello",
    "a header without a colon": _head(b"nonsense"),
    "a head of 70 KiB in one header": _head(b"A: " + b"b" * 70 * 1024),
    "a head of 1 MiB in many headers": _head(*(b"A%d: %s" % (n, b"b" * 50) for n in range(18_000))),
    "a path of 100 KiB": _head(start=b"GET /notes/" + b"a" * 100_000 + b" HTTP/1.1"),
    "a head without end": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200_000,
    "two equal lengths": _head(b"Content-Length: 5", b"Content-Length: 5", start=PUT) + b"hello",
    "two lengths": _head(b"Content-Length: 5", b"Content-Length: 6", start=PUT) + b"hello",
    "two lengths in one header": _head(b"Content-Length: 5, 6", start=PUT) + b"hello",
    "a length and chunks": _head(b"Content-Length: 5", b"Transfer-Encoding: chunked", start=PUT) + b"0\r\n\r\n",
    "a negative length": _head(b"Content-Length: -5", start=PUT) + b"hello",
    "a length of words": _head(b"Content-Length: five", start=PUT) + b"hello",
    "a length of 2^64": _head(b"Content-Length: 18446744073709551616", start=PUT) + b"hello",
    "a length over the limit": _head(b"Content-Length: 99999999", start=PUT) + b"hello",
    "a body cut short": _head(b"Content-Length: 5000", start=PUT) + b"hello",
    "a body over the limit": _head(b"Transfer-Encoding: chunked", start=PUT)
    + (b"100000\r\n" + b"a" * 0x100000 + b"\r\n") * 6
    + b"0\r\n\r\n",
    "an unknown coding": _head(b"Transfer-Encoding: gzip", start=POST) + b"hello",
    "chunked twice": _head(b"Transfer-Encoding: chunked, chunked", start=POST) + b"0\r\n\r\n",
    "a chunk of 2^64 bytes": _head(b"Transfer-Encoding: chunked", start=PUT) + b"10000000000000000\r\nhello",
    "a chunk of words": _head(b"Transfer-Encoding: chunked", start=PUT) + b"five\r\nhello\r\n0\r\n\r\n",
    "a long chunk extension": _head(b"Transfer-Encoding: chunked", start=PUT) + b"5;a=" + b"b" * 200_000,
    "a long trailer": _head(b"Transfer-Encoding: chunked", start=PUT) + b"0\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
    "a hundred requests at once": _head() * 100,
    "a request behind a malformed one": b"nonsense\r\n\r\n" + _head(),
    "a WebSocket without its key": _head(b"Connection: Upgrade", b"Upgrade: websocket"),
    "a WebSocket to nowhere": _head(
        *(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_http_is_answered_below_500_or_closed(running: Program, data: bytes) -> None:
    """Each known way to break HTTP gets an answer below 500 or a closed connection, and the server goes on."""
    statuses = _statuses(_send(running, data, complete=False))
    assert max(statuses, default=0) < 500
    _assert_unharmed(running)
