"""What a handler returns when plain data will not do."""

import os
from collections.abc import AsyncIterable, Mapping
from typing import Any

import msgspec

CookieOptions = Mapping[str, Any]


class Response(msgspec.Struct, frozen=True):
    """Answer with data and more: metadata beside it, headers, cookies, another success status, or an error.

    `headers` may override Content-Type; those that frame the body, such as Content-Length, are the server's and
    ignored. `cookies` are values, or the options of Starlette's `set_cookie`, such
    as `{"session": {"value": "x", "httponly": True}}`. `status` is the status of success, 200 to 399. With
    `error` the answer is 206 Partial Content and carries both; without data the error is answered as if raised.
    """

    data: Any = None
    metadata: Any = None
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str | CookieOptions] = {}
    status: int | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        if self.status is None:
            return
        if not isinstance(self.status, int) or not 200 <= self.status <= 399:  # noqa: PLR2004 - RFC 9110's classes
            raise ValueError(
                f"a Response's status is 200 to 399, not {self.status}; to refuse, raise an HTTPError"
            )


class Raw(msgspec.Struct, frozen=True):
    """Answer with the JSON of the data alone, without an envelope."""

    data: Any


class File(msgspec.Struct, frozen=True):
    """Answer with a file, streamed from its path with ETag, 304 and Range, or with bytes.

    `content_type` defaults to what the path's ending says, else application/octet-stream. `filename` makes the
    client save it under that name. A path without a file is 404.
    """

    content: str | os.PathLike[str] | bytes
    content_type: str | None = None
    filename: str | None = None


class Event(msgspec.Struct, frozen=True):
    """Be one server-sent event: `data` is text, or what JSON can hold."""

    data: Any
    event: str | None = None
    id: str | None = None
    retry: int | None = None  # milliseconds that the client waits before it connects again


class Stream(msgspec.Struct, frozen=True):
    """Answer with what an async iterator gives, piece by piece, as it comes: str or bytes.

    With the content type "text/event-stream" each piece is a server-sent event: an `Event`, or the data of one.
    Such a stream is ended when the server stops, so that its client connects elsewhere; any other goes on.
    """

    source: AsyncIterable[Any]
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = {}


class Redirect(msgspec.Struct, frozen=True):
    """Answer with another place to go: 302, or 303 after POST, PUT and PATCH.

    Characters that a URL may not hold are escaped as browsers do; escapes in it stay as they are.
    """

    url: str
