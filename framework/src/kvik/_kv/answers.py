"""What a store's methods are to give: a driver may be anybody's, and what is wrong is told where it happened."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

Versioned = tuple[str, str, float | None]
"""A value, its version, and when it expires."""


class Answer(NamedTuple):
    """Tell whether an answer is what it is to be, and what that is called."""

    fits: Callable[[Any], bool]
    words: str


def is_versioned(found: object) -> TypeGuard[Versioned]:
    """Tell whether it is what `get_versioned` gives of a key that is there."""
    if not isinstance(found, tuple) or len(found) != 3:  # noqa: PLR2004 - value, version, expiry
        return False
    value, version, expires_at = found
    return isinstance(value, str) and isinstance(version, str) and isinstance(expires_at, int | float | None)


def _is_value(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_entry(found: object) -> bool:
    return found is None or is_versioned(found)


def _is_version(version: object) -> bool:
    return isinstance(version, str)


def _is_number(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _are_values(found: object) -> bool:
    return isinstance(found, Mapping) and all(issubclass(kind, str) for kind in set(map(type, found.values())))


def _is_page(page: object) -> bool:
    return isinstance(page, tuple) and len(page) == 2 and isinstance(page[1], str | None)  # noqa: PLR2004 - keys, cursor


ANSWERS: Final[Mapping[str, Answer]] = {
    "get": Answer(_is_value, "str"),
    "get_versioned": Answer(_is_entry, "a tuple of value, version and expiry"),
    "set_if": Answer(_is_version, "a version, which is str"),
    "increment": Answer(_is_number, "int"),
    "get_many": Answer(_are_values, "a mapping of found keys to str"),
    "scan": Answer(_is_page, "a tuple of keys and a cursor"),
}
"""By method; the others give nothing that matters."""
