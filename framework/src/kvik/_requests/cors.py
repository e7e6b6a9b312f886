"""Cross-origin resource sharing: the headers that every answer carries, as GoFr sends them."""

from functools import lru_cache

from structlog.typing import FilteringBoundLogger

from ..config import Settings
from .headers import RawHeaders, first_value, header_lines, raw_headers

_HEADERS = "Authorization, Content-Type, x-requested-with, origin, true-client-ip, X-Correlation-ID"

_MOST_KEPT = 256
"""Sets of methods and listed origins for which the headers are kept ready; clients can invent neither."""


class CORS:
    """Hold the policy: any origin, a list of origins, or, with an empty list, no CORS at all."""

    def __init__(self, settings: Settings, logger: FilteringBoundLogger) -> None:
        origins = [origin.strip() for origin in settings.access_control_allow_origin.split(",") if origin.strip()]
        self._enabled = bool(origins)
        self._any = "*" in origins
        self._names_origins = self._enabled and not self._any
        self._origins = {origin.encode() for origin in origins}
        extra = settings.access_control_allow_headers
        self._fixed = raw_headers(
            [("Access-Control-Allow-Headers", f"{_HEADERS}, {extra}" if extra else _HEADERS)]
        )
        if settings.access_control_allow_credentials and self._any:
            logger.error(
                "config.invalid",
                variable="ACCESS_CONTROL_ALLOW_CREDENTIALS",
                value="true",
                problem="browsers refuse them for any origin: list the origins in ACCESS_CONTROL_ALLOW_ORIGIN",
                default=False,
            )
        elif settings.access_control_allow_credentials:
            self._fixed += raw_headers([("Access-Control-Allow-Credentials", "true")])
        if not self._any:
            self._fixed += raw_headers([("Vary", "Origin")])
        self._headers = lru_cache(maxsize=_MOST_KEPT)(self._make_headers)
        self._encoded = lru_cache(maxsize=_MOST_KEPT)(self._encode)

    def headers(self, request_headers: RawHeaders, methods: str) -> RawHeaders:
        """Give the headers of an answer on a path that has these methods; the list is not to be changed."""
        origin = self._listed_origin(request_headers) if self._names_origins else b""
        return self._headers(origin, methods)

    def encoded(self, request_headers: RawHeaders, methods: str) -> bytes:
        """Give the same headers as the lines of a head."""
        origin = self._listed_origin(request_headers) if self._names_origins else b""
        return self._encoded(origin, methods)

    def _listed_origin(self, request_headers: RawHeaders) -> bytes:
        """Give the request's origin where it is one that is named in the policy, else nothing."""
        origin = first_value(request_headers, b"origin")
        return origin if origin in self._origins else b""

    def _make_headers(self, origin: bytes, methods: str) -> RawHeaders:
        if not self._enabled:
            return []
        headers = [(b"access-control-allow-methods", methods.encode()), *self._fixed]
        allowed = b"*" if self._any else origin
        return [(b"access-control-allow-origin", allowed), *headers] if allowed else headers

    def _encode(self, origin: bytes, methods: str) -> bytes:
        return header_lines(self._headers(origin, methods))
