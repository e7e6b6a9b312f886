"""What the doctor says: one finding for each thing it looked at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Status: TypeAlias = Literal["ok", "warning", "failed"]

_BY_WEIGHT: tuple[Status, ...] = ("ok", "warning", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Say of one thing how it is, what to do about it, and perhaps the command that does it.

    ``places`` is a list for a person to go through.

    No part holds a key's secret, a token, a password or a server's own text.
    """

    name: str
    status: Status
    message: str
    advice: str = ""
    command: str = ""
    places: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Hold all findings, always the same names in the same order, and the smallest IAM policy."""

    findings: list[Finding]
    policy: dict[str, Any]

    @property
    def status(self) -> Status:
        """The worst of the findings'."""
        return max((finding.status for finding in self.findings), key=_BY_WEIGHT.index)


def not_checked(name: str, why: str) -> Finding:
    """Say that something else stands in the way."""
    return Finding(name=name, status="warning", message=f"not checked: {why}")


def guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """Keep one check's surprise, such as a reply of an unknown shape, from stopping the others."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the person gets a sentence and no stack
        message = f"this check itself failed ({type(error).__name__})"
        advice = "see whether the endpoint is a DynamoDB server; if it is, report this as a fault of Kvik"
        return Finding(name=name, status="failed", message=message, advice=advice)
