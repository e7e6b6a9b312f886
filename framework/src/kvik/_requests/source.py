"""Where a handler's request comes from, and what stands for it where there is none."""

import asyncio
from typing import Protocol

from starlette.types import Message, Scope

from .headers import FirstValues
from .routing import NO_MATCH, Match


class Source(Protocol):
    """Be where a request comes from, as the handler is to see it: middleware may have changed it."""

    @property
    def method(self) -> str:
        """Give the method."""

    @property
    def path(self) -> str:
        """Give the path, percent-decoded, without the query."""

    @property
    def ip(self) -> str:
        """Give the client's address, "" where the server does not know it."""

    @property
    def headers(self) -> FirstValues:
        """Give the first value of each header."""

    @property
    def scope(self) -> Scope:
        """Give ASGI's scope, which may be made when it is asked for."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Give the event loop that the request is served on."""

    async def __call__(self) -> Message:
        """Receive the next message."""


class Found(Protocol):
    """Hold what was made of a request: its trace id, and what the look-up of its route gave."""

    @property
    def correlation_id(self) -> str:
        """Give the trace id."""

    @property
    def match(self) -> Match:
        """Give the match."""


class NoRequest:
    """Stand for the request where there is none."""

    scope: Scope = {  # noqa: RUF012 - nobody changes it
        "type": "hook",
        "query_string": b"",
        "headers": [],
    }
    method = path = ip = correlation_id = ""
    headers: FirstValues = {}  # noqa: RUF012 - likewise
    match = NO_MATCH

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def __call__(self) -> Message:
        """Receive an empty body."""
        return {"type": "http.request", "body": b"", "more_body": False}
