"""What goes wrong, as one exception, and SQLite's own errors translated by one table.

A framework reads the attributes of SQLiteError; nothing of it is imported here.

    invalid_key, invalid_value  the caller's argument, or what is to be counted and is no number
    value_too_large             the same, with `size` and `limit` in bytes
    conflict                    a condition did not hold; `current` is what is there now
    partial_failure             a batch came only so far; `results` and `errors` tell how far
    deadline_exceeded           the time that `use_deadline` gave is over
    throttled                   somebody else held the file's write lock for too long
    unavailable                 the disk is full or fails; or the store is not connected, or closed
    misconfigured               the path, its permissions, or whose file it is
    corrupt                     the file, or a value in it, is damaged
    internal                    anything that is not expected here
"""

import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Code: TypeAlias = Literal[
    "invalid_key",
    "invalid_value",
    "value_too_large",
    "conflict",
    "partial_failure",
    "deadline_exceeded",
    "throttled",
    "unavailable",
    "misconfigured",
    "corrupt",
    "internal",
]
Outcome: TypeAlias = Literal["not_applied", "unknown"]
Versioned: TypeAlias = tuple[str, str, float | None]  # value, version, and when it expires


class SQLiteError(Exception):
    """Say what failed, on which file, and what to do.

    `code` is one of the words above. `outcome` says whether a failed write may be in the file: "not_applied"
    or "unknown". `retryable` is true if the same call may succeed when repeated. `size` and `limit` are
    bytes. `reason` is one word for a machine. The message never holds a key or a value.

    Of a conflict, `current` is what `get_versioned` would answer. Of a partial failure, `results` are the
    values that were read or the keys that were written or deleted, and `errors` has one for each other key.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Code,
        outcome: Outcome = "not_applied",
        retryable: bool = False,
        size: int | None = None,
        limit: int | None = None,
        reason: str | None = None,
        current: Versioned | None = None,
        results: Mapping[str, str] | Sequence[str] = (),
        errors: Mapping[str, BaseException] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.outcome = outcome
        self.retryable = retryable
        self.size = size
        self.limit = limit
        self.reason = reason
        self.current = current
        self.results = results
        self.errors = dict(errors or {})


class SQLiteTypeError(SQLiteError, TypeError):
    """Raised when an argument has the wrong type."""


class NotTextError(ValueError):
    """Raised when a stored row is not as this driver writes it: another program wrote it, or the disk lost it."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    code: Code
    text: str
    retryable: bool = False
    reason: str | None = None


_LOCKED = _Meaning(
    "throttled",
    "another connection held the file's write lock for too long; find the program whose transaction stays "
    "open, or raise busy_timeout",
    retryable=True,
    reason="locked",
)
_NO_ACCESS = _Meaning(
    "misconfigured",
    "the file cannot be opened for writing; the path must name a file, and this user must be able to write "
    "both it and its directory",
)
_DAMAGED = _Meaning(
    "corrupt", "the file is damaged or is no SQLite database; restore it from a backup, or give another path"
)
_ALTERED = _Meaning("misconfigured", "the tables are not as kvik made them; restore the file from a backup")
_UNEXPECTED = _Meaning("internal", "SQLite answered with an error that is not expected here")

_MEANINGS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,  # lost the race for the WAL's locks many times over
    sqlite3.SQLITE_FULL: _Meaning("unavailable", "the disk is full; free some space", reason="full"),
    sqlite3.SQLITE_IOERR: _Meaning(
        "unavailable", "the disk failed to read or write; look at its health and at the system's log"
    ),
    sqlite3.SQLITE_READONLY: _NO_ACCESS,
    sqlite3.SQLITE_CANTOPEN: _NO_ACCESS,
    sqlite3.SQLITE_PERM: _NO_ACCESS,
    sqlite3.SQLITE_AUTH: _NO_ACCESS,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_TOOBIG: _Meaning("corrupt", "a stored row is larger than kvik makes it; remove it"),
    sqlite3.SQLITE_ERROR: _ALTERED,  # statements are constants: a table or column is missing
    sqlite3.SQLITE_CONSTRAINT: _ALTERED,
}

# A future of asyncio refuses the one, and takes the other for its own cancellation.
_UNDELIVERABLE = (StopIteration, CancelledError)

# A COMMIT that fails with one of these wrote nothing that counts; after any other, nobody can tell.
_COMMIT_NOT_APPLIED = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY}


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code, or 0 where the error did not come from SQLite itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def translate(error: BaseException, path: Path, *, committing: bool = False) -> BaseException:
    """Return the SQLiteError that `error` means; an error which is not about the file comes back as it is.

    Until COMMIT is asked for, a failed operation is rolled back, hence "not_applied".
    """
    if isinstance(error, NotTextError):
        return _because(
            error,
            SQLiteError(
                f"{path}: a stored key or value is not text, or a row's version or expiry has another type than "
                "kvik writes; remove its row",
                code="corrupt",
            ),
        )
    if not isinstance(error, Exception) or isinstance(error, _UNDELIVERABLE):
        return _because(error, SQLiteError(f"{path}: {type(error).__name__} was raised", code="internal"))
    if not isinstance(error, sqlite3.Error | OSError | UnicodeDecodeError):
        return error
    code = _code_of(error)
    meaning = _MEANINGS.get(code, _UNEXPECTED)
    return _because(
        error,
        SQLiteError(
            f"{path}: {meaning.text} ({getattr(error, 'sqlite_errorname', type(error).__name__)}: {error})",
            code=meaning.code,
            outcome="unknown" if committing and code not in _COMMIT_NOT_APPLIED else "not_applied",
            retryable=meaning.retryable,
            reason=meaning.reason,
        ),
    )


def _code_of(error: Exception) -> int:
    if isinstance(error, OSError):
        return sqlite3.SQLITE_CANTOPEN
    if isinstance(error, UnicodeDecodeError):  # of SQLite's own message, which quotes a schema that was damaged
        return sqlite3.SQLITE_CORRUPT
    return primary_code(error)


def _because(cause: BaseException, error: SQLiteError) -> SQLiteError:
    error.__cause__ = cause
    return error
