"""The layout of an item: what is written, and what is read out of it.

    <partition key>: S   the key
    value: S             the value
    kvik_w: S            128 random bits, new at every write: the write's token, and the version
    <ttl attribute>: N   the expiry in whole seconds since the epoch, for DynamoDB's own sweeper
    kvik_x: N            the same in milliseconds; both rounded up, and both only with an expiry

The first two are GoFr's whole layout, so that a Go and a Python service can share a table.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeAlias

from ._errors import DynamoDBError, Versioned
from ._expiry import EXPIRY, expires_at_of, expiry_attributes
from ._limits import check_key, check_moment, check_value, limits_of

VALUE = "value"
TOKEN = "kvik_w"  # noqa: S105 - an attribute's name
OWN_ATTRIBUTES = (VALUE, TOKEN, EXPIRY)

_TOKEN_BYTES = 16

Item: TypeAlias = dict[str, Any]
"""Attributes by name, in DynamoDB's low-level JSON shape."""


def new_token() -> str:
    """Give a token for one write; whoever finds it in an item knows that this write happened."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a live item says; ``expiry`` are its attributes that tell when it ends, as they are.

    ``has_more``: another program has given it attributes that mean nothing here.
    """

    value: str
    token: str | None
    expires_at: float | None
    expiry: Item
    has_more: bool

    @property
    def version(self) -> str:
        """Give the token; for an item that another program wrote, the value's hash, marked by a colon."""
        return self.token or f"v:{sha256(self.value.encode(errors='surrogatepass')).hexdigest()}"

    @property
    def versioned(self) -> Versioned:
        """Give value, version and expiry."""
        return self.value, self.version, self.expires_at


class Layout:
    """Make the items of one table, and read them."""

    def __init__(self, table: str, partition_key_name: str, ttl_attribute: str) -> None:
        self.table = table
        self.partition_key_name = partition_key_name
        self.ttl_attribute = ttl_attribute
        self.limits = limits_of(partition_key_name, ttl_attribute, *OWN_ATTRIBUTES)
        self._own = frozenset({partition_key_name, ttl_attribute, *OWN_ATTRIBUTES})

    def key(self, key: str) -> Item:
        """Give the attribute that names an item."""
        check_key(key)
        return {self.partition_key_name: {"S": key}}

    def key_of(self, item: Item) -> str:
        """Give the key of an item."""
        key: str = item[self.partition_key_name]["S"]
        return key

    def item(self, key: str, value: str, token: str, expiry: Item | None = None) -> Item:
        """Make an item; without an expiry it stays."""
        check_value(value, self.limits.max_value_bytes)
        return {**self.key(key), VALUE: {"S": value}, TOKEN: {"S": token}, **(expiry or {})}

    def expiry(self, expires_at: float | None, now: float) -> Item:
        """Return the attributes that make an item end at this time, in seconds since the epoch.

        Raises DynamoDBError with code ``invalid_value``.
        """
        return {} if expires_at is None else self.end(expires_at, now)

    def end(self, expires_at: float, now: float) -> Item:
        """Do the same where None does not mean that the item stays."""
        check_moment(expires_at, now)
        return expiry_attributes(expires_at, self.ttl_attribute)

    def read(self, item: Item | None, now: float) -> Stored | None:
        """Give what a live item holds; None if there is none, or it has expired.

        Raises DynamoDBError with code ``corrupt`` if somebody stored something else than a string.
        """
        if item is None or self._has_expired(item, now):
            return None
        expires_at = expires_at_of(item, self.ttl_attribute)
        expiry = {name: item[name] for name in (self.ttl_attribute, EXPIRY) if name in item}
        token = self._text(item, TOKEN) if TOKEN in item else None
        has_more = not self._own.issuperset(item)
        return Stored(self._text(item, VALUE), token, expires_at, expiry, has_more)

    def value(self, item: Item | None, now: float) -> str | None:
        """Give what `read` would call its value, and nothing else."""
        return None if item is None or self._has_expired(item, now) else self._text(item, VALUE)

    def _has_expired(self, item: Item, now: float) -> bool:
        expires_at = expires_at_of(item, self.ttl_attribute)
        return expires_at is not None and expires_at <= now

    def _text(self, item: Item, name: str) -> str:
        text = item.get(name, {}).get("S")
        if not isinstance(text, str):
            raise DynamoDBError(
                f"an item of table {self.table!r} has no string attribute {name!r}:"
                " another program wrote it; set the key again, or keep such items in another table",
                code="corrupt",
                cause="stored item",
            )
        return text
