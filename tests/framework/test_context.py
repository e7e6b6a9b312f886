"""What a handler can ask its Context."""

import urllib.parse
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest

import kvik
from kvik import App, Context, MemoryStore
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


@dataclass
class Person:
    name: str
    age: int


class PersonStruct(msgspec.Struct):
    name: str
    age: int


class PersonDict(TypedDict):
    name: str
    age: int


async def _ask(question: Any, *, method: str = "GET", path: str = "/x", **request: Any) -> Any:
    app = App()

    async def handler(ctx: Context) -> Any:
        result = question(ctx)
        return await result if hasattr(result, "__await__") else result

    getattr(app, method.lower())("/x")(handler)
    getattr(app, method.lower())("/p/{key}")(handler)
    async with serving(app) as client:
        return await client.request(method, path, **request)


@pytest.mark.parametrize(
    ("question", "data"),
    [
        (lambda ctx: ctx.param("a"), "1 2"),
        (lambda ctx: ctx.param("none"), ""),
        (lambda ctx: ctx.param("empty"), ""),
        (lambda ctx: ctx.params("a"), ["1 2", "3", "4"]),
        (lambda ctx: ctx.params("none"), []),
        (lambda ctx: ctx.param("e"), "é😀"),
        (lambda ctx: ctx.header("X-One"), "1"),
        (lambda ctx: ctx.header("none"), ""),
        (lambda ctx: ctx.headers["x-one"], "1"),
        (lambda ctx: ctx.cookies, {"c": "d"}),
        (lambda ctx: ctx.method, "GET"),
        (lambda ctx: ctx.path, "/x"),
        (lambda ctx: ctx.host_name, "here"),
        (lambda ctx: ctx.client_ip, "127.0.0.1"),
        (lambda ctx: ctx.request.url.path, "/x"),
        (lambda ctx: ctx.config.get("NO_SUCH_VARIABLE"), None),
    ],
)
async def test_the_request_is_at_hand(question: Any, data: Any) -> None:
    """Query, headers, cookies and the rest of the request are one call away."""
    answer = await _ask(
        question,
        path="/x?a=1+2&a=3,4&empty=&e=%C3%A9%F0%9F%98%80",
        headers={"X-One": "1", "Cookie": "c=d", "Host": "here"},
    )
    assert answer.json() == ({} if data is None else {"data": data})


@pytest.mark.parametrize("key", ["a/b", "a b", "😀", "%", "a%2Fb", "..", "ü"])
async def test_a_path_parameter_is_decoded_once(key: str) -> None:
    """A percent-encoded parameter arrives as it was meant, slashes included."""
    encoded = urllib.parse.quote(key, safe="").replace(".", "%2E")
    answer = await _ask(lambda ctx: ctx.path_param("key"), path=f"/p/{encoded}")
    assert answer.json() == {"data": key}


async def test_an_unknown_path_parameter_is_a_mistake_of_the_program() -> None:
    """A parameter that the route has not is an error in the log, not an empty string."""
    answer = await _ask(lambda ctx: ctx.path_param("id"), path="/p/1")
    assert answer.status_code == 500


async def test_bad_utf8_in_the_query_is_a_400() -> None:
    """A query that is not UTF-8 is the client's mistake."""
    answer = await _ask(lambda ctx: ctx.param("a"), path="/x?a=%ff")
    assert (answer.status_code, answer.json()) == (400, {"error": {"message": "query is not valid UTF-8"}})


@pytest.mark.parametrize("kind", [Person, PersonStruct, PersonDict])
async def test_a_json_body_is_bound_to_a_type(kind: type) -> None:
    """A body becomes an object of the type that was asked for."""

    async def question(ctx: Context) -> Any:
        bound: Any = await ctx.bind(kind)
        assert isinstance(bound, dict if kind is PersonDict else kind)
        return bound

    answer = await _ask(question, method="POST", json={"name": "Ann", "age": 3})
    assert (answer.status_code, answer.json()) == (201, {"data": {"name": "Ann", "age": 3}})


async def test_a_byte_order_mark_before_json_is_ignored() -> None:
    """Some clients write one; a mark alone is an empty body, and any other place is not for one."""
    app = App()
    app.post("/bind")(lambda ctx: ctx.bind(Person))

    @app.post("/dict")
    async def whole(ctx: Context) -> Any:
        return kvik.from_json(await ctx.body())

    async with serving(app) as client:
        marked = b'\xef\xbb\xbf{"name":"A","age":1}'
        for path in ("/bind", "/dict"):
            assert (await client.post(path, content=marked)).json() == {"data": {"name": "A", "age": 1}}
        assert (await client.post("/bind", content=b"\xef\xbb\xbf")).status_code == 400
        assert (await client.post("/bind", content=b'{\xef\xbb\xbf"name":"A","age":1}')).status_code == 400
        assert (await client.post("/bind", content='{"name":"A","age":1}'.encode("utf-16"))).status_code == 400


async def test_a_json_body_is_bound_without_a_type() -> None:
    """Without a type, the body is what JSON says; also for a media type that ends in +json, or none."""
    for content_type in ("application/json; charset=utf-8", "application/merge-patch+json", ""):
        answer = await _ask(
            lambda ctx: ctx.bind(), method="POST", content=b"[1]", headers={"content-type": content_type}
        )
        assert answer.json() == {"data": [1]}


@pytest.mark.parametrize(
    ("content", "content_type", "status", "message"),
    [
        (b'{"name":"A","age":"3"}', "application/json", 400, "Expected `int`, got `str` - at `$.age`"),
        (b'{"name":"A"}', "application/json", 400, "Object missing required field `age`"),
        (b'{"name":', "application/json", 400, "Input data was truncated"),
        (b"hello", "application/json", 400, "JSON is malformed: invalid character (byte 0)"),
        (b"", "application/json", 400, "request body is empty; JSON was expected"),
        (b'{"name":"\xff","age":1}', "application/json", 400, "JSON is not valid UTF-8"),
        (b"[" * 100_000, "application/json", 400, "Expected `object`, got `array`"),
        (b"a=1", "text/csv", 415, "unsupported content type: text/csv"),
        (b" " * 70_000, "application/json", 413, "request body is larger than 65536 bytes"),
    ],
)
async def test_a_bad_body_is_refused_with_the_reason(
    content: bytes,
    content_type: str,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A body that cannot be bound is a 4xx whose message names the field, and never a 500."""
    monkeypatch.setenv("MAX_BODY_SIZE", "64KiB" if status == 413 else "4MiB")
    answer = await _ask(
        lambda ctx: ctx.bind(Person), method="POST", content=content, headers={"content-type": content_type}
    )
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


async def test_a_json_bomb_is_refused() -> None:
    """Nesting without end is a 400, not a crash."""
    answer = await _ask(lambda ctx: ctx.bind(), method="POST", content=b"[" * 1_000_000)
    assert (answer.status_code, answer.json()) == (400, {"error": {"message": "JSON is nested too deep"}})


async def test_the_bodys_limit_holds_without_content_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body sent in chunks is refused as soon as it is over MAX_BODY_SIZE."""
    monkeypatch.setenv("MAX_BODY_SIZE", "1KiB")

    async def chunks() -> Any:
        for _ in range(64):
            yield b" " * 64

    answer = await _ask(lambda ctx: ctx.body(), method="POST", content=chunks())
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("name", "values", "joined"),
    [
        ("Cookie", ["a=1", "b=2; c=3"], "a=1; b=2; c=3"),
        ("Accept", ["text/html", "application/json;q=0.5"], "text/html, application/json;q=0.5"),
        ("X-Forwarded-For", ["192.0.2.1", "192.0.2.2, 192.0.2.3"], "192.0.2.1, 192.0.2.2, 192.0.2.3"),
        ("Forwarded", ["for=a", "for=b"], "for=a, for=b"),
        ("If-None-Match", ['"a"', '"b"'], '"a", "b"'),
        ("X-Tag", ["a", "b", "c"], "a, b, c"),
        ("Authorization", ["Bearer a", "Bearer b"], "Bearer a"),
        ("User-Agent", ["a", "b"], "a"),
    ],
)
@pytest.mark.usefixtures("both_protocols")
async def test_lines_of_a_header_are_joined(name: str, values: list[str], joined: str) -> None:
    """A list in several headers is one, as RFC 9110 has it; of what is no list the first counts."""
    headers = [("X-Other", "x"), *((name, value) for value in values)]
    assert (await _ask(lambda ctx: ctx.header(name), headers=headers)).json() == {"data": joined}
    assert (await _ask(lambda ctx: ctx.headers.getlist(name), headers=headers)).json() == {"data": values}


@pytest.mark.usefixtures("both_protocols")
async def test_cookies_of_several_headers_are_all_there() -> None:
    """As HTTP/2 sends them; of one that comes twice the last counts."""
    headers = [("Cookie", "a=1"), ("Cookie", "b=2"), ("Cookie", "a=3")]
    assert (await _ask(lambda ctx: ctx.cookies, headers=headers)).json() == {"data": {"a": "3", "b": "2"}}


async def test_the_body_can_be_read_twice() -> None:
    """The body is kept, so that a handler may both look at it and bind it."""

    async def question(ctx: Context) -> Any:
        return [(await ctx.body()).decode(), await ctx.bind(int)]

    answer = await _ask(question, method="POST", content=b"1", headers={"content-type": "application/json"})
    assert answer.json() == {"data": ["1", 1]}


async def test_without_a_store_the_error_says_how_to_add_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A handler that needs a store where none was added leads to the line that adds one."""
    answer = await _ask(lambda ctx: ctx.kv_store)
    assert answer.json() == {"error": {"message": "Internal Server Error"}}
    assert "add one with app.add_kv_store(store)" in capsys.readouterr().err


async def test_named_stores() -> None:
    """An app may have several stores; an unknown name says how to add it."""
    app = App()
    app.add_kv_store(MemoryStore())
    app.add_kv_store(MemoryStore(), name="sessions")

    @app.get("/x")
    async def handler(ctx: Context) -> Any:
        await ctx.kv_stores["sessions"].set("k", "session")
        await ctx.kv_store.set("k", "main")
        with pytest.raises(LookupError, match="add_kv_store\\(store, name='other'\\)"):
            ctx.kv_stores["other"]
        return [
            await ctx.kv_stores["sessions"].get("k"),
            await ctx.kv_stores["default"].get("k"),
            [*ctx.kv_stores],
        ]

    async with serving(app) as client:
        assert (await client.get("/x")).json() == {"data": ["session", "main", ["default", "sessions"]]}
        health = (await client.get("/.well-known/health")).json()["data"]
    assert [name for name in health if name.startswith("kv-store")] == ["kv-store", "kv-store:sessions"]


def test_a_stores_name_is_taken_once() -> None:
    """A second store needs a name of its own."""
    app = App()
    app.add_kv_store(MemoryStore())
    with pytest.raises(ValueError, match="give this one a name of its own"):
        app.add_kv_store(MemoryStore())


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        ({}, "dict is not a key-value store: it lacks set, delete, health_check"),
        (object(), "object is not a key-value store: it lacks get, set, delete, health_check"),
        (MemoryStore, r"got the class MemoryStore: did you forget the \(\)\?"),
    ],
    ids=["dict", "object", "class"],
)
def test_what_is_no_store_is_refused(store: object, problem: str) -> None:
    """An object that is not a store is refused with a message that names what it lacks."""
    with pytest.raises(TypeError, match=problem):
        App().add_kv_store(store)


def test_json_helpers() -> None:
    """to_json and from_json turn values into stored text and back, typed where a type is given."""
    assert kvik.to_json({"a": [1, None]}) == '{"a":[1,null]}'
    assert kvik.from_json('{"name":"A","age":1}', Person) == Person("A", 1)
    assert kvik.from_json("[1]") == kvik.from_json("\ufeff[1]") == [1]
    with pytest.raises(ValueError, match="Expected `int`, got `str`"):
        kvik.from_json('{"name":"A","age":"1"}', Person)
    with pytest.raises(TypeError, match="object cannot be encoded as JSON"):
        kvik.to_json(object())
