"""Cross-origin resource sharing: the headers that every answer carries, as GoFr sends them.

Where a user's own CORS middleware decides, an answer carries what that gives, and nothing of ours: what it keeps
from an origin must not reach it as our `*`.
"""

from functools import lru_cache, partial
from typing import Any

from starlette.middleware import Middleware

from ..config import Settings
from .headers import FirstValues, RawHeaders, raw_headers

_HEADERS = "Authorization, Content-Type, x-requested-with, origin, true-client-ip, X-Correlation-ID"

_MOST_KEPT = 256
"""Sets of methods and listed origins for which the headers are kept ready; clients can invent neither."""


_MOST_WRAPPERS = 32
"""Applications around one another that are looked through."""


def decides_cors(middleware: Any) -> bool:
    """Tell by its name whether a middleware, class or function, is one for CORS, as Starlette's is."""
    while isinstance(middleware, partial):
        middleware = middleware.func
    names = [base.__name__ for base in middleware.__mro__] if isinstance(middleware, type) else [_name(middleware)]
    return any("cors" in name.lower() for name in names)


def app_decides_cors(app: Any) -> bool:
    """Tell whether an application has CORS middleware of its own: Starlette's and FastAPI's list theirs."""
    for _ in range(_MOST_WRAPPERS):
        listed = getattr(app, "user_middleware", ())
        if decides_cors(type(app)) or any(decides_cors(own.cls) for own in listed if isinstance(own, Middleware)):
            return True
        app = getattr(app, "app", None)
        if app is None:
            break
    return False


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", ""))


class CORS:
    """The policy: any origin, a list of origins, or none, with an empty list or where another has `decided`."""

    def __init__(self, settings: Settings, *, decided: bool = False) -> None:
        origins = [origin.strip() for origin in settings.access_control_allow_origin.split(",") if origin.strip()]
        self._enabled = bool(origins) and not decided
        self._any = "*" in origins
        self._names_origins = bool(origins) and not self._any
        self._origins = {origin.encode() for origin in origins}
        extra = settings.access_control_allow_headers
        self._fixed = raw_headers(
            [("Access-Control-Allow-Headers", f"{_HEADERS}, {extra}" if extra else _HEADERS)]
        )
        if settings.access_control_allow_credentials:
            self._fixed += raw_headers([("Access-Control-Allow-Credentials", "true")])
        if not self._any:
            self._fixed += raw_headers([("Vary", "Origin")])
        self.headers = lru_cache(maxsize=_MOST_KEPT)(self._headers)

    def origin_of(self, request_headers: FirstValues) -> bytes:
        """Return the request's origin where the policy names it, else nothing."""
        if not self._names_origins:
            return b""
        origin = request_headers.get(b"origin", b"")
        return origin if origin in self._origins else b""

    def allows(self, origin: bytes) -> bool:
        """Tell whether a page of this origin may open a WebSocket, which no CORS middleware looks at."""
        return not self._names_origins or origin in self._origins

    def _headers(self, origin: bytes, methods: str) -> RawHeaders:
        """Give the headers of an answer to an origin on a path that has these methods; not to be changed."""
        if not self._enabled:
            return []
        headers = [(b"access-control-allow-methods", methods.encode()), *self._fixed]
        allowed = b"*" if self._any else origin
        return [(b"access-control-allow-origin", allowed), *headers] if allowed else headers
