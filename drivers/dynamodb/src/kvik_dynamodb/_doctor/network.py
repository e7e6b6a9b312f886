"""The way to the server: its name, and a connection to it."""

import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.utils import get_environ_proxies

from . import budget
from .budget import Budget

_HTTPS, _HTTP = 443, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Hold how long the name and the connection took, in milliseconds, or what was in the way."""

    host: str
    port: int
    proxy: bool = False
    dns_ms: float | None = None
    connect_ms: float | None = None
    obstacle: str = ""


def find_way(url: str, time_left: Budget) -> Way:
    """Connect once to the server, or to the proxy in front of it."""
    proxy = get_environ_proxies(url).get(urlsplit(url).scheme)
    try:
        host, port = _destination(url if not proxy else proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        return Way(host="", port=0, proxy=bool(proxy), obstacle="the URL of the proxy is wrong")
    began = time.perf_counter()
    try:
        found = time_left.run(budget.TIMES.name, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except TimeoutError:
        return Way(host=host, port=port, proxy=bool(proxy), obstacle=f"looking up the name {host} took too long")
    except (OSError, UnicodeError):  # UnicodeError: a label that no name can have
        return Way(host=host, port=port, proxy=bool(proxy), obstacle=f"the name {host} is not known")
    resolved = time.perf_counter()
    obstacle = _connect([str(address[0]) for *_, address in found], port, time_left)
    return Way(
        host=host,
        port=port,
        proxy=bool(proxy),
        dns_ms=milliseconds(resolved - began),
        connect_ms=None if obstacle else milliseconds(time.perf_counter() - resolved),
        obstacle=f"cannot connect to {host} port {port}: {obstacle}" if obstacle else "",
    )


def _destination(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (_HTTPS if parts.scheme == "https" else _HTTP)


def _connect(addresses: list[str], port: int, time_left: Budget) -> str:
    """Try every address of the name, as clients do; give what was wrong with the last, if all failed."""
    timeout = budget.TIMES.connect

    def try_all() -> str:
        obstacle = "no address"
        for address in dict.fromkeys(addresses):
            try:
                socket.create_connection((address, port), timeout).close()
            except TimeoutError:
                obstacle = "no answer"
            except OSError as error:
                obstacle = (error.strerror or type(error).__name__).lower()
            else:
                return ""
        return obstacle

    try:
        return time_left.run(2 * timeout, try_all)
    except TimeoutError:
        return "no answer"


def milliseconds(seconds: float) -> float:
    """Give a time as it is shown."""
    return round(seconds * 1000, 1)
