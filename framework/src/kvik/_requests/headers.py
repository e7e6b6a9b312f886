"""Headers as they go out: names and values checked, because a line break in one would be another header."""

import re
from collections.abc import Iterable

RawHeaders = list[tuple[bytes, bytes]]
FirstValues = dict[bytes, bytes]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def raw_headers(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    """Encode headers for ASGI; ValueError for a name or value that HTTP cannot carry."""
    return [(_name(name), _value(name, value)) for name, value in headers]


def first_values(headers: RawHeaders) -> FirstValues:
    """Give the first value of each header by its name, which is in small letters."""
    return dict(reversed(headers))


def header_lines(headers: RawHeaders) -> bytes:
    """Write headers as the lines of a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _name(name: str) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a header")
    return name.lower().encode()


def _value(name: str, value: str) -> bytes:
    try:
        encoded = value.encode("latin-1")
    except UnicodeEncodeError:
        encoded = None
    if encoded is None or _CONTROL.search(value):
        raise ValueError(f"the value of the header {name} has characters that HTTP cannot carry")
    return encoded
