"""What a request for a file asks for: whether it has changed (RFC 9110, 13), and a range of it (14.2)."""

import re
from email.utils import parsedate

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from .headers import FirstValues, first_values

_RANGE = re.compile(rb"(\d{1,999})-(\d{0,999})|-(\d{1,999})")


class RangedFile(FileResponse):
    """A file, or the ranges of it that are asked for; 304 to a client that has it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        if scope["method"] in ("GET", "HEAD") and _is_known(self.headers, first_values(scope["headers"])):
            unchanged = Response(status_code=304, headers={"etag": self.headers["etag"]})
            await unchanged(scope, receive, send)
            return
        size = None if self.stat_result is None else self.stat_result.st_size
        await super().__call__(with_ranges_that_count(scope, size), receive, send)


def _is_known(file: Headers, asked: FirstValues) -> bool:
    """Tell whether the client says that it has a file with these headers."""
    tags = asked.get(b"if-none-match")
    if tags is not None:
        known = [tag.strip().removeprefix("W/") for tag in tags.decode("latin-1").split(",")]
        return "*" in known or file.get("etag") in known
    since = parsedate(asked.get(b"if-modified-since", b"").decode("latin-1"))
    changed = parsedate(file.get("last-modified", ""))
    return since is not None and changed is not None and changed <= since


def with_ranges_that_count(scope: Scope, size: int | None) -> Scope:
    """Return a request's scope with the ranges that a file of this size can answer.

    The header is left out where a server has to ignore it: for another method than GET, another unit than bytes,
    and what is not a list of ranges. Where the file has none of them it stays, to be answered with 416.
    """
    asked = next((value for name, value in scope["headers"] if name == b"range"), None)
    if asked is None:
        return scope
    others = [header for header in scope["headers"] if header[0] != b"range"]
    ranges = _parsed(asked) if scope["method"] == "GET" else []
    if ranges:
        within = ranges if size is None else [one for one in ranges if _is_within(one, size)]
        others.append((b"range", b"bytes=" + b",".join(one[0] for one in within or ranges)))
    return {**scope, "headers": others}


def _parsed(value: bytes) -> list[re.Match[bytes]]:
    """Return the ranges of a header; none where one of them is malformed or ends before it begins."""
    unit, _, listed = value.partition(b"=")
    if unit.strip().lower() != b"bytes":
        return []
    matches = [_RANGE.fullmatch(one.strip()) for one in listed.split(b",") if one.strip()]
    ranges = [match for match in matches if match is not None and not _is_backward(match)]
    return ranges if len(ranges) == len(matches) else []


def _is_backward(match: re.Match[bytes]) -> bool:
    first, last, _ = match.groups()
    return bool(last) and int(last) < int(first)


def _is_within(match: re.Match[bytes], size: int) -> bool:
    first, _, suffix = match.groups()
    return size > 0 and (int(first) < size if suffix is None else int(suffix) > 0)
