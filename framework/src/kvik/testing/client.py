"""A client for tests: it runs the app in the test's process and opens no port."""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

try:
    import httpx2
except ImportError as error:
    raise ImportError('kvik.testing needs httpx2: pip install "kvik[testing]"') from error

from starlette.testclient import TestClient as StarletteClient

from kvik._mounted import OPENS_NO_PORT


class TestClient(StarletteClient):
    """Call an app as its clients do; the app starts and stops with the `with` block.

    The methods are those of an httpx client, `get`, `post`, …, and `websocket_connect`. Answers are production's:
    a handler that raises is a 500, and the stack is in the log, on stderr. RuntimeError if the app does not
    start, or if a request is made outside of the block.
    """

    __test__ = False  # so that pytest takes it for no class of tests

    def __init__(
        self,
        app: ASGIApp,
        *,
        base_url: str = "http://testserver",
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
    ) -> None:
        super().__init__(
            _MustStart(app),
            base_url=base_url,
            headers=dict(headers or {}),
            follow_redirects=follow_redirects,
            raise_server_exceptions=False,
        )

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request, of whatever kind: all others end here."""
        if self.portal is None:
            raise RuntimeError("the app runs inside of the with block alone: with TestClient(app) as client: …")
        return super().send(request, **options)


class _MustStart:
    """Raise into the test where the app says that it did not start: Starlette's client would go on.

    Also tells the app that it is to open no port.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_raise(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                reason = message["message"] or "the line start.failed of its log says why"
                raise RuntimeError(f"the app did not start; {reason}")
            await send(message)

        if scope["type"] == "lifespan":
            await self._app({**scope, OPENS_NO_PORT: True}, receive, send_or_raise)
        else:
            await self._app(scope, receive, send)
