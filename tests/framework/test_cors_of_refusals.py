"""CORS of the answers that are given below the routes: to what is too large, too slow or malformed."""

import asyncio
from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from kvik import App, Context
from kvik._requests.routes import Routes
from support import connection_class, serving

GOOD, EVIL = "https://good.example", "https://evil.example"
_TO_GOOD_ALONE: dict[str, Any] = {"allow_origins": [GOOD]}


async def _refused(app: App, sent: bytes) -> dict[str, str]:
    """Send what the server refuses itself, and return the status and the headers of the answer."""
    async with serving(app, http=connection_class(app)) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(sent)
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        writer.close()
    pairs = [line.partition(": ") for line in lines if line]
    headers = {name: value for name, _, value in pairs if name.startswith("access-control") or name == "vary"}
    return {"status": head.split()[1], **headers}


_STALLING = b"PUT /x HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\nContent-Length: 9\r\n\r\nhalf"
_TOO_LARGE = b"GET /x HTTP/1.1\r\nOrigin: %b\r\nHost: a\r\nBig: " + b"x" * 2000
_MALFORMED = b"PUT /x HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
_LARGE_BODY = b"PUT /x HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\nContent-Length: 999999\r\n\r\n"


@pytest.fixture(params=["auto", "asgi"])
def small_limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse soon, by both of `app.run()`'s protocols."""
    for name, value in {
        "HTTP_ENGINE": request.param,
        "BODY_TIMEOUT": "50ms",
        "MAX_HEADER_SIZE": "1KiB",
        "MAX_BODY_SIZE": "1KiB",
    }.items():
        monkeypatch.setenv(name, value)


def _reading(routes: Routes) -> None:
    @routes.put("/x")
    async def read(ctx: Context) -> int:
        return len(await ctx.body())


_SENT = [(_STALLING, "408"), (_TOO_LARGE, "431"), (_MALFORMED, "400"), (_LARGE_BODY, "413")]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(("sent", "status"), _SENT)
async def test_refusals_below_the_routes_have_our_headers(
    sent: bytes, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser's page may read why, where it may read answers at all."""
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", GOOD)
    app = App()
    _reading(app)
    allowed, refused = [await _refused(app, sent % origin.encode()) for origin in (GOOD, EVIL)]
    assert allowed["status"] == refused["status"] == status
    assert (allowed["access-control-allow-origin"], allowed["vary"]) == (GOOD, "Origin")
    assert "access-control-allow-origin" not in refused
    assert refused["vary"] == "Origin"
    assert "OPTIONS" in allowed["access-control-allow-methods"]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(("sent", "status"), _SENT)
async def test_refusals_of_an_app_without_cors_have_none(
    sent: bytes, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where CORS is off, and where CORS middleware of the app decides and was not asked."""
    with_middleware = App()
    with_middleware.add_middleware(CORSMiddleware, **_TO_GOOD_ALONE)
    monkeypatch.setenv("ACCESS_CONTROL_ALLOW_ORIGIN", "")
    for app in (with_middleware, App()):
        _reading(app)
        answer = await _refused(app, sent % EVIL.encode())
        assert (answer.pop("status"), answer.keys() - {"vary"}) == (status, set())


@pytest.mark.usefixtures("small_limits")
async def test_a_body_that_stalls_below_cors_middleware_of_a_group_has_no_headers() -> None:
    """The route is known by then, and that its middleware decides."""
    app = App()
    _reading(app.group("", middleware=[Middleware(CORSMiddleware, **_TO_GOOD_ALONE)]))
    assert await _refused(app, _STALLING % EVIL.encode()) == {"status": "408"}
