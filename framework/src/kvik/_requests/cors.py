"""Cross-origin resource sharing: the headers that every answer carries, as GoFr sends them."""

from structlog.typing import FilteringBoundLogger

from ..config import Settings
from .headers import RawHeaders, raw_headers

_HEADERS = "Authorization, Content-Type, x-requested-with, origin, true-client-ip, X-Correlation-ID"


class CORS:
    """Hold the policy: any origin, a list of origins, or, with an empty list, no CORS at all."""

    def __init__(self, settings: Settings, logger: FilteringBoundLogger) -> None:
        origins = [origin.strip() for origin in settings.access_control_allow_origin.split(",") if origin.strip()]
        self._enabled = bool(origins)
        self._any = "*" in origins
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

    def headers(self, request_headers: RawHeaders, methods: bytes) -> RawHeaders:
        """Give the headers of an answer on a path that has these methods."""
        if not self._enabled:
            return []
        headers = [(b"access-control-allow-methods", methods), *self._fixed]
        if self._any:
            return [(b"access-control-allow-origin", b"*"), *headers]
        origin = next((value for name, value in request_headers if name == b"origin"), b"")
        if origin in self._origins:
            return [(b"access-control-allow-origin", origin), *headers]
        return headers
