"""The seam between the driver and whatever carries its requests."""

from collections.abc import Mapping
from typing import Any, Protocol

from ._errors import DynamoDBError


class Transport(Protocol):
    """Carry one request at a time, once, without a retry; any number may be in flight."""

    @property
    def region(self) -> str | None:
        """The region in use; None until it is known."""

    @property
    def max_attempts(self) -> int | None:
        """How often the AWS configuration lets a request be sent; None where it does not say."""

    async def open(self, deadline: float) -> None:
        """Prepare to carry requests, by a time of the loop's clock; does nothing when that has been done.

        Raises DynamoDBError, for instance when no region can be found.
        """

    async def call(
        self, operation: str, payload: Mapping[str, Any], deadline: float, *, reserved: bool = False
    ) -> dict[str, Any]:
        """Send one request and give its answer, both in DynamoDB's low-level JSON shape.

        ``operation`` is the API's name, such as GetItem. ``deadline``, a time of the loop's clock, bounds
        waiting for a connection too. ``reserved`` takes the lane that ordinary calls cannot fill. Raises
        DynamoDBError, whose outcome speaks of this one attempt; for a failed condition ConditionFailedError,
        with the item of the answer if there is one.
        """

    async def close(self) -> None:
        """Refuse further calls, wait a bounded time for running ones, and give everything back."""

    def abandon(self) -> None:
        """Do the same without waiting, from another event loop; this one may have ended."""


class WireCannotServeError(DynamoDBError):
    """Say that something is configured which only the boto3 transport does; ``reason`` says what."""

    def __init__(self, reason: str) -> None:
        message = f"transport='wire' cannot serve, since {reason}: leave it out, or pass transport='boto3'"
        super().__init__(message, code="misconfigured", cause="configuration", reason=reason)
