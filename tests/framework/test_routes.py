"""Groups, middleware, OPTIONS and the built-in routes, over real HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kvik import App, Context, HTTPError
from kvik._requests.routes import Routes
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


@pytest.mark.parametrize("routes", [App(), App().group("/v1"), App().group("")])
def test_a_path_starts_with_a_slash(routes: Routes) -> None:
    """A path without its slash is refused, in a group too."""
    with pytest.raises(ValueError, match="starts with a slash"):
        routes.get("x")(_give(1))


def test_the_empty_path_is_a_groups_own_alone() -> None:
    """The app, and a group that adds no prefix to it, have no path for "" to stand for."""
    for routes in (App(), App().group("")):
        with pytest.raises(ValueError, match="starts with a slash"):
            routes.get("")(_give(1))


@pytest.mark.parametrize(
    ("prefixes", "path"),
    [
        (["/api/links"], "/api/links"),
        (["/api/links/"], "/api/links"),
        (["/api", "/links"], "/api/links"),
        (["/api/", ""], "/api"),
        (["", "/api"], "/api"),
        (["/"], "/"),
        (["/t/{tenant}"], "/t/acme"),
    ],
)
async def test_the_empty_path_is_the_groups_own(prefixes: list[str], path: str) -> None:
    """`group("/links").post("")` is POST /links, with a trailing slash or without, and in nested groups."""
    app = App()
    group: Routes = app
    for prefix in prefixes:
        group = group.group(prefix)
    group.post("")(_give("own"))
    async with serving(app) as client:
        answers = [await client.post(path), await client.post(path.rstrip("/") + "/")]
    assert [answer.json() for answer in answers] == [{"data": "own"}] * 2


async def test_what_a_group_has_at_its_own_path_is_found_there(tmp_path: Path) -> None:
    """Mounts and folders of files have it too."""
    app = App()
    app.group("/in").mount("", PlainTextResponse("mounted"))
    (tmp_path / "a.txt").write_text("content")
    app.group("/files").add_static_files("", tmp_path)
    async with serving(app) as client:
        assert (await client.get("/in")).text == "mounted"
        assert (await client.get("/files/a.txt")).text == "content"
