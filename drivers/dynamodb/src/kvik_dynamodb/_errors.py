"""The driver's one exception, and what the driver itself finds wrong.

No message holds a key, a value, a secret or the backend's text (which may quote any of them);
the original error is the ``__cause__``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

Outcome: TypeAlias = Literal["not_applied", "unknown"]

Versioned: TypeAlias = tuple[str, str, float | None]
"""A value, its version, and when it expires, in seconds since the epoch."""


class DynamoDBError(Exception):
    """Say what failed, why, and what to do about it.

    ``code`` is one of Kvik's words (``unavailable``, ``throttled``, ``misconfigured``, …). ``cause`` is the
    class of the cause in words for a person, as health shows it. ``outcome`` says of a write whether it may
    have happened. ``retryable``: the same call may succeed later. ``retry_after``: the seconds that the
    server asked for. ``reason``: the server's or botocore's own name for the failure. ``size`` and ``limit``
    are in bytes. ``current``: what a conflict found, None if nothing. ``results`` and ``errors``: what of a
    partial failure succeeded, and the error of each other key.
    """

    current: Versioned | None = None
    results: dict[str, str] | list[str] | None = None
    errors: Mapping[str, "DynamoDBError"] | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str,
        cause: str,
        outcome: Outcome = "not_applied",
        retryable: bool = False,
        retry_after: float | None = None,
        reason: str | None = None,
        size: int | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.cause = cause
        self.outcome: Outcome = outcome
        self.retryable = retryable
        self.retry_after = retry_after
        self.reason = reason
        self.size = size
        self.limit = limit

    def again(self) -> Self:
        """Give another instance that says the same, for another caller to raise."""
        other = self.__class__.__new__(self.__class__, *self.args)
        other.__dict__.update(self.__dict__)
        other.__cause__ = self.__cause__
        return other


class ConditionFailedError(DynamoDBError):
    """Say that an item was not as a condition demanded.

    ``item`` is the one that was found, in DynamoDB's low-level JSON shape; None if there was none, or if the
    server does not tell.
    """

    item: dict[str, Any] | None = None


class BrokenReplyError(Exception):
    """Signal a reply that arrived, but not as the server sent it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Name the place that a message speaks of."""

    table: str
    region: str
    endpoint: str
    partition_key_name: str

    def __str__(self) -> str:
        region = f" in {self.region}" if self.region else ""
        endpoint = f" at {self.endpoint}" if self.endpoint else ""
        return f"table {self.table!r}{region}{endpoint}"


def misconfigured(message: str) -> DynamoDBError:
    """Make the error for an option that cannot work."""
    return DynamoDBError(message, code="misconfigured", cause="configuration")


def unreadable(attribute: str) -> DynamoDBError:
    """Make the error for an attribute that has not the form of its type."""
    message = f"the attribute {attribute!r} of an item cannot be read: see which program wrote it"
    return DynamoDBError(message, code="corrupt", cause="stored item")


def not_connected(target: Target) -> DynamoDBError:
    """Make the error for a call before connect()."""
    message = f"DynamoDB on {target} is not connected: await connect() first, or use it by async with"
    return DynamoDBError(message, code="misconfigured", cause="not connected")


def closed(target: Target) -> DynamoDBError:
    """Make the error for a call after close()."""
    message = f"DynamoDB on {target} is closed: await connect() to use it again"
    return DynamoDBError(message, code="unavailable", cause="closed")


def on_another_loop(target: Target) -> DynamoDBError:
    """Make the error for a call on an event loop on which nobody has connected."""
    message = f"DynamoDB on {target} was connected on another event loop: await connect() on this one first"
    return DynamoDBError(message, code="misconfigured", cause="another event loop")


def timed_out(target: Target, seconds: float, *, started: bool) -> DynamoDBError:
    """Make the error for a call whose time ran out here; one that never started changed nothing."""
    what = "did not finish" if started else "found every connection busy"
    return DynamoDBError(
        f"a call on {target} {what} within {seconds:.3g} s: raise "
        + (
            "total_timeout or the caller's deadline, or look at the server"
            if started
            else "max_connections, or send less"
        ),
        code="deadline_exceeded",
        cause="timeout",
        outcome="unknown" if started else "not_applied",
        retryable=True,
        reason="total_timeout" if started else "max_connections",
    )


def credentials_too_slow(target: Target) -> DynamoDBError:
    """Make the error for a source of credentials that did not answer in time; nothing was sent."""
    return DynamoDBError(
        f"the source of AWS credentials for {target} did not answer in time: see whether the metadata service,"
        " process or role that gives them works",
        code="deadline_exceeded",
        cause="credentials",
        retryable=True,
        reason="credentials",
    )


def conflict(target: Target, current: Versioned | None, outcome: Outcome) -> DynamoDBError:
    """Make the error for a conditional write that found something else."""
    error = DynamoDBError(
        f"the key's version in {target} is not the expected one"
        + ("" if outcome == "not_applied" else ", and whether this write made it so is not known"),
        code="conflict",
        cause="condition",
        outcome=outcome,
    )
    error.current = current
    return error


def partial_failure(
    target: Target, results: dict[str, str] | list[str], errors: Mapping[str, DynamoDBError], outcome: Outcome
) -> DynamoDBError:
    """Make the error for a batch that failed for some keys."""
    codes = ", ".join(sorted({error.code for error in errors.values()}))
    error = DynamoDBError(
        f"{len(errors)} keys of a batch on {target} failed: {codes}",
        code="partial_failure",
        cause=next(iter(errors.values())).cause,
        outcome=outcome,
        retryable=all(each.retryable for each in errors.values()),
    )
    error.results, error.errors = results, errors
    return error
