"""When an item ends: an expiry rounded up to what is stored, and the present rounded down to match.

Both compare as floats of seconds do, so that the server's conditions and the driver's own reading never
differ, and so that an expiry which was read is stored again unchanged.
"""

import math
from typing import Any

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
    """Give the time in seconds; None if the item stays.

    Our own attribute decides, if it is there; else the sweeper's, which another program may have set. What is
    no number means nothing, to DynamoDB's sweeper as well.
    """
    name, units_per_second = (EXPIRY, 1000) if EXPIRY in item else (ttl_attribute, 1)
    number = item.get(name, {}).get("N")
    return None if number is None else float(number) / units_per_second
