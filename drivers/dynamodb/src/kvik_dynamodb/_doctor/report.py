"""The diagnosis as text for a terminal, and as JSON for programs."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from .findings import Diagnosis, Finding, Status

_MARKS: dict[Status, str] = {"ok": "✓", "warning": "!", "failed": "✗"}
_PLAIN_MARKS: dict[Status, str] = {"ok": "+", "warning": "!", "failed": "x"}
_COLOURS: dict[Status, str] = {"ok": "\x1b[32m", "warning": "\x1b[33m", "failed": "\x1b[31m"}
_RESET = "\x1b[0m"
_NAMES = 14  # the width of their column
_NARROWEST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Say what the text is for."""

    width: int = 100
    colour: bool = False
    encoding: str = "utf-8"


def as_json(diagnosis: Diagnosis) -> str:
    """Give one object; its names are stable."""
    found = [
        {
            "name": finding.name,
            "status": finding.status,
            "message": ": ".join(part for part in (finding.message, finding.advice) if part),
            "details": {**finding.details, **({"command": finding.command} if finding.command else {})},
        }
        for finding in diagnosis.findings
    ]
    return json.dumps({"status": diagnosis.status, "findings": found, "policy": diagnosis.policy}, indent=2)


def as_text(diagnosis: Diagnosis, terminal: Terminal) -> str:
    """Give aligned lines, in characters that the encoding has."""
    lines = [line for finding in diagnosis.findings for line in _lines(finding, terminal)]
    policy = json.dumps(diagnosis.policy, indent=2)
    text = "\n".join([*lines, "", "The smallest IAM policy:", policy, "", _verdict(diagnosis)])
    return text.encode(terminal.encoding, "backslashreplace").decode(terminal.encoding)


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _lines(finding: Finding, terminal: Terminal) -> Iterator[str]:
    rich = _can_encode("".join(_MARKS.values()) + "→", terminal.encoding)
    mark, arrow = (_MARKS if rich else _PLAIN_MARKS)[finding.status], "→" if rich else ">"
    if terminal.colour:
        mark = f"{_COLOURS[finding.status]}{mark}{_RESET}"
    margin = " " * (_NAMES + 2)
    room = max(_NARROWEST, terminal.width - len(margin))
    first, *more = _wrapped(finding.message, room)
    yield f"{mark} {finding.name:<{_NAMES}}{first}"
    yield from (margin + line for line in more)
    yield from (f"{margin}{number}. {place}" for number, place in enumerate(finding.places, 1))
    if finding.advice:
        first, *more = _wrapped(finding.advice, room - 2)
        yield f"{margin}{arrow} {first}"
        yield from (f"{margin}  {line}" for line in more)
    if finding.command:
        yield f"{margin}$ {finding.command}"  # not wrapped, to be copied


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _verdict(diagnosis: Diagnosis) -> str:
    count = [finding.status for finding in diagnosis.findings].count
    failed, warnings = count("failed"), count("warning")
    return f"{failed or 'nothing'} failed, {warnings or 'no'} warning{'' if warnings == 1 else 's'}"
