"""From the text of a variable to its value: each function raises ValueError, saying what was expected."""

import ipaddress
import re
from urllib.parse import urlsplit

_MAX_SECONDS = 24 * 60 * 60.0
_MIN_TIMEOUT = 0.001  # seconds; what the event loop's clock can tell apart
_MAX_DIGITS = 15
_MIN_HEADER_SIZE, _MAX_HEADER_SIZE = 64, 16 * 2**20
_MAX_BODY_SIZE = 2**40
_MAX_PORT = 65535

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s,]+", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2


def parse_duration(text: str) -> float:
    """Return the seconds of "30s", "500ms", "1m30s", "2h" or bare seconds, at most a day; 0 is allowed."""
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        seconds = float(text)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text, re.ASCII)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError("expected a duration such as 30s, 500ms or 1m30s")
        units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
        seconds = sum(float(number) * units[unit] for number, unit in parts)
    if seconds > _MAX_SECONDS:
        raise ValueError("expected a duration of at most 24h")
    return seconds


def parse_timeout(text: str) -> float:
    """Return the seconds of a duration of at least a millisecond."""
    seconds = parse_duration(text)
    if seconds < _MIN_TIMEOUT:
        raise ValueError("expected a duration of at least 1ms")
    return seconds


def parse_optional_timeout(text: str) -> float | None:
    """Return the seconds of a duration of at least a millisecond, or None for 0."""
    return parse_timeout(text) if parse_duration(text) else None


def parse_size(text: str) -> int:
    """Return the bytes of "4MiB", "64KiB", "1GiB" or bare bytes."""
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB)?", text, re.ASCII)
    if match is None or len(match[1]) > _MAX_DIGITS:
        raise ValueError("expected a size such as 4MiB, 64KiB or bare bytes")
    return int(match[1]) * {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[match[2]]


def parse_body_size(text: str) -> int:
    """Return the bytes of a size from 1 byte to 1024GiB."""
    size = parse_size(text)
    if not 1 <= size <= _MAX_BODY_SIZE:
        raise ValueError("expected a size from 1B to 1024GiB")
    return size


def parse_header_size(text: str) -> int:
    """Return the bytes of a size from 64 bytes, which the shortest requests fit into, to 16MiB."""
    size = parse_size(text)
    if not _MIN_HEADER_SIZE <= size <= _MAX_HEADER_SIZE:
        raise ValueError("expected a size from 64B to 16MiB")
    return size


def parse_port(text: str) -> int:
    """Return a TCP port, 0 to 65535."""
    return _whole_number(text, 0, _MAX_PORT, "expected a port, 0 to 65535")


def parse_count(text: str) -> int:
    """Return a whole number from 1 to 4096."""
    return _whole_number(text, 1, 4096, "expected a whole number from 1 to 4096")


def parse_workers(text: str) -> int:
    """Return a whole number from 1 to 1024."""
    return _whole_number(text, 1, 1024, "expected a whole number from 1 to 1024")


def _whole_number(text: str, lowest: int, highest: int, problem: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and lowest <= int(text) <= highest):
        raise ValueError(problem)
    return int(text)


def parse_bool(text: str) -> bool:
    """Return what "true", "false", "1", "0", "yes", "no", "on" or "off" say."""
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("expected true or false")
    return words[text.lower()]


def parse_level(text: str) -> str:
    """Return the name of a log level in capitals, with GoFr's spelling of WARNING allowed."""
    level = {"WARN": "WARNING", "NOTICE": "INFO", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("expected DEBUG, INFO, WARN or ERROR")
    return level


def parse_ratio(text: str) -> float:
    """Return a number from 0 to 1."""
    if not re.fullmatch(r"0|1|[01]?\.\d+", text, re.ASCII) or float(text) > 1:
        raise ValueError("expected a number from 0 to 1")
    return float(text)


def parse_error_format(text: str) -> str:
    """Return "envelope" or "problem"."""
    if text not in ("envelope", "problem"):
        raise ValueError("expected envelope or problem")
    return text


def parse_http_engine(text: str) -> str:
    """Return "auto" or "asgi"."""
    if text not in ("auto", "asgi"):
        raise ValueError("expected auto or asgi")
    return text


def parse_host(text: str) -> str:
    """Return a host's name or address, without a port."""
    if not _is_host(text):
        raise ValueError("expected a host's name or address, without scheme and port")
    return text


def _is_host(text: str) -> bool:
    try:
        if ":" in text:
            return bool(ipaddress.IPv6Address(text))
        return text.isprintable() and not re.search("[ /]", text) and bool(text.encode("idna"))
    except ValueError:  # also what IDNA refuses
        return False


def parse_http_url(text: str) -> str:
    """Return a URL of http or https that names a host."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError("expected a URL of http or https")
    return text


def parse_origins(text: str) -> str:
    """Return origins as browsers send them, in lower case and joined by commas, or "*"; "" stays."""
    origins = _items(text.lower())
    if "*" in origins and len(origins) > 1:
        raise ValueError("expected origins, or * alone: * allows every origin")
    for origin in origins:
        if origin not in ("*", "null") and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin} can match no origin: expected scheme and host alone, such as https://shop.example"
            )
    return ",".join(origins)


def parse_header_names(text: str) -> str:
    """Return names of headers, joined by commas."""
    for name in _items(text):
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
    return ", ".join(_items(text))


def parse_proxies(text: str) -> str:
    """Return addresses and networks of proxies, joined by commas; "*" is any, other words name Unix sockets."""
    for item in _items(text):
        looks_like_address = not item.startswith("/") and re.search("[.:/]", item)
        if looks_like_address:
            try:
                ipaddress.ip_network(item)
            except ValueError as error:
                raise ValueError(f"expected addresses and networks such as 10.0.0.0/8: {error}") from None
    return text


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
