"""What may stand in a request's header: values come from environments and files, where anything may stand."""

import re
from typing import Final

_UNSENDABLE: Final = re.compile(r"[^\t\x20-\x7e]")
"""RFC 9110, 5.5, without its obsolete rest: a newline would begin another header."""


class UnsendableError(ValueError):
    """Raised when a value cannot stand in a request's header, which ``header`` names; no text holds the value."""

    def __init__(self, header: str) -> None:
        super().__init__(
            f"what goes into the header {header} has a newline, or another character that cannot be sent"
        )
        self.header = header


def sendable(name: str, value: str) -> str:
    """Return a header's value as SigV4 signs it: trimmed, and with one space for several.

    Raises UnsendableError.
    """
    if _UNSENDABLE.search(value):
        raise UnsendableError(name)
    return " ".join(value.split())
