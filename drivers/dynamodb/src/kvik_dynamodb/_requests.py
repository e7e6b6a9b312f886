"""The requests on one table, in DynamoDB's low-level JSON shape."""

from collections.abc import Iterable

from ._expressions import Expressions, Payload
from ._item import Item, Layout
from ._limits import check_value


class Requests:
    """Build requests; a condition of ``expressions`` is merged into those that take one."""

    def __init__(self, layout: Layout, *, report_capacity: bool = False) -> None:
        self.layout = layout
        self.expressions = Expressions(layout)
        self._table = layout.table
        self._options = {"ReturnConsumedCapacity": "TOTAL"} if report_capacity else {}

    def get(self, key: str, *, consistent: bool) -> Payload:
        return {
            "TableName": self._table,
            "Key": self.layout.key(key),
            "ConsistentRead": consistent,
            **self._options,
        }

    def probe(self, key: str) -> Payload:
        """Ask for the least that still proves table, key schema and permission: half a read unit."""
        return {**self.get(key, consistent=False), **self.expressions.only_the_key()}

    def put(self, item: Item) -> Payload:
        return {"TableName": self._table, "Item": item, **self._options}

    def update(self, key: str, value: str, token: str, condition: Payload) -> Payload:
        """Change the value under a key, if a condition holds, and keep the item's other attributes."""
        check_value(value, self.layout.limits.max_value_bytes)
        update = self.expressions.new_value(value, token)
        merged = {name: {**update[name], **condition[name]} for name in update.keys() & condition.keys()}
        return {
            "TableName": self._table,
            "Key": self.layout.key(key),
            **update,
            **condition,
            **merged,
            **self._options,
        }

    def delete(self, key: str) -> Payload:
        return {"TableName": self._table, "Key": self.layout.key(key), **self._options}

    def get_many(self, keys: Iterable[str], *, consistent: bool) -> Payload:
        part = {"Keys": [self.layout.key(key) for key in keys], "ConsistentRead": consistent}
        return {"RequestItems": {self._table: part}, **self._options}

    def write_many(self, writes: Iterable[Payload]) -> Payload:
        return {"RequestItems": {self._table: list(writes)}, **self._options}

    def scan(self, prefix: str, start: Item | None, limit: int, now: float, *, consistent: bool) -> Payload:
        return {
            "TableName": self._table,
            "Limit": limit,
            "ConsistentRead": consistent,
            **self._options,
            **({} if start is None else {"ExclusiveStartKey": start}),
            **self.expressions.live_keys(prefix, now),
        }
