"""A key-value store in the process's memory: for tests, examples and data that may be lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class _Limits:
    max_key_bytes: int = 2048  # DynamoDB's, so that what works here works there
    max_value_bytes: int = 16 * 1024 * 1024  # kvik-sqlite's


class MemoryStore:
    """Keep keys and values in a dict; all is gone with the process."""

    limits: ClassVar[_Limits] = _Limits()

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        """Return the value, None if there is no such key."""
        return self._values.get(key)

    async def set(self, key: str, value: str) -> None:
        """Create or replace."""
        self._values[key] = value

    async def delete(self, key: str) -> None:
        """Delete; a missing key is no error."""
        self._values.pop(key, None)

    async def health_check(self) -> Mapping[str, Any]:
        """Answer UP, with the number of keys."""
        return {"status": "UP", "details": {"keys": len(self._values)}}
