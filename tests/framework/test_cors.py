"""CORS, over real HTTP: the headers of ours, and of a user's own middleware, which then decides alone."""

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from kvik import App, Context, HTTPError, Response
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


def _give(value: Any) -> Callable[[Context], Any]:
    async def handler(_: Context) -> Any:
        return value

    return handler


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


GOOD, EVIL = "https://good.example", "https://evil.example"


class OwnCORS:
    """A user's middleware for CORS that allows nobody anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, *args: Any) -> Awaitable[None]:
        return self._app(*args)


def cors_by_function(app: ASGIApp) -> ASGIApp:
    """Make what lets everything pass."""
    return app


def _made_by_a_function(app: ASGIApp) -> ASGIApp:
    return OwnCORS(app)


def _of_cors(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}


def _preflight(origin: str, method: str = "PUT") -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method}


_TO_GOOD_ALONE: dict[str, Any] = {"allow_origins": [GOOD], "allow_methods": ["GET", "PUT"]}


def _with_middleware_of_the_app() -> App:
    app = App()
    app.add_middleware(CORSMiddleware, **_TO_GOOD_ALONE)
    app.get("/x")(_give(1))
    app.put("/x")(_give(1))
    return app


def _with_middleware_of_a_group() -> App:
    app = App()
    group = app.group("/x", middleware=[Middleware(CORSMiddleware, **_TO_GOOD_ALONE)])
    group.get("")(_give(1))
    group.put("")(_give(1))
    return app


def _mounted() -> Starlette:
    async def show(_: Request) -> PlainTextResponse:
        return PlainTextResponse("shown")

    route = Route("/x", show, methods=["GET", "PUT"])
    return Starlette(routes=[route], middleware=[Middleware(CORSMiddleware, **_TO_GOOD_ALONE)])


def _with_a_mounted_app() -> App:
    app = App()
    app.mount("/", _mounted())
    return app


def _with_a_mounted_app_within_middleware() -> App:
    app = App()
    app.mount("/", GZipMiddleware(_mounted()))
    return app


@pytest.mark.parametrize(
    "make",
    [
        _with_middleware_of_the_app,
        _with_middleware_of_a_group,
        _with_a_mounted_app,
        _with_a_mounted_app_within_middleware,
    ],
)
async def test_where_cors_middleware_decides_nothing_is_added(
    make: Callable[[], App], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An origin that it keeps out does not get `*` from us, nor what the configuration lists."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", EVIL)
    async with serving(make()) as client:
        assert _of_cors(await client.get("/x")) == {}
        assert _of_cors(await client.get("/x", headers={"Origin": EVIL})) == {}
        assert _of_cors(await client.get("/x", headers={"Origin": GOOD})) == {"access-control-allow-origin": GOOD}
        refused = await client.options("/x", headers=_preflight(EVIL))
        allowed = await client.options("/x", headers=_preflight(GOOD))
        wrong_method = await client.options("/x", headers=_preflight(GOOD, "DELETE"))
        plain = await client.options("/x")
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (400, False)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, GOOD)
    assert allowed.headers["access-control-allow-methods"] == "GET, PUT"
    assert wrong_method.status_code == 400
    assert (plain.status_code, plain.headers["allow"], _of_cors(plain)) == (200, "GET, HEAD, OPTIONS, PUT", {})


@pytest.mark.parametrize(
    "middleware", [OwnCORS, cors_by_function, functools.partial(OwnCORS), _made_by_a_function]
)
async def test_middleware_for_cors_is_known_by_its_name(middleware: Any) -> None:
    """A class, a function or a partial that is called after CORS decides alone; so does what a function makes."""
    app = App()
    app.get("/x")(_give(1))
    app.add_middleware(middleware)
    async with serving(app) as client:
        assert _of_cors(await client.get("/x", headers={"Origin": GOOD})) == {}


async def test_other_routes_keep_our_headers() -> None:
    """CORS middleware of a group decides for the group alone; so does a mounted app's."""
    app = _with_middleware_of_a_group()
    app.get("/y")(_give(1))
    app.mount("/in", _mounted())
    async with serving(app) as client:
        answer = await client.get("/y", headers={"Origin": EVIL})
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_users_options_route_in_a_group_wins() -> None:
    """A group with CORS middleware may have OPTIONS routes of its own, registered before or after."""
    app = App()
    group = app.group("/g", middleware=[Middleware(CORSMiddleware, **_TO_GOOD_ALONE)])
    for path, methods in (("/a", ["OPTIONS", "GET"]), ("/b", ["GET", "OPTIONS"])):
        for method in methods:
            group.route(path, [method])(_give(method))
    async with serving(app) as client:
        assert [(await client.options(path)).json() for path in ("/g/a", "/g/b")] == [{"data": "OPTIONS"}] * 2


@pytest.mark.parametrize("origin", [GOOD, EVIL])
@pytest.mark.parametrize(
    "mounted",
    [
        Starlette(routes=[Route("/a.txt", PlainTextResponse, methods=["GET"])]),
        StaticFiles(directory=Path(__file__).parent),
    ],
    ids=["Starlette", "StaticFiles"],
)
async def test_preflights_of_mounts_are_answered(
    mounted: ASGIApp, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mounted app that does not know OPTIONS refuses no browser's question; ours is the answer."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", GOOD)
    app = App()
    app.mount("/in", mounted)
    async with serving(app) as client:
        answer = await client.options("/in/a.txt", headers=_preflight(origin, "GET"))
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (200, b"", "GET, HEAD, OPTIONS")
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert answer.headers.get("access-control-allow-origin") == (GOOD if origin == GOOD else None)


async def test_answers_of_mounts_allow_every_method() -> None:
    """What a mounted app has only itself can tell, so that browsers may try."""
    app = App()
    app.mount("/in", PlainTextResponse("in"))
    async with serving(app) as client:
        answer = await client.get("/in/x")
    assert answer.headers["access-control-allow-methods"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


async def test_a_mount_is_not_asked_for_the_options_of_a_route() -> None:
    """OPTIONS of a path that a route has is answered for the route, though a mount takes all else."""
    app = App()
    app.put("/x")(_give(1))
    app.get("/")(_give(1))
    app.mount("/", Starlette())
    async with serving(app) as client:
        answers = [await client.options(path) for path in ("/x", "/", "/.well-known/alive", "/favicon.ico")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
    assert all("GET" in answer.headers["allow"] for answer in answers[:3])


_VARY = [
    (None, "Origin"),
    ("Accept", "Accept, Origin"),
    ("accept, ORIGIN", "accept, ORIGIN"),
    ("*", "*"),
]


@pytest.mark.parametrize(("own", "merged"), _VARY)
@pytest.mark.parametrize("failing", [False, True])
async def test_vary_is_merged(
    own: str | None, merged: str, *, failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caches are told of the origin and of what the handler says, in one header."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", GOOD)
    app = App()
    headers = {} if own is None else {"Vary": own}

    @app.get("/x")
    async def handler(_: Context) -> Response:
        if failing:
            raise HTTPError(406, "no", headers=headers)
        return Response("yes", headers=headers)

    async with serving(app) as client:
        answer = await client.get("/x", headers={"Origin": GOOD})
    assert answer.headers.get_list("vary") == [merged]


@pytest.mark.parametrize("where", ["app", "group", "mounted"])
async def test_vary_of_middleware_is_merged(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where GZipMiddleware has added what it looks at."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", GOOD)
    app = App()
    if where == "app":
        app.add_middleware(GZipMiddleware, minimum_size=1)
        app.get("/x")(_give(1))
    elif where == "group":
        app.group("", middleware=[Middleware(GZipMiddleware, minimum_size=1)]).get("/x")(_give(1))
    else:
        app.mount("/", GZipMiddleware(PlainTextResponse("x"), minimum_size=1))
    async with serving(app) as client:
        answer = await client.get("/x", headers={"Origin": EVIL, "Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers.get_list("vary") == ["Accept-Encoding, Origin"]
