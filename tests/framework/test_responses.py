"""What a client gets for the results that are more than data, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import FileResponse

import kvik
from kvik import App, Context, Event, File, Raw, Redirect, Response, Stream
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


async def _answer(result: Any, method: str = "GET", **request: Any) -> httpx.Response:
    app = App()

    async def handler(_: Context) -> Any:
        return result

    getattr(app, method.lower())("/x")(handler)
    async with serving(app) as client:
        return await client.request(method, "/x", **request)


@pytest.mark.parametrize(
    ("method", "result", "status", "body"),
    [
        ("GET", Response("d", metadata={"page": 1}), 200, b'{"metadata":{"page":1},"data":"d"}\n'),
        ("POST", Response("d"), 201, b'{"data":"d"}\n'),
        ("POST", Response("d", status=200), 200, b'{"data":"d"}\n'),
        ("PUT", Response("d", status=202), 202, b'{"data":"d"}\n'),
        ("GET", Response("d", status=204), 204, b""),
        ("GET", Response(), 200, b"{}\n"),
        ("POST", Response(), 202, b"{}\n"),
        ("DELETE", Response(), 204, b""),
        ("DELETE", Response(status=200), 200, b"{}\n"),
        ("GET", Response(metadata={"page": 1}), 200, b'{"metadata":{"page":1}}\n'),
        ("GET", Response([]), 200, b'{"data":[]}\n'),
        (
            "GET",
            Response({"a": 1}, error=ValueError("boom")),
            206,
            b'{"error":{"message":"boom"},"data":{"a":1}}\n',
        ),
        (
            "POST",
            Response(1, metadata=2, error=kvik.EntityNotFound("id", "2")),
            206,
            b'{"error":{"message":"No entity found with id: 2"},"metadata":2,"data":1}\n',
        ),
        (
            "GET",
            Response(1, error=kvik.Unavailable("10.0.0.1")),
            206,
            b'{"error":{"message":"key-value store unavailable"},"data":1}\n',
        ),
        ("GET", Response(error=kvik.HTTPError(418, "tea")), 418, b'{"error":{"message":"tea"}}\n'),
        ("GET", Response(error=ValueError("boom")), 500, b'{"error":{"message":"Internal Server Error"}}\n'),
        ("GET", Raw([1, {"a": None}]), 200, b'[1,{"a":null}]\n'),
        ("POST", Raw("x"), 201, b'"x"\n'),
        ("GET", Raw(None), 200, b"null\n"),
        ("GET", Redirect("/there?a=b"), 302, b""),
        ("DELETE", Redirect("/there?a=b"), 302, b""),
        ("POST", Redirect("/there?a=b"), 303, b""),
        ("PUT", Redirect("/there?a=b"), 303, b""),
        ("PATCH", Redirect("/there?a=b"), 303, b""),
    ],
)
async def test_each_result_has_its_status_and_body(method: str, result: Any, status: int, body: bytes) -> None:
    """Response, Raw and Redirect answer with exactly these statuses and bytes."""
    answer = await _answer(result, method)
    assert (answer.status_code, answer.content) == (status, body)
    if isinstance(result, Redirect):
        assert answer.headers["location"] == "/there?a=b"


async def test_headers_and_cookies_of_a_response() -> None:
    """A Response sets headers, Content-Type included, and cookies, also with options."""
    cookies: dict[str, Any] = {"a": "1", "b": {"value": "2", "httponly": True, "max_age": 5}}
    answer = await _answer(Response("d", headers={"X-One": "é", "Content-Type": "text/x"}, cookies=cookies))
    assert (answer.headers["x-one"], answer.headers["content-type"]) == ("é", "text/x")
    assert answer.headers.get_list("set-cookie") == [
        "a=1; Path=/; SameSite=lax",
        "b=2; HttpOnly; Max-Age=5; Path=/; SameSite=lax",
    ]


@pytest.mark.parametrize(
    "result",
    [
        Response("d", headers={"X": "a\r\nSet-Cookie: b"}),
        Response("d", headers={"X": "😀"}),
        Response("d", headers={"a b": "c"}),
        Redirect("/a\nb"),
    ],
)
async def test_a_header_that_http_cannot_carry_is_a_500(result: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A line break in a header is a mistake of the program, and never reaches the client."""
    answer = await _answer(result)
    assert (answer.status_code, answer.json()) == (500, {"error": {"message": "Internal Server Error"}})
    assert "header" in capsys.readouterr().err


@pytest.mark.parametrize("status", [100, 199, 400, 500])
def test_a_response_has_a_status_of_success(status: int) -> None:
    """An error's status is refused: errors are raised."""
    with pytest.raises(ValueError, match=f"200 to 399, not {status}"):
        Response(status=status)


async def test_a_file_has_etag_and_range(tmp_path: Path) -> None:
    """A file is streamed from its path, and a part of it on request."""
    path = tmp_path / "a.txt"
    path.write_text("0123456789")
    whole = await _answer(File(path))
    part = await _answer(File(str(path)), headers={"Range": "bytes=2-4"})
    assert (whole.status_code, whole.text, whole.headers["content-type"]) == (
        200,
        "0123456789",
        "text/plain; charset=utf-8",
    )
    assert "etag" in whole.headers
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "234", "bytes 2-4/10")


RANGES = [
    ("bytes=2-4", 206, "234"),
    ("Bytes = 2-4 ,", 206, "234"),
    ("bytes=7-", 206, "789"),
    ("bytes=-3", 206, "789"),
    ("bytes=-30", 206, "0123456789"),
    ("bytes=8-99999999999999999999", 206, "89"),
    ("bytes=0-1,99-", 206, "01"),
    ("bytes=99-100,-2", 206, "89"),
    ("bytes=10-", 416, ""),
    ("bytes=99-100,200-", 416, ""),
    ("bytes=-0", 416, ""),
    ("pages=2-4", 200, "0123456789"),
    ("2-4", 200, "0123456789"),
    ("bytes=", 200, "0123456789"),
    ("bytes=,", 200, "0123456789"),
    ("bytes=a-b", 200, "0123456789"),
    ("bytes=4-2", 200, "0123456789"),
    ("bytes=2-4,x", 200, "0123456789"),
    ("bytes=2-4,4-2", 200, "0123456789"),
    ("bytes=--1", 200, "0123456789"),
    ("bytes=+1-2", 200, "0123456789"),
    ("bytes=1_0-", 200, "0123456789"),
    ("bytes=" + "9" * 5000 + "-", 200, "0123456789"),
]


async def test_ranges_are_obeyed_or_ignored_as_rfc_9110_says(tmp_path: Path) -> None:
    """An unknown unit and what is malformed get the whole file; ranges beyond the end count only if all are."""
    path = tmp_path / "a.txt"
    path.write_text("0123456789")
    app = App()
    app.add_static_files("/static", tmp_path)

    @app.get("/file")
    async def handler(_: Context) -> File:
        return File(path)

    @app.get("/starlette")
    async def starlette(_: Context) -> FileResponse:
        return FileResponse(path)

    async with serving(app) as client:
        for target in ("/file", "/static/a.txt", "/starlette"):
            for value, status, text in RANGES:
                if target == "/starlette" and "99-" in value and status != 416:
                    continue  # Starlette's own, whose size is not known before
                answer = await client.get(target, headers={"Range": value})
                assert (answer.status_code, answer.text) == (status, text), (target, value)
                head = await client.head(target, headers={"Range": value})
                assert (head.status_code, head.headers["content-length"]) == (200, "10"), (target, value)
            several = await client.get(target, headers={"Range": "bytes=0-1,8-"})
            assert several.headers["content-type"].startswith("multipart/byteranges; boundary=")
            assert "content-range: bytes 0-1/10\r\n\r\n01\r\n" in several.text.lower()
            assert "content-range: bytes 8-9/10\r\n\r\n89\r\n" in several.text.lower()


async def test_bytes_are_a_file_too() -> None:
    """Bytes go out with the content type and the file name that they are given."""
    answer = await _answer(File(b"\x00\x01", "image/x", filename="ä.bin"))
    assert (answer.content, answer.headers["content-type"]) == (b"\x00\x01", "image/x")
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''%C3%A4.bin"
    plain = await _answer(File(b"x"))
    assert plain.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("path", ["none", "", "a\0b"])
async def test_a_file_that_is_not_there_is_a_404(path: str, tmp_path: Path) -> None:
    """A path without a file, a folder included, is 404."""
    answer = await _answer(File(f"{tmp_path}/{path}"))
    assert (answer.status_code, answer.json()) == (404, {"error": {"message": "file not found"}})


async def _pieces(*pieces: Any) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


async def test_a_stream_sends_its_pieces() -> None:
    """What the iterator gives goes out, text and bytes."""
    answer = await _answer(Stream(_pieces("a", b"b"), content_type="text/x", headers={"X-One": "1"}))
    assert (answer.content, answer.headers["content-type"], answer.headers["x-one"]) == (
        b"ab",
        "text/x; charset=utf-8",
        "1",
    )


async def test_server_sent_events() -> None:
    """Pieces of an event stream are events: text, JSON, or an Event with name, id and retry."""
    pieces = ("one\ntwo", {"a": 1}, Event("x", event="tick", id="7", retry=100))
    answer = await _answer(Stream(_pieces(*pieces), content_type="text/event-stream"))
    assert answer.text == (
        "data: one\ndata: two\n\n" + 'data: {"a":1}\n\n' + "event: tick\nid: 7\nretry: 100\ndata: x\n\n"
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"


async def test_a_file_that_the_client_has_is_not_sent_again(tmp_path: Path) -> None:
    """304 by ETag and by Last-Modified, as for static files; what asks for no such thing gets the file."""
    path = tmp_path / "a.txt"
    path.write_text("content")
    first = await _answer(File(path))
    etag, changed = first.headers["etag"], first.headers["last-modified"]
    for headers, status in (
        ({"If-None-Match": f'"x", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"', "If-Modified-Since": changed}, 200),
        ({"If-Modified-Since": changed}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "lately"}, 200),
    ):
        answer = await _answer(File(path), headers=headers)
        assert (answer.status_code, answer.content) == (status, b"content" if status == 200 else b"")
        assert answer.headers["etag"] == etag
    assert (await _answer(File(path), "POST", headers={"If-None-Match": etag})).content == b"content"


@pytest.mark.parametrize("name", ["Cache-Control", "cache-control"])
async def test_a_streams_own_cache_control_is_the_only_one(name: str) -> None:
    """However it is written."""

    async def events() -> AsyncIterator[str]:
        yield "x"

    answer = await _answer(Stream(events(), "text/event-stream", headers={name: "private"}))
    assert answer.headers.get_list("cache-control") == ["private"]


async def test_an_events_name_is_one_line() -> None:
    """A line break in an event's name would be another field: the stream is cut instead."""
    pieces = (Event("x", event="a\ndata: b"),)
    with pytest.raises(httpx.RemoteProtocolError):
        await _answer(Stream(_pieces(*pieces), content_type="text/event-stream"))


async def test_an_event_without_a_json_form_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The stream is cut, and the log says which handler gave what, and what to give instead."""
    with pytest.raises(httpx.RemoteProtocolError):
        await _answer(Stream(_pieces({"at": Path("/a")}), content_type="text/event-stream"))
    assert (
        "returned dict, in which `$.at` is PosixPath, which has no JSON form: return str(path)"
        in capsys.readouterr().err
    )


async def test_a_stream_of_events_ends_when_the_server_stops() -> None:
    """A client of an endless event stream sees its end when the app stops, and the iterator is closed."""
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    app = App()

    @app.get("/x")
    async def handler(_: Context) -> Stream:
        return Stream(endless(), content_type="text/event-stream")

    received: list[str] = []
    async with serving(app) as client, client.stream("GET", "/x") as answer:
        async for line in answer.aiter_lines():
            received.append(line)
            app._container.stopping.set()  # noqa: SLF001 - what SIGTERM does first
    assert received == ["data: first", ""]
    assert closed.is_set()


async def test_head_of_a_stream_sends_nothing() -> None:
    """HEAD of a handler that streams has its headers and no body."""
    app = App()

    @app.get("/x")
    async def handler(_: Context) -> Stream:
        return Stream(_pieces("a"))

    async with serving(app) as client:
        answer = await client.head("/x")
    assert (answer.status_code, answer.content) == (200, b"")
