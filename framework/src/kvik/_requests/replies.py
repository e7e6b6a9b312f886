"""The answer to a handler's result."""

import asyncio
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import FileResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.types import Send

from .._anyio import anyio_is_there
from .._json import encode
from .._json_advice import json_problem
from ..errors import HTTPError
from ..responses import Event, File, Raw, Redirect, Response, Stream
from .framing import LENGTH, WITHOUT_BODY
from .headers import RawHeaders, raw_headers
from .location import location
from .ranges import RangedFile

JSON = b"application/json"

_STATUS_WITH_DATA = {"POST": 201}
_STATUS_WITHOUT_DATA = {"POST": 202, "DELETE": 204}
_REDIRECT_STATUS = {"POST": 303, "PUT": 303, "PATCH": 303}
_PARTIAL_CONTENT = 206

_PLAIN_DATA = frozenset({dict, list, str, int, float, bool})
"""The types that most handlers return: none of those that mean more than their data."""

_NOT_ENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What the encoder raises for a value that cannot be made JSON."""

_ENDS_OPTION = re.compile(r"[;\x00-\x1f\x7f]")  # RFC 6265, 4.1.1

_EVENT_STREAM = "text/event-stream"


class Reply(msgspec.Struct, eq=False):
    """Hold a finished answer; without a body it has no Content-Type either."""

    status: int
    body: bytes
    headers: RawHeaders = []
    content_type: bytes = JSON

    def head(self) -> RawHeaders:
        """Return all the headers of the response; its length is that of its body, whatever else is said."""
        if self.status in WITHOUT_BODY:
            return self.headers
        own = [(LENGTH, b"%d" % len(self.body))]
        if self.body and not any(name == b"content-type" for name, _ in self.headers):
            own.append((b"content-type", self.content_type))
        return own + [header for header in self.headers if header[0] != LENGTH]


class NotEncodableError(Exception):
    """Raised when a handler's result has no JSON form; the message says which part of it, and what to do."""

    handler = ""

    def __str__(self) -> str:
        """Return the message, with the handler's name where it is known."""
        return f"handler `{self.handler}` returned {self.args[0]}" if self.handler else str(self.args[0])


def reply_to_data(result: Any, method: str) -> Reply | None:
    """Make the answer to what most handlers return, data and nothing else; None where it may be more.

    Raises NotEncodableError.
    """
    if type(result) not in _PLAIN_DATA:
        return None
    try:
        return Reply(_STATUS_WITH_DATA.get(method, 200), encode({"data": result}) + b"\n")
    except _NOT_ENCODABLE as error:
        raise NotEncodableError(json_problem(result, encode)) from error


async def reply_to_result(  # noqa: PLR0911 - a row of the table each
    result: Any, method: str, *, message_of: Callable[[Exception], dict[str, Any]]
) -> Reply | StarletteResponse:
    """Make the answer to what a handler returned, with the status that its method has.

    `message_of` makes the error object of a partial answer. Raises NotEncodableError, and the error of a Response
    that has nothing else.
    """
    match result:
        case FileResponse() | StreamingResponse():
            await anyio_is_there()
            return result
        case StarletteResponse():
            if LENGTH.decode() in result.headers and (result.body or method != "HEAD"):
                result.headers[LENGTH.decode()] = str(len(result.body))
            return result
        case Response():
            return _reply_to_response(result, method, message_of)
        case Raw():
            return Reply(_status(method), _json(result.data, of=result.data))
        case Redirect():
            return Reply(_REDIRECT_STATUS.get(method, 302), b"", raw_headers([("Location", location(result.url))]))
        case File():
            return await _reply_with_file(result)
        case Stream():
            return _reply_with_stream(result)
        case None:
            return _reply_with_nothing(method, None, [])
        case _:
            return Reply(_status(method), _json({"data": result}, of=result))


def _reply_to_response(
    response: Response, method: str, message_of: Callable[[Exception], dict[str, Any]]
) -> Reply:
    body: dict[str, Any] = {"metadata": response.metadata, "data": response.data}
    body = {name: value for name, value in body.items() if value is not None}
    status = response.status
    if response.error is not None:
        if response.data is None:
            raise response.error
        body = {"error": message_of(response.error), **body}
        status = _PARTIAL_CONTENT
    headers = raw_headers(response.headers.items()) + _cookies(response.cookies)
    if not body:
        return _reply_with_nothing(method, status, headers)
    status = status or _status(method)
    if status in WITHOUT_BODY:
        return Reply(status, b"", headers)
    return Reply(status, _json(body, of=response.data if response.metadata is None else body), headers)


def _reply_with_nothing(method: str, status: int | None, headers: RawHeaders) -> Reply:
    status = status or _STATUS_WITHOUT_DATA.get(method, 200)
    return Reply(status, b"" if status in WITHOUT_BODY else b"{}\n", headers)


def _status(method: str) -> int:
    return _STATUS_WITH_DATA.get(method, 200)


def _json(value: Any, *, of: Any) -> bytes:
    try:
        return encode(value) + b"\n"
    except _NOT_ENCODABLE as error:
        raise NotEncodableError(json_problem(of, encode)) from error


def _cookies(cookies: Mapping[str, str | Mapping[str, Any]]) -> RawHeaders:
    """Write Set-Cookie headers by Starlette, which quotes values but no option of theirs."""
    if not cookies:
        return []
    carrier = StarletteResponse()
    for name, cookie in cookies.items():
        options = {"value": cookie} if isinstance(cookie, str) else dict(cookie)
        for option, text in options.items():
            if option != "value" and isinstance(text, str) and _ENDS_OPTION.search(text):
                raise ValueError(f"the option {option} of the cookie {name!r} has characters that end an option")
        carrier.set_cookie(name, **options)
    return [header for header in carrier.raw_headers if header[0] == b"set-cookie"]


async def _reply_with_file(file: File) -> Reply | StarletteResponse:
    if isinstance(file.content, bytes):
        media_type = file.content_type or "application/octet-stream"
        response = StarletteResponse(file.content, media_type=media_type)
        if file.filename is not None:
            response.headers["content-disposition"] = FileResponse("", filename=file.filename).headers[
                "content-disposition"
            ]
        return response
    await anyio_is_there()
    path = Path(file.content)
    status = await asyncio.to_thread(_status_of_file, path)
    if status is None:
        raise HTTPError(404, "file not found")
    return RangedFile(path, media_type=file.content_type, filename=file.filename, stat_result=status)


def _status_of_file(path: Path) -> os.stat_result | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError for a name with a NUL
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _reply_with_stream(stream: Stream) -> StarletteResponse:
    headers = {name: value for name, value in stream.headers.items() if name.lower() != LENGTH.decode()}
    if not stream.content_type.startswith(_EVENT_STREAM):
        return StreamingResponse(stream.source, headers=headers, media_type=stream.content_type)
    if not any(name.lower() == "cache-control" for name in headers):
        headers["Cache-Control"] = "no-store"
    return EventStream(stream.source, headers=headers, media_type=stream.content_type)


class EventStream(StreamingResponse):
    """An answer of server-sent events, which ends when the server stops."""

    async def stream_response(self, send: Send) -> None:
        """Send the head, and each item of the source as an event."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for item in self.body_iterator:
            await send({"type": "http.response.body", "body": _event_text(item).encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _event_text(item: Any) -> str:
    """Write an event as the HTML standard wants it: a field a line, an empty line at the end."""
    event = item if isinstance(item, Event) else Event(item)
    data = (
        event.data if isinstance(event.data, str) else _json(event.data, of=event.data).decode().removesuffix("\n")
    )
    fields = [("event", event.event), ("id", event.id), ("retry", event.retry)]
    lines = [f"{name}: {_one_line(str(value))}" for name, value in fields if value is not None]
    lines += [f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return "\n".join(lines) + "\n\n"


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError("a server-sent event's name and id are one line")
    return text
