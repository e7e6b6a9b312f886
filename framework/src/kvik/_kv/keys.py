"""Keys as a handler gives them, and as the store has them: the same, but for a namespace's prefix.

The prefix is persisted, hence its bytes are fixed for good:

    physical key = components joined by "/", then ":", then the key as it is

Inside a component `%`, `/` and `:` are escaped, so the first ":" ends the path, and no two paths share a key.
"""

from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import TypeVar

import msgspec

from ..kv_errors import InvalidKey
from .texts import exact, is_longer, text_problem, told
from .time_slice import next_slice, slice_end

T = TypeVar("T")

_ESCAPES = str.maketrans({"%": "%25", "/": "%2F", ":": "%3A"})


class Keys(msgspec.Struct, frozen=True):
    """Check keys and place them in a store of this name; `limit` is in bytes of UTF-8, and the store's."""

    store: str
    limit: int | None
    prefix: str = ""

    def physical(self, key: str, operation: str) -> str:
        """Give the key as the store has it; InvalidKey unless it is text of 1 byte to the limit."""
        if not (type(key) is str and key and key.isascii()):  # as nearly all are
            key = self._checked(key, operation)
        physical = self.prefix + key
        if is_longer(physical, self.limit):
            size = len(physical.encode())
            within = ", its namespace counted" if self.prefix else ""
            raise self._invalid(
                f"key is {size} bytes of UTF-8{within}; at most {self.limit} are possible", operation
            )
        return physical

    async def physical_all(self, keys: Iterable[str], operation: str) -> list[str]:
        """Give the keys as the store has them, each once; TypeError for a str, which is no collection of keys."""
        if isinstance(keys, str):
            raise TypeError(f"{operation} takes several keys, not a str")
        physical: dict[str, None] = {}
        end = slice_end()
        for key in list(keys):
            physical[self.physical(key, operation)] = None
            if perf_counter() >= end:
                end = await next_slice()
        return list(physical)

    def physical_prefix(self, prefix: str, operation: str) -> str:
        """Give what the names in the store begin with for all keys that begin with this."""
        problem = text_problem("prefix", prefix)
        if problem is not None:
            raise self._invalid(problem, operation)
        return self.prefix + exact(prefix)

    def logical(self, physical: str) -> str:
        """Give the key of a name in the store."""
        return physical.removeprefix(self.prefix)

    def logical_all(self, by_key: Mapping[str, T]) -> dict[str, T]:
        """Give the same with the keys of the names in the store."""
        return {self.logical(key): value for key, value in by_key.items()}

    def nested(self, name: str) -> "Keys":
        """Give the keys of a namespace within; ValueError if it has no name, TypeError if that is no text."""
        problem = text_problem("the name of a namespace", name)
        if problem is not None:
            raise (ValueError if isinstance(name, str) else TypeError)(problem)
        if not name:
            raise ValueError("a namespace needs a name")
        path = self.prefix.removesuffix(":") + "/" if self.prefix else ""
        return msgspec.structs.replace(self, prefix=f"{path}{exact(name).translate(_ESCAPES)}:")

    def _checked(self, key: str, operation: str) -> str:
        problem = text_problem("key", key)
        if problem is None and not key:
            problem = "key is empty"
        if problem is not None:
            raise self._invalid(problem, operation)
        return exact(key)

    def _invalid(self, problem: str, operation: str) -> InvalidKey:
        return told(InvalidKey(problem, store=self.store, operation=operation))
