"""Pages of keys, and the cursors between them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

from ._errors import DynamoDBError
from ._item import Item, Layout
from ._limits import check_page_size, check_prefix, refused
from ._operations import Operation
from ._requests import Requests

_LONGEST_PAGE = 4000  # keys, which take 2 ms to decode; the megabyte that ends a page may hold 20 000


class Scans:
    """Read the table page by page; DynamoDB has no other way to find keys by how they begin.

    DynamoDB's limit counts the items that it looks at, and not those that it finds. So a page looks at as many as
    would hold the wanted number of keys if these were as frequent as on the page before, which the cursor tells.
    What it finds beyond is cut off, and the next page begins there.
    """

    def __init__(self, requests: Requests, clock: Callable[[], float], *, consistent: bool) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._clock = clock
        self._consistent = consistent

    async def page(
        self, operation: Operation, prefix: str, cursor: str | None, limit: int
    ) -> tuple[list[str], str | None]:
        """Return live keys that begin so, and where to go on."""
        check_prefix(prefix)
        check_page_size(limit)
        start, rarity = (None, 1) if cursor is None else _start(cursor, self._layout)
        looked_at = min(limit * rarity, _LONGEST_PAGE)
        request = self._requests.scan(prefix, start, looked_at, self._clock(), consistent=self._consistent)
        reply = await operation.read("Scan", request)
        found, last = reply["Items"], reply.get("LastEvaluatedKey")
        keys = [self._layout.key_of(item) for item in found[:limit]]
        if len(found) > limit:
            last = self._layout.key(keys[-1])
        return keys, last and _cursor(last, looked_at // len(found) if found else _LONGEST_PAGE)


def _cursor(last: Item, rarity: int) -> str:
    return urlsafe_b64encode(json.dumps([last, rarity], separators=(",", ":")).encode()).decode()


def _start(cursor: object, layout: Layout) -> tuple[Item, int]:
    """Return the key to go on from, and among how many one was found."""
    try:
        start, rarity = json.loads(urlsafe_b64decode(cursor))  # type: ignore[arg-type] # a TypeError is caught
        known = start == layout.key(layout.key_of(start)) and type(rarity) is int and rarity > 0
    except (ValueError, TypeError, LookupError, RecursionError, DynamoDBError):
        known = False
    if not known or not isinstance(cursor, str):
        raise refused("the cursor is none that a scan of this table gave", "invalid_value")
    return start, rarity
