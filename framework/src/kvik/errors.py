"""What a handler raises to answer with an error.

    HTTPError(status, message)
    ├── EntityNotFound(name, value)          404
    ├── EntityAlreadyExists()                409
    ├── InvalidParam(*names)                 400
    ├── MissingParam(*names)                 400
    ├── Unauthorized(message)                401 + WWW-Authenticate
    ├── Forbidden(message)                   403
    ├── TooManyRequests(retry_after)         429 + Retry-After
    └── ServiceUnavailable(dependency, text) 503
    ConfigError                              ends the program: the configuration cannot be read

The errors of key-value stores have a tree of their own, in `kvik.kv_errors`.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from ._requests.headers import raw_headers

LogLevel = Literal["debug", "info", "warning", "error"]


class HTTPError(Exception):
    """Answer the request with this status and message.

    The message goes to the client as it is, at every status: write it for the client. Statuses are 400 to
    599, any other is a ValueError. Logged at INFO below 500, at ERROR from there on.
    """

    log_level: ClassVar[LogLevel | None] = None

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:  # noqa: PLR2004 - RFC 9110's error classes
            raise ValueError(f"an HTTPError's status is 400 to 599, not {status}")
        super().__init__(message)
        self.status_code = status
        self.message = message
        self.headers = dict(headers or {})
        raw_headers(self.headers.items())  # refuses here, where the mistake is, what HTTP cannot carry


class EntityNotFound(HTTPError):
    """Answer 404: there is no entity whose field `name` has this value."""

    def __init__(self, name: str, value: object) -> None:
        super().__init__(404, f"No entity found with {name}: {value}")


class EntityAlreadyExists(HTTPError):
    """Answer 409: the entity that was to be created is there already."""

    log_level = "warning"

    def __init__(self, message: str = "entity already exists") -> None:
        super().__init__(409, message)


class InvalidParam(HTTPError):
    """Answer 400: these parameters have values that cannot be used."""

    def __init__(self, *names: str) -> None:
        super().__init__(400, f"'{len(names)}' invalid parameter(s): {', '.join(names)}")


class MissingParam(HTTPError):
    """Answer 400: these parameters are needed and were not sent."""

    def __init__(self, *names: str) -> None:
        super().__init__(400, f"'{len(names)}' missing parameter(s): {', '.join(names)}")


class Unauthorized(HTTPError):
    """Answer 401: the client has to say who it is; `challenge` becomes WWW-Authenticate (RFC 9110, 11.6.1)."""

    def __init__(self, message: str = "unauthorized", *, challenge: str = "Bearer") -> None:
        super().__init__(401, message, headers={"WWW-Authenticate": challenge})


class Forbidden(HTTPError):
    """Answer 403: the client is known and may not do this."""

    def __init__(self, message: str = "forbidden") -> None:
        super().__init__(403, message)


class TooManyRequests(HTTPError):
    """Answer 429: the client may come back after `retry_after` seconds."""

    log_level = "warning"

    def __init__(self, retry_after: int | None = None, message: str = "rate limit exceeded") -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(429, message, headers=headers)


class ServiceUnavailable(HTTPError):
    """Answer 503: something that this service depends on does not answer."""

    def __init__(self, dependency: str, message: str) -> None:
        super().__init__(503, f"Service unavailable due to error: {message} from dependency {dependency}")


class ConfigError(SystemExit):
    """End the program with status 1 and one line that names the file, the line and what is wrong there.

    It is a SystemExit, so that the line is all that the operator sees, whichever server imports the app.
    """
