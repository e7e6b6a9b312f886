"""The body of a request: read once, within its limit, whole or as a form."""

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from ..errors import HTTPError
from .forms import Form, parse_multipart

_MOST_DIGITS = 19  # far over any limit; Python refuses to convert thousands


class Body:
    """Read a request's body, at most `limit` bytes of it, and keep what was read.

    A larger one is HTTPError 413, whatever it said of itself; ClientDisconnect if the client goes away.
    """

    __slots__ = ("_form", "_limit", "_receive", "_scope", "_started", "_whole")

    def __init__(self, scope: Scope, receive: Receive, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._limit = limit
        self._started = False
        self._whole: bytes | None = None
        self._form: Form | None = None

    async def read(self) -> bytes:
        """Read all of it."""
        if self._whole is None:
            self._whole = b"".join([chunk async for chunk in self._chunks()])
        return self._whole

    async def multipart(self, content_type: str) -> Form:
        """Read it as multipart/form-data; HTTPError 400 where it is none. `close` closes its files."""
        if self._form is None:
            self._form = await parse_multipart(content_type, self._chunks())
        return self._form

    def close(self) -> None:
        """Close the files of a form."""
        for _, value in self._form or ():
            if isinstance(value, UploadFile):
                value.file.close()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        if self._whole is not None:
            yield self._whole
            return
        if self._started:
            raise RuntimeError("the request's body is gone: it was read as a multipart form, or refused")
        self._started = True
        too_large = HTTPError(413, f"request body is larger than {self._limit} bytes")
        if self._declared_size() > self._limit:
            raise too_large
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                raise too_large
            yield chunk
            more = message.get("more_body", False)

    def _declared_size(self) -> int:
        declared = next((value for name, value in self._scope["headers"] if name == b"content-length"), b"0")
        return int(declared[:_MOST_DIGITS]) if declared.isdigit() else 0
