"""Kvik: a small application framework with an injected, pluggable key-value store."""

import typing

from starlette.datastructures import UploadFile

from ._json import from_json, to_json
from .app import App
from .config import Config
from .context import Context
from .errors import (
    ConfigError,
    EntityAlreadyExists,
    EntityNotFound,
    Forbidden,
    HTTPError,
    InvalidParam,
    MissingParam,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from .health import Health
from .kv import KEEP, KV, Entry, KVStore
from .kv_errors import (
    AccessDenied,
    Conflict,
    Corrupt,
    DeadlineExceeded,
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    KVError,
    Misconfigured,
    PartialFailure,
    Throttled,
    Unavailable,
    Unsupported,
    ValueTooLarge,
)
from .memory import MemoryStore
from .metrics import Metrics
from .responses import Event, File, Raw, Redirect, Response, Stream

__version__ = "0.1.0"

__all__ = [
    "KEEP",
    "KV",
    "AccessDenied",
    "App",
    "Config",
    "ConfigError",
    "Conflict",
    "Context",
    "Corrupt",
    "DeadlineExceeded",
    "EntityAlreadyExists",
    "EntityNotFound",
    "Entry",
    "Event",
    "File",
    "Forbidden",
    "HTTPError",
    "Health",
    "InvalidKey",
    "InvalidParam",
    "InvalidValue",
    "KVError",
    "KVStore",
    "KeyNotFound",
    "MemoryStore",
    "Metrics",
    "Misconfigured",
    "MissingParam",
    "PartialFailure",
    "Raw",
    "Redirect",
    "Response",
    "ServiceUnavailable",
    "Stream",
    "Throttled",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "UploadFile",
    "ValueTooLarge",
    "from_json",
    "to_json",
]

if not typing.TYPE_CHECKING:  # to a type checker, a name that is not here is an error

    def __getattr__(name: str) -> object:
        from ._elsewhere import where_is  # noqa: PLC0415 - for who errs alone

        where = where_is(name)
        if where is not None:
            raise ImportError(f"kvik has no {name!r}: {where}", name=__name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
