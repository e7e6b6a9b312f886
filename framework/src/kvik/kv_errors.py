"""The errors of key-value operations, and the one place where a driver's exceptions become them.

    KVError(store, operation; code, retryable, outcome)           HTTP 500
    ├── KeyNotFound(LookupError)                                  404
    ├── InvalidKey(ValueError), InvalidValue(ValueError)          400
    ├── Conflict(current)                                         409
    ├── ValueTooLarge(size, limit)                                413
    ├── Unsupported                                               501
    ├── PartialFailure(results, errors)                           503
    ├── Throttled(reason, retry_after)                            503 + Retry-After
    ├── DeadlineExceeded(TimeoutError)                            504
    ├── Unavailable(ConnectionError)                              503
    ├── AccessDenied                                              500
    ├── Misconfigured                                             500
    └── Corrupt                                                   500

A driver imports none of these. It raises any exception, with attributes that say what is known: `code`,
`outcome`, `retryable`, `retry_after` and the extras of a code. `from_driver` reads those and nothing else:
never a `status_code`, for a backend's 404 must not reach the user.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast, get_args

Outcome = Literal["not_applied", "applied", "unknown"]
_MAX_RETRY_AFTER = 10**9  # seconds: a number that every client can read
_OUTCOMES: frozenset[str] = frozenset(get_args(Outcome))


class KVError(Exception):
    """Say that a key-value operation failed: the root of the tree, and the error of an unforeseen cause.

    `outcome` tells whether a failed write may have happened all the same; for a read it is "not_applied".
    `retryable` tells whether the same call may succeed later. `store` and `operation` name what was called.
    `public_message` is what the HTTP client is told; the exception's own text is for the log.
    """

    code: ClassVar[str] = "internal"
    status_code: ClassVar[int] = 500
    proves_not_applied: ClassVar[bool] = False
    retryable: bool = False
    public_message: str = "key-value store failed"

    def __init__(
        self,
        message: str,
        *,
        store: str = "",
        operation: str = "",
        outcome: Outcome | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.store = store
        self.operation = operation
        self.outcome: Outcome = outcome or ("not_applied" if self.proves_not_applied else "unknown")
        if retryable is not None:
            self.retryable = retryable

    @property
    def headers(self) -> dict[str, str]:
        """Give the headers that belong to this error's HTTP answer."""
        return {}

    @classmethod
    def extras_of(cls, exception: BaseException) -> dict[str, Any]:  # noqa: ARG003 - for subclasses
        """Read from a driver's exception the constructor arguments that only this class takes."""
        return {}


class KeyNotFound(KVError, LookupError):
    """Say that the store has no such key; `key` is the one that was asked for."""

    code = "key_not_found"
    status_code = 404
    proves_not_applied = True
    public_message = "key not found"

    def __init__(self, key: str, *, store: str = "", operation: str = "get") -> None:
        # The key is not in the text: it would reach logs, where keys have no place.
        super().__init__("key not found", store=store, operation=operation)
        self.key = key


class InvalidKey(KVError, ValueError):
    """Say that the key is empty, too long, not text, or refused by the store."""

    code = "invalid_key"
    status_code = 400
    proves_not_applied = True
    public_message = "invalid key"


class InvalidValue(KVError, ValueError):
    """Say that the value is not text that UTF-8 can hold, or not what the operation needs."""

    code = "invalid_value"
    status_code = 400
    proves_not_applied = True
    public_message = "invalid value"


class ValueTooLarge(KVError):
    """Say that the value is over the store's limit; `size` and `limit` are bytes, None where not known."""

    code = "value_too_large"
    status_code = 413
    proves_not_applied = True
    public_message = "value is too large"

    def __init__(self, message: str, *, size: int | None = None, limit: int | None = None, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.size = size
        self.limit = limit

    @classmethod
    def extras_of(cls, exception: BaseException) -> dict[str, Any]:
        """Read size and limit."""
        return {name: _attribute(exception, name, int) for name in ("size", "limit")}


class Conflict(KVError):
    """Say that a condition of a write did not hold; `current` is what the store has now, None if nothing."""

    code = "conflict"
    status_code = 409
    proves_not_applied = True
    public_message = "conflict with the current value"

    def __init__(self, message: str, *, current: Any = None, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.current = current

    @classmethod
    def extras_of(cls, exception: BaseException) -> dict[str, Any]:
        """Read what is stored now."""
        return {"current": _attribute(exception, "current", tuple)}


class Unsupported(KVError):
    """Say that this store cannot do that: the message names the driver and the capability."""

    code = "unsupported"
    status_code = 501
    proves_not_applied = True
    public_message = "not supported by the key-value store"


class PartialFailure(KVError):
    """Say that some keys of a batch failed.

    `results` holds what succeeded (values of a read, keys of a write), `errors` the KVError of each other key.
    """

    code = "partial_failure"
    status_code = 503
    public_message = "key-value store unavailable"

    def __init__(
        self, message: str, *, results: Any = (), errors: Mapping[str, Exception] | None = None, **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.results = results
        self.errors: dict[str, Any] = dict(errors or {})

    @classmethod
    def extras_of(cls, exception: BaseException) -> dict[str, Any]:
        """Read what succeeded and what failed."""
        return {
            "results": getattr(exception, "results", ()),
            "errors": _attribute(exception, "errors", Mapping),
        }


class Throttled(KVError):
    """Say that the store asks for patience: `reason` in a word, `retry_after` in seconds if it said so."""

    code = "throttled"
    status_code = 503
    proves_not_applied = True
    retryable = True
    public_message = "key-value store unavailable"

    def __init__(
        self, message: str, *, reason: str | None = None, retry_after: float | None = None, **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.reason = reason
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Give Retry-After: whole seconds, rounded up, at least 1."""
        return {"Retry-After": str(min(max(1, math.ceil(self.retry_after or 0)), _MAX_RETRY_AFTER))}

    @classmethod
    def extras_of(cls, exception: BaseException) -> dict[str, Any]:
        """Read the reason, and retry_after if it is a finite number of seconds, 0 or more."""
        seconds = _attribute(exception, "retry_after", (int, float))
        usable = seconds is not None and 0 <= seconds < math.inf
        return {
            "reason": _attribute(exception, "reason", str),
            "retry_after": float(min(seconds, _MAX_RETRY_AFTER)) if usable else None,
        }


class DeadlineExceeded(KVError, TimeoutError):
    """Say that the time for the operation was over before the store had answered."""

    code = "deadline_exceeded"
    status_code = 504
    retryable = True
    public_message = "key-value store timed out"


class Unavailable(KVError, ConnectionError):
    """Say that the store could not be reached, or answered that it is out of order."""

    code = "unavailable"
    status_code = 503
    retryable = True
    public_message = "key-value store unavailable"


class AccessDenied(KVError):
    """Say that the store refused the credentials, or that there are none."""

    code = "access_denied"
    proves_not_applied = True


class Misconfigured(KVError):
    """Say that the store is not set up as the driver was told: no such table, another key schema."""

    code = "misconfigured"
    proves_not_applied = True


class Corrupt(KVError):
    """Say that what is stored under the key is not what the contract says, such as a number."""

    code = "corrupt"


_BY_CODE: dict[str, type[KVError]] = {
    kind.code: kind
    for kind in (
        InvalidKey,
        InvalidValue,
        ValueTooLarge,
        Conflict,
        Unsupported,
        PartialFailure,
        Throttled,
        DeadlineExceeded,
        Unavailable,
        AccessDenied,
        Misconfigured,
        Corrupt,
    )
}


def from_driver(exception: Exception, *, store: str, operation: str, writes: bool) -> KVError:
    """Make the KVError that a driver's exception stands for; the caller raises it `from` the exception.

    An attribute counts only where it is of the right type and value; anything else is as if it were absent.
    Without a known `code`, TimeoutError is DeadlineExceeded, ConnectionError and OSError are Unavailable, and
    the rest is KVError. A failed write is "unknown" unless the driver or the code says otherwise.
    """
    kind = _kind_of(exception)
    return kind(
        str(exception) or type(exception).__name__,
        store=store,
        operation=operation,
        outcome=_outcome_of(exception) if writes else "not_applied",
        retryable=_attribute(exception, "retryable", bool),
        **kind.extras_of(exception),
    )


def _kind_of(exception: Exception) -> type[KVError]:
    code = _attribute(exception, "code", str)
    if code in _BY_CODE:
        return _BY_CODE[code]
    if isinstance(exception, TimeoutError):
        return DeadlineExceeded
    if isinstance(exception, OSError):  # ConnectionError is one
        return Unavailable
    return KVError


def _outcome_of(exception: Exception) -> Outcome | None:
    outcome = _attribute(exception, "outcome", str)
    return cast("Outcome", outcome) if outcome in _OUTCOMES else None


def _attribute(exception: BaseException, name: str, kind: Any) -> Any:
    """Read an attribute that counts only with this type; a bool is not a number here."""
    value = getattr(exception, name, None)
    if isinstance(value, bool) and kind is not bool:
        return None
    return value if isinstance(value, kind) else None
