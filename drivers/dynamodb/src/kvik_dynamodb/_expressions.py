"""Conditions and filters, in DynamoDB's expression language.

Every attribute's name goes through a ``#`` alias, for 573 words are reserved, ``value`` and ``ttl`` among
them. DynamoDB refuses a request that declares an alias and does not use it.
"""

import re
from decimal import Decimal
from typing import Any, TypeAlias

from ._expiry import EXPIRY, milliseconds_down
from ._item import TOKEN, VALUE, Layout, Stored

Payload: TypeAlias = dict[str, Any]

# The exact time, #x, counts only where #t is the same rounded up. So an item whose #t is still to come has expired
# only if #t is the next whole second, and #x lies in this one and has passed.
# A type is asked for before each comparison: DynamoDB takes text for no number, moto fails on it.
_EXPIRED = (
    "(attribute_type(#t, :number) AND (#t <= :now"
    " OR (#t = :next AND attribute_type(#x, :number) AND #x > :floor AND #x <= :now_ms)))"
)
_LIVE = f"NOT {_EXPIRED}"
_ALIAS = re.compile(r"#\w")


class Expressions:
    """Give the parts of a request that make it conditional, or a filter; ``now`` is in seconds."""

    def __init__(self, layout: Layout) -> None:
        self._names = {
            "#k": layout.partition_key_name,
            "#t": layout.ttl_attribute,
            "#v": VALUE,
            "#w": TOKEN,
            "#x": EXPIRY,
        }

    def absent(self, now: float) -> Payload:
        """Demand that there is no live item."""
        return self._condition(f"attribute_not_exists(#k) OR {_EXPIRED}", _now(now))

    def has_token(self, token: str, now: float) -> Payload:
        """Demand a live item of this write."""
        return self._condition(f"#w = :w AND {_LIVE}", {":w": {"S": token}, **_now(now)})

    def unchanged(self, stored: Stored | None, now: float) -> Payload:
        """Demand that all is as it was read."""
        if stored is None:
            return self.absent(now)
        if stored.token is not None:
            return self.has_token(stored.token, now)
        condition = f"attribute_not_exists(#w) AND #v = :read AND {_LIVE}"
        return self._condition(condition, {":read": {"S": stored.value}, **_now(now)})

    def new_value(self, value: str, token: str) -> Payload:
        """Change value and token, and nothing else of an item."""
        update = "SET #v = :value, #w = :token"
        return {
            "UpdateExpression": update,
            "ExpressionAttributeNames": self._used(update),
            "ExpressionAttributeValues": {":value": {"S": value}, ":token": {"S": token}},
        }

    def only_the_key(self) -> Payload:
        """Ask for nothing else of an item."""
        return {"ProjectionExpression": "#k", "ExpressionAttributeNames": self._used("#k")}

    def live_keys(self, prefix: str, now: float) -> Payload:
        """Ask for the keys of live items that begin so."""
        # DynamoDB refuses the empty operand on a key; everything begins with it anyway.
        begins = "begins_with(#k, :prefix) AND " if prefix else ""
        given = {":prefix": {"S": prefix}} if prefix else {}
        return {
            "FilterExpression": begins + _LIVE,
            "ProjectionExpression": "#k",
            "ExpressionAttributeNames": self._used("#k" + _LIVE),
            "ExpressionAttributeValues": {**given, **_now(now)},
        }

    def _condition(self, expression: str, values: Payload) -> Payload:
        return {
            "ConditionExpression": expression,
            "ExpressionAttributeNames": self._used(expression),
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _used(self, expression: str) -> dict[str, str]:
        return {alias: self._names[alias] for alias in sorted(set(_ALIAS.findall(expression)))}


def _now(now: float) -> Payload:
    milliseconds = milliseconds_down(now)
    second = milliseconds // 1000
    return {
        ":number": {"S": "N"},
        ":next": {"N": str(second + 1)},
        ":floor": {"N": str(second * 1000)},
        ":now_ms": {"N": str(milliseconds)},
        ":now": {"N": f"{Decimal(milliseconds) / 1000:f}"},
    }
