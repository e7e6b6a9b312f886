"""When an item ends: an expiry rounded up to what is stored, and the present rounded down to match.

Both compare as floats of seconds do, so that the server's conditions and the driver's own reading never
differ, and so that an expiry which was read is stored again unchanged.
"""

import math
from typing import Any

from ._errors import unreadable

EXPIRY = "kvik_x"

# Where float arithmetic in milliseconds is still exact enough: the year 5138, later than any caller means.
_LATEST = 1e11


def milliseconds_up(seconds: float) -> int:
    """Give the first whole millisecond that is not before this time."""
    seconds = min(seconds, _LATEST)
    found = math.floor(seconds * 1000) - 1
    while found / 1000 < seconds:
        found += 1
    return found


def milliseconds_down(seconds: float) -> int:
    """Give the last whole millisecond that is not after this time."""
    found = math.ceil(seconds * 1000) + 1
    while found / 1000 > seconds:
        found -= 1
    return found


def expiry_attributes(expires_at: float, ttl_attribute: str) -> dict[str, Any]:
    """Give what an item carries: seconds for DynamoDB's sweeper, milliseconds for us."""
    milliseconds = milliseconds_up(expires_at)
    return {ttl_attribute: {"N": str(-(-milliseconds // 1000))}, EXPIRY: {"N": str(milliseconds)}}


def expires_at_of(item: dict[str, Any], ttl_attribute: str) -> float | None:
    """Return the time in seconds; None if the item stays.

    The sweeper's attribute decides, which another program may have set, changed or removed. Our own is the exact
    time only where the other is the same, rounded up. What is not a number means nothing, to the sweeper as well.
    """
    if ttl_attribute not in item:  # most items
        return None
    swept = _number(item, ttl_attribute)
    if swept is None:
        return None
    exact = _number(item, EXPIRY)
    if exact is not None and swept % 1 == 0 and 1000 * (swept - 1) < exact <= 1000 * swept:
        return exact / 1000
    return swept


def _number(item: dict[str, Any], name: str) -> float | None:
    attribute = item.get(name)
    number = None if attribute is None else attribute.get("N")
    if number is None:
        return None
    try:
        return float(number)
    except (TypeError, ValueError, OverflowError):
        raise unreadable(name) from None
