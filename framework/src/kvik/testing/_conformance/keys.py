"""Keys are taken as they are."""
# ruff: noqa: S101 - tests assert

import asyncio
import functools
from typing import Any, Final

import pytest

from ..._kv.driver import Driver
from ...kv import KV
from ...kv_errors import InvalidKey
from .fixtures import StoreFixtures, refused

KEYS: Final = {
    "whitespace": ["a", " a", "a ", " a ", "a\n", "\ta", " ", "  ", "\r\n", "\u00a0", "\u2003", "a b", "a  b"],
    "case": ["key", "Key", "KEY", "ß", "ss", "SS", "\u0131", "i", "I", "İ"],
    "NUL": ["\0", "\0\0", "a\0", "a\0b", "a\0c", "\0a"],
    "slashes": ["/", "//", "a/b", "/a/b", "a//b", "a/./b", "../a", "a/../b", "\\", "a\\b"],
    "colons": [":", "::", "a:b", "a::b", ":a", "a:"],
    "percent": ["%", "%%", "%2F", "%2f", "%3A", "%00", "a%b", "a+b"],
    "wildcards": ["*", "?", "_", "a_b", "axb", "[a]", "{a}", "a*"],
    "quotes": ["'", '"', "''", "`", "a';--", "$a", "${a}", "#a", "&", "<a>"],
    "combining": ["é", "e\u0301", "Å", "A\u030a", "\u212b", "ﬁ", "fi", "\u1100\u1161", "가"],
    "emoji": ["😀", "👩\u200d👩\u200d👧", "👩👩👧", "❤", "❤\ufe0f", "\U0001f1e9\U0001f1ea"],
    "invisible": ["\u200b", "\ufeffa", "\u200e", "\u202ea", "\x7f", "\x1b[0m", "\x01"],
    "edges of Unicode": ["\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff", "\U00010000", "\U0010ffff"],
    "numbers and words": ["0", "00", "-0", "1", "1.0", "01", "1e3", "None", "null", "true", "NaN"],
}
"""Keys that a careless store takes for each other, or for something else."""

_WITHOUT_LIMIT: Final = 1024


class KeyTests(StoreFixtures):
    """Keys are 1 to max_key_bytes bytes of UTF-8, any character, neither trimmed nor normalised."""

    @pytest.mark.parametrize("group", KEYS)
    async def test_keys_that_look_alike_are_different(self, driver: Driver, group: str) -> None:
        """Each key has a value of its own, and is deleted alone."""
        keys = KEYS[group]
        await asyncio.gather(*(driver.set(key, f"value {number}") for number, key in enumerate(keys)))
        for number, key in enumerate(keys):
            assert await driver.get(key) == f"value {number}", f"a key is taken as it is: {key!r}"
        for number, key in enumerate(keys):
            await driver.delete(key)
            assert await driver.get(key) is None, f"a key is deleted as it is: {key!r}"
            others = keys[number + 1 :]
            for other, value in zip(others, await asyncio.gather(*map(driver.get, others)), strict=True):
                assert value is not None, f"delete of {key!r} leaves {other!r}"

    @pytest.mark.parametrize("key", ["a", " ", "\0", "0"], ids=ascii)
    async def test_a_key_of_one_byte(self, driver: Driver, key: str) -> None:
        """One byte is enough."""
        await driver.set(key, "value")
        assert await driver.get(key) == "value", "a key may be one byte"

    @pytest.mark.parametrize("character", ["k", "é", "€", "😀", "\0"], ids=ascii)
    async def test_a_key_of_the_greatest_length(self, driver: Driver, character: str) -> None:
        """A key of exactly max_key_bytes is stored, and is another than one that differs in the last byte."""
        limit = driver.max_key_bytes or _WITHOUT_LIMIT
        size = len(character.encode())
        stem = character * ((limit - 1) // size)
        stem += "k" * (limit - 1 - len(stem.encode()))
        for last in "ab":
            await driver.set(stem + last, last)
        for last in "ab":
            assert await driver.get(stem + last) == last, f"a key of {limit} bytes is taken whole"

    async def test_a_key_that_is_too_long_is_refused(self, driver: Driver, kv: KV) -> None:
        """A key of one byte more than the limit is InvalidKey at every verb, whatever characters it has."""
        limit = driver.max_key_bytes
        if limit is None:
            pytest.skip("the driver states no limits.max_key_bytes")
        for key in ("k" * (limit + 1), "é" * (limit // 2 + 1)):
            for verb in (kv.get, kv.delete, functools.partial(kv.set, value="value")):
                error = await refused(InvalidKey, verb(key), "a key over max_key_bytes is InvalidKey")
                assert error.outcome == "not_applied", "an invalid key is surely not written"

    @pytest.mark.parametrize(
        ("key", "names"),
        [(None, "NoneType"), (b"key", "bytes"), (7, "int"), ("", "empty"), ("\ud800", "surrogate")],
        ids=["None", "bytes", "int", "empty", "surrogate"],
    )
    async def test_what_is_no_key_is_refused(self, kv: KV, key: Any, names: str) -> None:
        """None, bytes, int, the empty string and lone surrogates are InvalidKey, which says what it was."""
        for verb in (kv.get, kv.delete, functools.partial(kv.set, value="value")):
            error = await refused(InvalidKey, verb(key), "what is no key is InvalidKey")
            assert names in str(error), "InvalidKey says what it was"
