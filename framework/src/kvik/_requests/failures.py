"""The answer to an exception, and how it is logged."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, get_args

from starlette.exceptions import HTTPException as StarletteHTTPException

from .._json import encode
from ..errors import HTTPError, LogLevel
from ..kv_errors import KVError
from .headers import raw_headers
from .replies import JSON, NotEncodableError, Reply

_SERVER_ERROR = 500
_LOG_LEVELS: frozenset[str] = frozenset(get_args(LogLevel))
_PROBLEM = b"application/problem+json"


class Failure(NamedTuple):
    """Hold what an exception means for the client and for the log."""

    status: int
    message: str
    log_level: str
    headers: Mapping[str, str]
    extra: Mapping[str, Any]  # joins the error object; no "message" is among it
    with_stack: bool = False

    @property
    def error_object(self) -> dict[str, Any]:
        """Give the object that stands under "error"."""
        return {"message": self.message, **self.extra}

    def reply(self, error_format: str) -> Reply:
        """Make the answer: GoFr's envelope, or with "problem" RFC 9457's problem details."""
        headers = raw_headers(self.headers.items())
        if error_format == "problem":
            return Reply(self.status, encode(self._problem()) + b"\n", headers, content_type=_PROBLEM)
        return Reply(self.status, encode({"error": self.error_object}) + b"\n", headers, content_type=JSON)

    def _problem(self) -> dict[str, Any]:
        try:
            title = HTTPStatus(self.status).phrase
        except ValueError:
            title = "Error"
        problem = {"type": "about:blank", "title": title, "status": self.status, "detail": self.message}
        return {**self.extra, **problem}


def failure_of(error: Exception) -> Failure:
    """Tell what an exception means; one that was not foreseen tells the client nothing.

    A group means what the worst of its exceptions means.
    """
    if not isinstance(error, ExceptionGroup):
        return _failure_of_one(error)
    return max(map(failure_of, error.exceptions), key=lambda failure: failure.status)


def partial_error(error: Exception) -> dict[str, Any]:
    """Give the error object of an answer that has data too: its author wants the text to be seen."""
    failure = failure_of(error)
    return {"message": str(error)} if failure.with_stack else failure.error_object


def _failure_of_one(error: Exception) -> Failure:
    match error:
        case HTTPError():
            return _failure(error.status_code, error.message, error.log_level, error.headers)
        case KVError():
            unforeseen = error.code == KVError.code
            return _failure(error.status_code, error.public_message, headers=error.headers, with_stack=unforeseen)
        case StarletteHTTPException():
            return _failure(error.status_code, error.detail, headers=error.headers or {})
        case NotEncodableError():
            return _failure(_SERVER_ERROR, "failed to encode response as JSON", with_stack=True)
        case _:
            return _failure_of_stranger(error)


def _failure_of_stranger(error: Exception) -> Failure:
    """Respect a status that the exception's class declares.

    Never one on the instance: an HTTP client's exception carries the status of somebody else's answer there.
    """
    status = getattr(type(error), "status_code", None)
    if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004 - RFC 9110's error classes
        return _failure(_SERVER_ERROR, "Internal Server Error", with_stack=True)
    is_servers = status >= _SERVER_ERROR
    level = getattr(error, "log_level", None)
    return _failure(
        status,
        "Internal Server Error" if is_servers else str(error),
        level if level in _LOG_LEVELS else None,
        extra=_response_of(error),
        with_stack=is_servers,
    )


def _response_of(error: Exception) -> dict[str, Any]:
    response = getattr(error, "response", None)
    if not callable(response):
        return {}
    try:
        extra = response()
        encode(extra)
    except Exception:  # noqa: BLE001 - the error is answered without its extras rather than not at all
        return {}
    if not isinstance(extra, dict):
        return {}
    return {name: value for name, value in extra.items() if name != "message"}


def _failure(
    status: int,
    message: str,
    level: str | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
    with_stack: bool = False,
) -> Failure:
    level = level or ("error" if status >= _SERVER_ERROR else "info")
    return Failure(status, message, level, headers or {}, extra or {}, with_stack=with_stack)
