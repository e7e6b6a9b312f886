"""Cross-origin resource sharing: the headers that every answer carries, as GoFr sends them."""

from functools import lru_cache

from ..config import Settings
from .headers import FirstValues, RawHeaders, raw_headers

_HEADERS = "Authorization, Content-Type, x-requested-with, origin, true-client-ip, X-Correlation-ID"

_MOST_KEPT = 256
"""Sets of methods and listed origins for which the headers are kept ready; clients can invent neither."""


class CORS:
    """Hold the policy: any origin, a list of origins, or, with an empty list, no CORS at all."""

    def __init__(self, settings: Settings) -> None:
        origins = [origin.strip() for origin in settings.access_control_allow_origin.split(",") if origin.strip()]
        self._enabled = bool(origins)
        self._any = "*" in origins
        self._names_origins = self._enabled and not self._any
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
        """Give the request's origin where the policy names it, else nothing."""
        if not self._names_origins:
            return b""
        origin = request_headers.get(b"origin", b"")
        return origin if origin in self._origins else b""

    def _headers(self, origin: bytes, methods: str) -> RawHeaders:
        """Give the headers of an answer to an origin on a path that has these methods; not to be changed."""
        if not self._enabled:
            return []
        headers = [(b"access-control-allow-methods", methods.encode()), *self._fixed]
        allowed = b"*" if self._any else origin
        return [(b"access-control-allow-origin", allowed), *headers] if allowed else headers
