"""The body of a request: read once, within its limit, whole or as a form."""

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ..errors import HTTPError
from .forms import Form, parse_multipart

_MOST_DIGITS = 19  # far over any limit; Python refuses to convert thousands


class Body:
    """Read a request's body, at most `limit` bytes of it, and keep what was read.

    A larger one is HTTPError 413, whatever the header Content-Length has `declared`; ClientDisconnect if the
    client goes away.
    """

    __slots__ = (
        "_declared",
        "_form",
        "_is_ahead",
        "_limit",
        "_receive",
        "_refusal",
        "_size",
        "_started",
        "_whole",
    )

    def __init__(self, receive: Receive, limit: int, *, declared: str) -> None:
        self._receive = receive
        self._limit = limit
        self._declared = declared
        self._size = 0
        self._started = False
        self._whole: bytes | None = None
        self._is_ahead = False
        self._refusal: HTTPError | None = None
        self._form: Form | None = None

    async def read(self) -> bytes:
        """Read all of it."""
        if self._whole is None:
            self._start()
            chunks, more = [], True
            while more:
                chunk, more = await self._next()
                chunks.append(chunk)
            self._whole = b"".join(chunks)
        return self._whole

    async def read_ahead(self) -> None:
        """Read all of it before anybody asks; a refusal is raised to whoever does."""
        try:
            await self.read()
            self._is_ahead = True
        except HTTPError as refusal:
            self._refusal = refusal

    async def receive(self) -> Message:
        """Receive the next message, or what was read ahead."""
        if self._is_ahead and self._whole is not None:
            self._is_ahead = False
            return {"type": "http.request", "body": self._whole, "more_body": False}
        return await self._receive()

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
        self._start()
        more = True
        while more:
            chunk, more = await self._next()
            yield chunk

    def _start(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self._started:
            raise RuntimeError("the request's body is gone: it was read as a multipart form, or refused")
        self._started = True
        if self._declared.isdecimal() and int(self._declared[:_MOST_DIGITS]) > self._limit:
            raise self._too_large()

    async def _next(self) -> tuple[bytes, bool]:
        """Give the next piece, and whether there are more."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self._size += len(chunk)
        if self._size > self._limit:
            raise self._too_large()
        return chunk, message.get("more_body", False)

    def _too_large(self) -> HTTPError:
        return HTTPError(413, f"request body is larger than {self._limit} bytes")
