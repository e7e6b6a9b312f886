"""A value with all that is known of it."""

from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

V = TypeVar("V", default=str)


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """Hold what is stored under a key: its value, the version that this write made, when it expires.

    `version` is opaque: compare it, give it back as `if_version`, nothing else. `expires_at` is in seconds since
    the epoch, None where it never expires. Neither key nor value is in the repr, since that reaches logs.
    """

    key: str
    value: V
    version: str
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"Entry(version={self.version!r}, expires_at={self.expires_at!r})"
