"""Groups, middleware, mounts, static files, OPTIONS and CORS, over real HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kvik import App, Context, HTTPError
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


class Marking:
    """ASGI middleware that adds its name to a header of the answer, and counts."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app = app
        self.name = name
        self.count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.count += 1

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                mark = (b"x-mark", f"{self.name}{self.count}".encode())
                message["headers"] = [*message.get("headers", []), mark]
            await send(message)

        await self.app(scope, receive, marked)


class Refusing:
    """ASGI middleware that raises."""

    def __init__(self, app: ASGIApp, error: Exception) -> None:
        self.app = app
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise self.error


class Rewriting:
    """ASGI middleware that passes another request on."""

    def __init__(self, app: ASGIApp, method: str = "PUT", path: str = "/inside/7") -> None:
        self.app = app
        self.changes = {
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"of=it",
            "client": ("192.0.2.1", 80),
            "headers": [(b"host", b"inside"), (b"user", b"ada")],
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, **self.changes} if scope["type"] == "http" else scope, receive, send)


def _give(value: Any) -> Callable[[Context], Any]:
    async def handler(_: Context) -> Any:
        return value

    return handler


async def test_a_route_has_several_methods() -> None:
    """app.route registers a handler for each method; an unknown method is refused."""
    app = App()

    @app.route("/x", methods=["get", "PUT"])
    async def handler(ctx: Context) -> str:
        return ctx.method

    async with serving(app) as client:
        assert [(await client.request(method, "/x")).status_code for method in ("GET", "PUT", "POST")] == [
            200,
            200,
            405,
        ]
    for methods in (["BREW"], []):
        with pytest.raises(ValueError, match="methods are some of GET, HEAD"):
            app.route("/y", methods=methods)
    with pytest.raises(ValueError, match="registered already"):
        app.get("/x")(_give(1))


async def test_groups_have_a_prefix_and_middleware_of_their_own() -> None:
    """A group's middleware stands around its routes alone, as one instance, the outer group's outside."""
    app = App()
    app.get("/plain")(_give("plain"))
    outer = app.group("/v1", middleware=[Middleware(Marking, name="outer")])
    outer.get("/a")(_give("a"))
    inner = outer.group("/in/", middleware=[Middleware(Marking, name="inner")])
    inner.get("/b/{id}")(_give("b"))

    @inner.get("/fail")
    async def fail(_: Context) -> None:
        raise HTTPError(418, "tea")

    async with serving(app) as client:
        answers = [await client.get(path) for path in ("/plain", "/v1/a", "/v1/in/b/1", "/v1/in/fail", "/v1/none")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 418, 404]
    marks = [answer.headers.get_list("x-mark") for answer in answers]
    assert marks == [[], ["outer1"], ["inner1", "outer2"], ["inner2", "outer3"], []]


async def test_app_middleware_stands_around_everything() -> None:
    """The app's middleware sees every answer, errors included; the last one added is outermost."""
    app = App()
    app.add_middleware(Marking, name="first")
    app.add_middleware(Marking, name="last")
    app.get("/x")(_give("x" * 1000))
    async with serving(app) as client:
        answers = [await client.get(path) for path in ("/x", "/none", "/.well-known/alive")]
        with pytest.raises(RuntimeError, match="before the app starts"):
            app.add_middleware(GZipMiddleware)
    assert [answer.status_code for answer in answers] == [200, 404, 200]
    assert [answer.headers.get_list("x-mark") for answer in answers] == [
        ["first1", "last1"],
        ["first2", "last2"],
        ["first3", "last3"],
    ]


async def test_starlettes_middleware_works() -> None:
    """Middleware of the field, such as gzip, does its work."""
    app = App()
    app.add_middleware(GZipMiddleware, minimum_size=100)
    app.get("/x")(_give("x" * 1000))
    async with serving(app) as client:
        answer = await client.get("/x")
    assert (answer.headers["content-encoding"], len(answer.json()["data"])) == ("gzip", 1000)


async def _tell(ctx: Context) -> dict[str, Any]:
    return {
        "method": ctx.method,
        "path": ctx.path,
        "of": ctx.param("of"),
        "host": ctx.host_name,
        "ip": ctx.client_ip,
        "user": ctx.header("User"),
        "all": dict(ctx.headers),
        "id": ctx.path_param("id"),
    }


_REWRITTEN = {
    "method": "PUT",
    "path": "/inside/7",
    "of": "it",
    "host": "inside",
    "ip": "192.0.2.1",
    "user": "ada",
    "all": {"host": "inside", "user": "ada"},
    "id": "7",
}


async def test_a_handler_sees_the_request_as_middleware_has_left_it() -> None:
    """Method, path, query, client and headers may be another's; the route is found by them."""
    app = App()
    app.put("/inside/{id}")(_tell)
    app.add_middleware(Rewriting)
    async with serving(app) as client:
        answer = await client.post("/outside")
    assert (answer.status_code, answer.json()["data"]) == (200, _REWRITTEN)


async def test_a_handler_sees_the_request_as_a_groups_middleware_has_left_it() -> None:
    """There the route is found already."""
    app = App()
    app.group("/outside", middleware=[Middleware(Rewriting)]).post("/{id}")(_tell)
    async with serving(app) as client:
        answer = await client.post("/outside/7")
    assert (answer.status_code, answer.json()["data"]) == (200, _REWRITTEN)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [(HTTPError(401, "who?"), 401, "who?"), (ValueError("secret"), 500, "Internal Server Error")],
)
@pytest.mark.parametrize("where", ["app", "group"])
async def test_a_middleware_that_raises_is_answered(
    where: str, error: Exception, status: int, message: str
) -> None:
    """What a middleware raises is answered as a handler's error is."""
    app = App()
    group = app.group("/g", middleware=[Middleware(Refusing, error=error)] if where == "group" else [])
    group.get("/x")(_give(1))
    if where == "app":
        app.add_middleware(Refusing, error=error)
    async with serving(app) as client:
        answer = await client.get("/g/x")
    assert (answer.status_code, answer.json()) == (status, {"error": {"message": message}})
    assert "x-correlation-id" in answer.headers


async def test_another_asgi_application_can_be_mounted() -> None:
    """A mounted application gets every method below its path, with root_path telling where it is."""

    async def show(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {request.url.path} {request.scope['root_path']}")

    inner = Starlette(routes=[Route("/", show), Route("/a/{rest:path}", show, methods=["GET", "POST", "OPTIONS"])])
    app = App()
    app.mount("/in", inner)
    app.get("/in/special")(_give("mine"))
    async with serving(app) as client:
        assert (await client.get("/in/")).text == "GET /in/ /in"
        assert (await client.post("/in/a/b%2Fc")).text == "POST /in/a/b/c /in"
        assert (await client.options("/in/a/b")).text == "OPTIONS /in/a/b /in"
        assert (await client.get("/in/special")).json() == {"data": "mine"}
        missing = await client.get("/in/none")
    assert (missing.status_code, missing.text) == (404, "Not Found")


async def test_under_a_root_path_routes_are_found() -> None:
    """An app that is served below a prefix, as uvicorn --root-path does, finds its routes."""
    app = App()
    app.get("/x/{id}")(_give(1))
    async with serving(app, root_path="/api") as client:
        assert (await client.get("/x/1")).json() == {"data": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "public/sub").mkdir(parents=True)
    (tmp_path / "public/a b.txt").write_text("content")
    (tmp_path / "public/sub/é.css").write_text("css")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "public"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/s/a%20b.txt", 200),
        ("/s/sub/%C3%A9.css", 200),
        ("/s/none.txt", 404),
        ("/s/sub", 404),
        ("/s/", 404),
        ("/s", 404),
        ("/s/../secret.txt", 404),
        ("/s/%2e%2e/secret.txt", 404),
        ("/s/..%2fsecret.txt", 404),
        ("/s/sub/%2e%2e/%2e%2e/secret.txt", 404),
        ("/s/%00", 404),
        ("/s/a%20b.txt%00.css", 404),
        ("/s//etc/passwd", 404),
        ("/s/%2fetc/passwd", 404),
        ("/s/" + "x" * 5000, 404),
        ("/s/%ff", 400),
    ],
)
async def test_static_files_stay_in_their_folder(path: str, status: int, folder: Path) -> None:
    """Files of the folder are served with ETag; whatever leads out of it is a 404."""
    app = App()
    app.add_static_files("/s", folder)
    async with serving(app) as client:
        request = client.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=path.encode())
        answer = await client.send(request)
        post = await client.post("/s/a%20b.txt")
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert ("etag" in answer.headers) is (status == 200)
    assert post.status_code == 405


def test_a_folder_that_is_not_there_is_refused() -> None:
    """A missing folder is told when the app is made, not at the first request."""
    with pytest.raises(ValueError, match="there is no folder 'none'"):
        App().add_static_files("/s", "none")


async def test_options_answers_on_any_path() -> None:
    """OPTIONS is 200, empty, with the path's methods, also on an unknown path; a user's route wins."""
    app = App()
    app.get("/x")(_give(1))
    app.post("/x")(_give(1))
    app.route("/own", methods=["OPTIONS"])(_give("own"))
    async with serving(app) as client:
        known, unknown, own = [await client.options(path) for path in ("/x", "/none", "/own")]
    assert (known.status_code, known.content) == (200, b"")
    assert known.headers["allow"] == known.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS, POST"
    assert (unknown.status_code, unknown.headers["allow"]) == (200, "OPTIONS")
    assert own.json() == {"data": "own"}


_HEADERS = "Authorization, Content-Type, x-requested-with, origin, true-client-ip, X-Correlation-ID"


async def _cors(origin: str | None, path: str = "/x") -> dict[str, str]:
    app = App()
    app.get("/x")(_give(1))
    async with serving(app) as client:
        answer = await client.get(path, headers={"Origin": origin} if origin else {})
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("access-control") or name == "vary"
    }


@pytest.mark.parametrize("origin", [None, "https://a.example"])
@pytest.mark.parametrize(("path", "methods"), [("/x", "GET, HEAD, OPTIONS"), ("/none", "OPTIONS")])
async def test_cors_for_any_origin(origin: str | None, path: str, methods: str) -> None:
    """Every answer carries the three headers, with or without Origin, errors included."""
    assert await _cors(origin, path) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": methods,
        "access-control-allow-headers": _HEADERS,
    }


@pytest.mark.parametrize("origin", [None, "https://a.example", "https://b.example", "https://evil.example"])
async def test_cors_for_listed_origins(origin: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed origin is echoed, another one is not, and caches are told that it matters."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", "https://a.example, https://b.example")
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_HEADERS", "X-Mine")
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_CREDENTIALS", "true")
    headers = await _cors(origin)
    listed = origin in ("https://a.example", "https://b.example")
    assert headers.pop("access-control-allow-origin", None) == (origin if listed else None)
    assert headers == {
        "access-control-allow-methods": "GET, HEAD, OPTIONS",
        "access-control-allow-headers": f"{_HEADERS}, X-Mine",
        "access-control-allow-credentials": "true",
        "vary": "Origin",
    }


async def test_cors_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """ACCESS_CONTROL_ALLOW_ORIGIN set but empty means no CORS headers at all."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", "")
    assert await _cors("https://a.example") == {}


async def test_favicon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers get Kvik's icon, or the one in ./static."""
    monkeypatch.chdir(tmp_path)
    async with serving(App()) as client:
        built_in = await client.get("/favicon.ico")
        (tmp_path / "static").mkdir()
        (tmp_path / "static/favicon.ico").write_bytes(b"mine")
        own = await client.get("/favicon.ico")
    assert (built_in.status_code, built_in.headers["content-type"]) == (200, "image/x-icon")
    assert built_in.content.startswith(b"\x00\x00\x01\x00")
    assert own.content == b"mine"


@pytest.mark.parametrize("path", ["x", ""])
def test_a_path_starts_with_a_slash(path: str) -> None:
    """A path without its slash is refused, in a group too."""
    with pytest.raises(ValueError, match="starts with a slash"):
        App().get(path)(_give(1))
    with pytest.raises(ValueError, match="starts with a slash"):
        App().group("/v1").get(path)(_give(1))
