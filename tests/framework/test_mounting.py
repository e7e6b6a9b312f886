"""Mounted ASGI applications, over real HTTP: their paths, and their lifespans."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from kvik import App, Context
from kvik.testing import TestClient
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


def _give(value: Any) -> Any:
    async def handler(_: Context) -> Any:
        return value

    return handler


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


async def _tell(request: Request) -> PlainTextResponse:
    """Say where the request has come to, and where the page is."""
    told = [request.url.path, request.scope["root_path"], request.url_for("page", name="é").path]
    return PlainTextResponse(" ".join([*told, *(f"{k}={v}" for k, v in request.path_params.items())]))


def _pages() -> Starlette:
    return Starlette(routes=[Route("/pages/{name}", _tell, name="page")])


@pytest.mark.parametrize(
    ("path", "sent", "told"),
    [
        ("/admin", "/admin/pages/x", "/admin/pages/x /admin /admin/pages/é name=x"),
        ("/admin/", "/admin/pages/x", "/admin/pages/x /admin /admin/pages/é name=x"),
        ("/admin", "//admin/pages/x", "/admin/pages/x /admin /admin/pages/é name=x"),
        ("/a/b", "/a//b/pages/x", "/a/b/pages/x /a/b /a/b/pages/é name=x"),
        ("/", "/pages/x", "/pages/x  /pages/é name=x"),
        ("/t/{tenant}", "/t/acme/pages/x", "/t/acme/pages/x /t/acme /t/acme/pages/é tenant=acme name=x"),
        ("/t/{tenant}", "/t/%C3%BC/pages/x", "/t/ü/pages/x /t/ü /t/ü/pages/é tenant=ü name=x"),
        ("/t/{id:int}", "/t/7/pages/%C3%BC", "/t/7/pages/ü /t/7 /t/7/pages/é id=7 name=ü"),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/api"])
async def test_a_mounted_app_knows_where_it_is(path: str, sent: str, told: str, root_path: str) -> None:
    """Its root_path is what stands before its own paths, so that url_for leads back to it."""
    app = App()
    app.mount(path, _pages())
    async with serving(app, root_path=root_path) as client:
        request = client.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=sent.encode())
        answer = await client.send(request)
    paths, parameters = told.split(" ")[:3], told.split(" ")[3:]
    assert answer.text.split(" ") == [*(root_path + path for path in paths), *parameters]


async def test_apps_within_apps_find_their_way() -> None:
    """Starlette around Kvik around Starlette, with another Kvik within: each knows its whole prefix."""
    kvik, inner = App(), App()
    kvik.mount("/in", _pages())
    kvik.mount("/t/{tenant}", inner)
    kvik.get("/own")(_give("own"))

    @inner.get("/keys/{key}")
    async def key(ctx: Context) -> str:
        return str(ctx.path_param("key"))

    inner.get("/")(_give("home"))
    outer = Starlette(routes=[Mount("/out", kvik)])
    async with serving(outer) as client:
        assert (await client.get("/out/own")).json() == {"data": "own"}
        assert (await client.get("/out/in/pages/x")).text == "/out/in/pages/x /out/in /out/in/pages/é name=x"
        assert (await client.get("/out/t/%C3%BC/keys/a%2Fb")).json() == {"data": "a/b"}
        assert (await client.get("/out/t/a/keys/%252F")).json() == {"data": "%2F"}
        assert (await client.get("/out/t/acme")).json() == {"data": "home"}


async def test_probes_go_before_a_mount() -> None:
    """An app that is mounted at "/" cannot hide what an orchestrator asks for, nor can a route with parameters."""
    app = App()
    app.mount("/", PlainTextResponse("mounted"))
    app.get("/{rest:path}")(_give("rest"))
    app.get("/.well-known/{name}")(_give("name"))
    async with serving(app) as client:
        for name, key in (("alive", "status"), ("ready", "status"), ("health", "name")):
            answer = await client.get(f"/.well-known/{name}")
            assert (answer.status_code, key in answer.json()["data"]) == (200, True)
            options = await client.options(f"/.well-known/{name}")
            assert (options.status_code, "GET" in options.headers["allow"]) == (200, True)
        assert (await client.post("/.well-known/alive")).text == "mounted"
        assert (await client.get("/.well-known/other")).json() == {"data": "name"}


# Lifespans


class Spanned:
    """A Starlette application that notes what its lifespan does."""

    def __init__(self, *, failing: str = "", error: type[BaseException] = ZeroDivisionError) -> None:
        self.notes: list[str] = []
        self._failing = failing
        self._error = error
        self.app = Starlette(lifespan=self._lifespan, routes=[Route("/", self._show)])

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[dict[str, Any]]:
        self.note("start")
        yield {"pool": "open"}
        self.note("stop")

    def note(self, what: str) -> None:
        self.notes.append(what)
        if what == self._failing:
            raise self._error(f"{what} fails")

    async def _show(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.pool)


async def test_a_mounted_apps_lifespan_runs_within_the_apps_own() -> None:
    """It starts once, after the start hooks, stops before the stop hooks, and its state reaches its requests."""
    spanned, app = Spanned(), App()
    app.mount("/a", spanned.app)
    app.mount("/b", spanned.app)

    @app.on_start
    async def start(_: Context) -> None:
        spanned.note("start hook")

    @app.on_stop
    async def stop(_: Context) -> None:
        spanned.note("stop hook")

    for _ in range(2):
        async with serving(app) as client:
            assert (await client.get("/a/")).text == (await client.get("/b/")).text == "open"
    assert spanned.notes == ["start hook", "start", "stop", "stop hook"] * 2


async def test_a_group_can_mount_an_app_with_a_lifespan() -> None:
    """Wherever it is mounted."""
    spanned, app = Spanned(), App()
    app.group("/v1").group("/t/{tenant}").mount("/a", spanned.app)
    async with serving(app) as client:
        assert (await client.get("/v1/t/x/a/")).text == "open"
    assert spanned.notes == ["start", "stop"]


def test_a_mounted_app_that_does_not_start_keeps_the_app_from_starting(capsys: pytest.CaptureFixture[str]) -> None:
    """The log says why, and what was started before is stopped."""
    first, second, app = Spanned(), Spanned(failing="start"), App()
    app.mount("/a", first.app)
    app.mount("/b", second.app)
    with pytest.raises(RuntimeError, match="did not start"), TestClient(app):
        pass
    err = capsys.readouterr().err
    assert '"message":"start.failed"' in err
    assert "ZeroDivisionError: start fails" in err
    assert (first.notes, second.notes) == (["start", "stop"], ["start"])


def test_a_mounted_app_that_fails_to_stop_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are stopped all the same, the last one first."""
    first, second, app = Spanned(), Spanned(failing="stop"), App()
    app.mount("/a", first.app)
    app.mount("/b", second.app)
    with TestClient(app):
        pass
    assert '"message":"mounted.stop_failed"' in capsys.readouterr().err
    assert (first.notes, second.notes) == (["start", "stop"], ["start", "stop"])


@pytest.mark.parametrize("failing", ["start", "stop"])
def test_a_mounted_app_that_exits_ends_nothing_else(failing: str) -> None:
    """SystemExit in its lifespan is a failure of it, after which all others are stopped."""
    first, second, app = Spanned(), Spanned(failing=failing, error=SystemExit), App()
    app.mount("/a", first.app)
    app.mount("/b", second.app)
    raises = pytest.raises(RuntimeError, match="did not start") if failing == "start" else contextlib.nullcontext()
    with raises, TestClient(app):
        pass
    assert first.notes == ["start", "stop"]


def test_a_mounted_app_that_does_not_stop_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its time is limited, and the stop hooks run."""
    monkeypatch.setattr("kvik._mounted.STOP_TIMEOUT", 0.05)
    ended: list[str] = []

    async def lingering(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise ZeroDivisionError from None  # as Starlette does, in its own words

    spanned, app = Spanned(), App()
    app.mount("/s", spanned.app)
    app.mount("/a", lingering)
    app.on_stop(functools.partial(lambda notes, _: notes.append("hook"), ended))
    with TestClient(app):
        pass
    assert (ended, spanned.notes) == (["cancelled", "hook"], ["start", "stop"])
    err = capsys.readouterr().err
    assert "TimeoutError: the stop took longer than 0.05 seconds" in err
    assert "never retrieved" not in err


async def _asserting(scope: Scope, receive: Receive, send: Send) -> None:
    """Know requests alone, as StaticFiles does."""
    assert scope["type"] == "http"
    await PlainTextResponse("shown")(scope, receive, send)


async def _careless(_: Scope, receive: Receive, send: Send) -> None:
    """Take everything for a request."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"shown"})


async def _returning(scope: Scope, receive: Receive, send: Send) -> None:
    """Have no use for a lifespan."""
    if scope["type"] == "http":
        await PlainTextResponse("shown")(scope, receive, send)


@pytest.mark.parametrize("mounted", [_asserting, _careless, _returning])
async def test_an_application_without_a_lifespan_is_left_alone(mounted: Any) -> None:
    """What does not take part in it is served as it is."""
    app = App()
    app.mount("/a", mounted)
    async with serving(app) as client:
        assert (await client.get("/a")).text == "shown"


def test_an_application_that_raises_when_it_starts_fails_the_start() -> None:
    """Also where it does not say so in the protocol's words."""

    async def raising(_: Scope, receive: Receive, __: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        raise ZeroDivisionError("no pool")

    app = App()
    app.mount("/a", raising)
    with pytest.raises(RuntimeError, match="did not start"), TestClient(app):
        pass


def test_a_mount_is_an_application() -> None:
    """What cannot be called is refused where it is mounted."""
    with pytest.raises(TypeError, match="str cannot be called"):
        App().mount("/a", "app")  # type: ignore[arg-type]  # the mistake under test


async def test_a_kvik_app_can_be_mounted_with_its_stores() -> None:
    """An app within an app connects its stores and runs its hooks."""
    inner, app = App(), App()
    seen: list[str] = []

    @inner.on_start
    async def start(_: Context) -> None:
        seen.append("inner")

    app.mount("/in", inner)
    async with serving(app):
        assert seen == ["inner"]
