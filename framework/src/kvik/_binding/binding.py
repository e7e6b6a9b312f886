"""Binding: a body or a query becomes a typed value, and what does not fit becomes a 4xx that says why."""

import codecs
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import UploadFile

from ..errors import HTTPError
from .body import Body
from .forms import parse_urlencoded
from .kinds import Kind, kind_of

_LONGEST_MESSAGE = 500  # a message may repeat a name that the client chose


async def bind_body(body: Body, content_type: str, kind: Any) -> Any:
    """Convert the body into `kind`; HTTPError says what is wrong with the body, TypeError what with `kind`."""
    target = kind_of(kind)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "application/json") or media_type.endswith("+json"):
        return _from_json(target, await body.read())
    if target.has_named_fields and media_type == "application/x-www-form-urlencoded":
        return _from_fields(target, parse_urlencoded(await body.read()))
    if target.has_named_fields and media_type == "multipart/form-data":
        return _from_fields(target, await body.multipart(content_type))
    raise HTTPError(415, f"unsupported content type: {media_type}")


def bind_query(pairs: list[tuple[str, str]], kind: Any) -> Any:
    """Convert a query into `kind`; HTTPError says what is wrong with the query, TypeError what with `kind`."""
    target = kind_of(kind)
    if not target.has_named_fields:
        raise TypeError(f"a query cannot be bound to {kind}, which has no named fields")
    return _from_fields(target, pairs)


def _from_json(target: Kind, text: bytes) -> Any:
    text = text.removeprefix(codecs.BOM_UTF8)  # RFC 8259, 8.1 lets a parser ignore it
    if not text:
        raise HTTPError(400, "request body is empty; JSON was expected")
    try:
        return target.from_json(text)
    except ValueError as error:
        raise _refusal(error) from error


def _from_fields(target: Kind, fields: Iterable[tuple[str, str | UploadFile]]) -> Any:
    try:
        return target.from_fields(fields)
    except ValueError as error:
        raise _refusal(error) from error


def _refusal(error: ValueError) -> HTTPError:
    message = str(error)
    return HTTPError(400, message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…")
