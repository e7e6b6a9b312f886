"""Forms on the wire: urlencoded and multipart bodies become pairs of names and values."""

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .._anyio import anyio_is_there
from ..errors import HTTPError

MAX_FIELDS = 1000
MAX_FILES = 100  # each may hold a file descriptor, of which a process often has no more than 1024

Form = list[tuple[str, str | UploadFile]]


def parse_urlencoded(body: bytes) -> Form:
    """Parse `a=1&b=2`; HTTPError 400 for bad UTF-8, and for more than MAX_FIELDS fields."""
    try:
        return [*parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)]
    except UnicodeDecodeError:
        raise _not_utf8() from None
    except ValueError:
        raise HTTPError(400, f"form has more than {MAX_FIELDS} fields") from None


async def parse_multipart(content_type: str, chunks: AsyncGenerator[bytes, None]) -> Form:
    """Parse a multipart body as it arrives; files over 1 MiB go to disk, and the caller closes them all.

    Raises HTTPError 400 where it is malformed, cut off or not UTF-8, for more than MAX_FIELDS fields or MAX_FILES
    files, and for a field of text over 1 MiB. No file stays open then.
    """
    async with contextlib.aclosing(chunks):
        try:
            parser = _Parser(_boundary(content_type), chunks)
            await parser.parse()
        except MultiPartException as error:
            raise HTTPError(400, f"multipart form is malformed: {error.message}") from error
    return parser.items


class _Parser(MultiPartParser):
    """Parse strictly: Starlette's parser takes bad UTF-8 for Latin-1, and what was cut off for a whole."""

    def __init__(self, boundary: str, chunks: AsyncIterator[bytes]) -> None:
        # In Latin-1 every byte survives, to be decoded below.
        headers = Headers({"content-type": f'multipart/form-data; boundary="{boundary}"; charset=latin-1'})
        super().__init__(headers, self._whole(chunks), max_fields=MAX_FIELDS, max_files=MAX_FILES)
        self._ended = False

    def on_part_end(self) -> None:
        super().on_part_end()
        name, value = self.items.pop()
        if isinstance(value, UploadFile):
            value.filename = _decoded(value.filename or "")
        else:
            value = _decoded(value)
        self.items.append((_decoded(name), value))

    def on_end(self) -> None:
        self._ended = True

    async def _whole(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self.spool_max_size:
                await anyio_is_there()  # a file may go to disk from here on
            yield chunk
        if not self._ended:  # said from within the stream, so that the parser closes its files
            raise MultiPartException("its closing boundary is missing")


def _boundary(content_type: str) -> str:
    match = re.search(r';\s*boundary=(?:"([^"\\]+)"|([^\s";\\]+))', content_type, re.IGNORECASE)
    if match is None:
        raise MultiPartException("its Content-Type names no boundary")
    return match[1] or match[2]


def _decoded(latin1: str) -> str:
    try:
        return latin1.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> HTTPError:
    return HTTPError(400, "form is not valid UTF-8")
