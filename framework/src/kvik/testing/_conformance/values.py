"""Values are any text."""
# ruff: noqa: S101 - tests assert

from typing import Any, Final

import pytest

from ..._kv.driver import Driver
from ...kv import KV
from ...kv_errors import InvalidValue, ValueTooLarge
from .fixtures import StoreFixtures, refused

VALUES: Final = {
    "empty": "",
    "space": " ",
    "surrounding whitespace": " \t value \n",
    "newlines": "a\nb\r\nc\rd\u2028e\x85f",
    "NUL": "\0",
    "NUL inside": "a\0b",
    "NUL at the end": "a\0",
    "emoji": "😀👩\u200d👩\u200d👧",
    "combining": "e\u0301é\u212b",
    "byte order mark": "\ufeffvalue",
    "edges of Unicode": "\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff",
    "control characters": "".join(map(chr, range(32))) + "\x7f",
    "JSON": '{"a": [1, 2.50, null, "\\u00e9\\n"]}',
    "JSON string": '"value"',
    "null": "null",
    "None": "None",
    "number": "007",
    "large number": "123456789012345678901234567890",
    "float": "1.10",
    "quotes": "'; DROP TABLE x; --\"`",
    "backslashes": "\\\\n\\0\\x00",
    "percent": "%s%00%2F",
}
"""Values that a careless store changes."""

_LARGE: Final = 1024 * 1024
_LARGEST_TRIED: Final = 4 * 1024 * 1024


class ValueTests(StoreFixtures):
    """Values are any str that UTF-8 can hold, the empty one included."""

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    async def test_a_value_is_kept_as_it_is(self, driver: Driver, value: str) -> None:
        """What comes back is what was set, character by character."""
        await driver.set("key", value)
        assert await driver.get("key") == value, "a value is kept as it is"

    async def test_the_empty_value_is_not_missing(self, driver: Driver, kv: KV) -> None:
        """The empty string is a value; it replaces another, and exists."""
        await driver.set("key", "value")
        await driver.set("key", "")
        assert await driver.get("key") == "", "the empty value is a value"
        assert await kv.exists("key"), "a key with the empty value exists"

    @pytest.mark.parametrize("character", ["v", "é", "😀"], ids=ascii)
    async def test_a_large_value(self, driver: Driver, character: str) -> None:
        """A value of exactly max_value_bytes is stored, or of 1 MiB where the limit is far above."""
        limit = driver.max_value_bytes
        size = limit if limit is not None and limit <= _LARGEST_TRIED else _LARGE
        value = character * (size // len(character.encode()))
        value += "v" * (size - len(value.encode()))
        await driver.set("key", value)
        # compared before the assertion, since a diff of two such values takes minutes
        is_same = await driver.get("key") == value
        assert is_same, f"a value of {size} bytes is kept as it is"

    async def test_a_value_that_is_too_large_is_refused(self, driver: Driver, kv: KV) -> None:
        """One byte more than the limit is ValueTooLarge, which tells size and limit, and nothing is written."""
        limit = driver.max_value_bytes
        if limit is None:
            pytest.skip("the driver states no limits.max_value_bytes")
        await kv.set("key", "before")
        error = await refused(ValueTooLarge, kv.set("key", "v" * (limit + 1)), "max_value_bytes is kept")
        assert (error.size, error.limit, error.outcome) == (limit + 1, limit, "not_applied")
        assert await kv.get("key") == "before", "a refused write changes nothing"

    @pytest.mark.parametrize(
        ("value", "names"),
        [(None, "NoneType"), (b"value", "bytes"), (7, "int"), ("\ud800", "surrogate")],
        ids=["None", "bytes", "int", "surrogate"],
    )
    async def test_what_is_no_value_is_refused(self, kv: KV, value: Any, names: str) -> None:
        """None, bytes, int and lone surrogates are InvalidValue, which says what it was; nothing is written."""
        error = await refused(InvalidValue, kv.set("key", value), "what is no value is InvalidValue")
        assert names in str(error), "InvalidValue says what it was"
        assert await kv.get("key", default=None) is None, "a refused write changes nothing"
