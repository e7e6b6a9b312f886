"""Numbers in a store: ordinary values, in canonical decimal, of signed 64 bits."""

import re
from typing import Final

from ..kv_errors import InvalidValue

_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_SIGNED_64_BITS: Final = range(-(2**63), 2**63)


def check_delta(delta: object) -> None:
    """Raise InvalidValue unless it is an int that 64 bits can hold."""
    if isinstance(delta, bool) or not isinstance(delta, int):
        raise InvalidValue(f"delta must be int, not {type(delta).__name__}")
    if delta not in _SIGNED_64_BITS:
        raise InvalidValue("delta is no signed 64-bit number")


def added(text: str, delta: int) -> int:
    """Add to the number that a value is; InvalidValue if it is none, or if the sum is too large."""
    if not _NUMBER.fullmatch(text) or int(text) not in _SIGNED_64_BITS:
        raise InvalidValue("the stored value is no signed 64-bit number in canonical decimal")
    total = int(text) + delta
    if total not in _SIGNED_64_BITS:
        raise InvalidValue("the sum is no signed 64-bit number")
    return total
