"""Pages of keys, and the cursors between them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

from ._errors import DynamoDBError
from ._item import Item, Layout
from ._limits import check_prefix, refused
from ._operations import Operation
from ._requests import Requests

_LONGEST_PAGE = 4000  # keys, which take 2 ms to decode; the megabyte that ends a page may hold 20 000


class Scans:
    """Read the table page by page; DynamoDB has no other way to find keys by how they begin."""

    def __init__(self, requests: Requests, clock: Callable[[], float], *, consistent: bool) -> None:
        self._requests = requests
        self._layout = requests.layout
        self._clock = clock
        self._consistent = consistent

    async def page(
        self, operation: Operation, prefix: str, cursor: str | None, limit: int
    ) -> tuple[list[str], str | None]:
        """Give live keys that begin so, and where to go on."""
        check_prefix(prefix)
        start = None if cursor is None else _start(cursor, self._layout)
        most = min(limit, _LONGEST_PAGE)
        request = self._requests.scan(prefix, start, most, self._clock(), consistent=self._consistent)
        reply = await operation.read("Scan", request)
        last = reply.get("LastEvaluatedKey")
        return [self._layout.key_of(item) for item in reply["Items"]], last and _cursor(last)


def _cursor(last: Item) -> str:
    return urlsafe_b64encode(json.dumps(last, separators=(",", ":")).encode()).decode()


def _start(cursor: str, layout: Layout) -> Item:
    try:
        start: Item = json.loads(urlsafe_b64decode(cursor))
        known = start == layout.key(layout.key_of(start))
    except (ValueError, TypeError, LookupError, DynamoDBError):
        known = False
    if not known:
        raise refused("the cursor is none that a scan of this table gave", "invalid_value")
    return start
