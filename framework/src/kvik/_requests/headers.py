"""Headers: those of requests by name; those of answers checked, because a line break would begin another."""

import re
from collections.abc import Iterable

RawHeaders = list[tuple[bytes, bytes]]
FirstValues = dict[bytes, bytes]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def raw_headers(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    """Encode headers for ASGI; ValueError for a name or value that HTTP cannot carry."""
    raw = [(_encoded(name, name).lower(), _encoded(name, value)) for name, value in headers]
    check_lines(raw)
    return raw


_ONE_VALUE = frozenset(
    b"authorization content-length content-type date from host if-modified-since if-range if-unmodified-since "
    b"max-forwards origin proxy-authorization range referer traceparent user-agent".split()
)
"""The headers that are not lists; sent twice, their first value counts, as in Node.js."""


def first_values(headers: RawHeaders) -> FirstValues:
    """Return the value of each header by its name, in lower case, with the lines of a list joined."""
    values = dict(headers)
    return values if len(values) == len(headers) else _joined(headers)


def _joined(headers: RawHeaders) -> FirstValues:
    """Join the lines of each list (RFC 9110, 5.3), and of Cookie as HTTP/2 splits it (RFC 9113, 8.2.3)."""
    values: FirstValues = {}
    for name, value in headers:
        if name not in values:
            values[name] = value
        elif name not in _ONE_VALUE:
            values[name] += (b"; " if name == b"cookie" else b", ") + value
    return values


def merge_vary(headers: RawHeaders, more: bytes) -> RawHeaders:
    """Return the headers with one Vary that also names `more`; a `*` in it says enough (RFC 9110, 12.5.5)."""
    vary = b", ".join(value for name, value in headers if name.lower() == b"vary")
    names = [name.strip().lower() for name in vary.split(b",")]
    if more.lower() not in names and b"*" not in names:
        vary += b", " + more
    return [*(header for header in headers if header[0].lower() != b"vary"), (b"vary", vary)]


def check_lines(headers: RawHeaders) -> None:
    """Raise ValueError for a name or value that would break out of its line, or that HTTP cannot carry."""
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a header")
        if _CONTROL.search(value):
            raise ValueError(f"the value of the header {name.decode()} has characters that HTTP cannot carry")


def header_lines(headers: RawHeaders) -> bytes:
    """Write headers as the lines of a head; ValueError as `check_lines`."""
    check_lines(headers)
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the header {name!r} has characters that HTTP cannot carry") from None
