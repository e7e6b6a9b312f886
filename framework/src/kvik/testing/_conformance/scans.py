"""Finding keys by how they begin."""
# ruff: noqa: S101 - tests assert

from collections import Counter
from typing import Final

import pytest

from ..._kv.driver import Driver
from ...kv import KV
from .fixtures import StoreFixtures, fill, needs
from .keys import KEYS

PREFIXES: Final = {
    "percent": ("a%", ["a%", "a%b", "axb", "a", "a\\%"]),
    "underscore": ("a_", ["a_", "a_b", "axb", "a"]),
    "star": ("a*", ["a*", "a*b", "ab", "aab"]),
    "brackets": ("[a]", ["[a]", "[a]b", "a", "ab"]),
    "question mark": ("a?", ["a?", "a?b", "ab"]),
    "backslash": ("a\\", ["a\\", "a\\b", "ab", "a"]),
    "quote": ("a'", ["a'", "a'b", "ab"]),
    "NUL": ("a\0", ["a\0", "a\0b", "a", "ab", "a\1"]),
    "colon": ("t:", ["t:", "t:a", "t::", "t", "t;a", "t/a:b"]),
    "case": ("a", ["a", "ab", "A", "Ab", "á"]),
    "combining": ("e", ["e", "e\u0301", "é"]),
    "emoji": ("😀", ["😀", "😀a", "😁", "a"]),
    "before the surrogates": ("a\ud7ff", ["a\ud7ff", "a\ud7ff\0", "a\ud7ffz", "a\ue000", "b"]),
    "the last character": ("a\U0010ffff", ["a\U0010ffff", "a\U0010ffff\U0010ffff", "a\U0010ffffa", "a", "b"]),
    "nothing but the last character": ("\U0010ffff", ["\U0010ffff", "\U0010ffff\U0010ffff", "a"]),
    "a whole key": ("abc", ["abc", "ab", "abcd", "abd"]),
    "no key": ("x", ["a", "b"]),
    "longer than any key": ("a" * 500, ["a", "aa"]),
}
"""A prefix, and keys that begin with it or only nearly."""

_MANY: Final = 23


class ScanTests(StoreFixtures):
    """Method scan."""

    @needs("scan")
    async def test_an_empty_store_has_no_keys(self, driver: Driver) -> None:
        """A scan of nothing ends, with nothing."""
        assert await scanned(driver, "", 10) == [], "a scan of an empty store gives no keys"

    @needs("scan")
    async def test_each_key_comes_once(self, driver: Driver) -> None:
        """However many pages there are, each live key comes once, and no page is longer than the limit."""
        keys = sorted(f"key-{number}" for number in range(_MANY))
        await fill(driver, keys)
        for limit in (1, 7, _MANY - 1, _MANY, _MANY + 1, 1000):
            found = await scanned(driver, "", limit)
            assert found == keys, f"a scan gives each live key once, over all pages, {limit} a page"

    @pytest.mark.parametrize("case", PREFIXES)
    @needs("scan")
    async def test_a_prefix_is_no_pattern(self, driver: Driver, case: str) -> None:
        """The keys that begin with the prefix come, character by character, and no others."""
        prefix, keys = PREFIXES[case]
        await fill(driver, keys)
        expected = sorted(key for key in keys if key.startswith(prefix))
        for limit in (1, 100):
            assert await scanned(driver, prefix, limit) == expected, "a prefix is taken as it is, not as a pattern"

    @needs("scan")
    async def test_keys_come_as_they_are(self, driver: Driver) -> None:
        """Keys of every kind come as they were set."""
        keys = sorted({key for group in KEYS.values() for key in group})
        await fill(driver, keys)
        found = await scanned(driver, "", 10)
        for key in keys:
            assert key in found, f"a scan gives keys as they are: {key!r}"
        assert found == keys, "a scan gives each live key once"

    @needs("scan")
    async def test_deleted_keys_do_not_come(self, driver: Driver) -> None:
        """What is deleted is not scanned, and what is written again comes once."""
        await fill(driver, "abcdef")
        for key in "bcde":
            await driver.delete(key)
        await driver.set("c", "again")
        await driver.set("a", "again")
        assert await scanned(driver, "", 2) == ["a", "c", "f"], "a scan gives live keys only"

    @needs("scan")
    async def test_keys_that_stay_come_while_others_are_written(self, driver: Driver) -> None:
        """Writes and deletes between two pages neither hide nor repeat a key that is there all the while."""
        staying = [f"key-{number:02}" for number in range(0, 40, 2)]
        await fill(driver, staying)
        found: Counter[str] = Counter()
        cursor: str | None = None
        for number in range(200):
            page, cursor = await driver.scan("key-", cursor, 3)
            found.update(page)
            if cursor is None:
                break
            await driver.set(f"key-{2 * number + 1:02}", "value")
            await driver.set(staying[number % len(staying)], "written again")
            await driver.delete(f"key-{2 * number - 1:02}")
        assert cursor is None, "a scan ends"
        assert [found[key] for key in staying] == [1] * len(staying), (
            "a key that stays comes once, whatever is written"
        )

    @needs("scan")
    async def test_a_cursor_is_text_that_can_be_used_again(self, driver: Driver) -> None:
        """The same cursor gives the same page again, since a reply may be lost; it is str."""
        await fill(driver, [f"key-{number}" for number in range(9)])
        _, cursor = await driver.scan("", None, 3)
        assert isinstance(cursor, str), "a cursor is str"
        assert await driver.scan("", cursor, 3) == await driver.scan("", cursor, 3), "a cursor can be used again"

    @needs("scan", "lifecycle")
    async def test_a_cursor_survives_a_restart(self, driver: Driver) -> None:
        """A scan goes on where it was after the store was closed and connected."""
        keys = [f"key-{number}" for number in range(9)]
        await fill(driver, keys)
        first, cursor = await driver.scan("", None, 3)
        await driver.close()
        await driver.connect()
        rest = await _rest(driver, "", 3, cursor)
        # what a store keeps only while it is connected is gone now, and its cursor is good all the same
        is_kept = await driver.get(keys[0]) is not None
        assert sorted(first + rest) == keys or not is_kept, "a cursor survives a restart"

    @needs("scan")
    async def test_the_facade_scans_all_pages(self, driver: Driver, kv: KV) -> None:
        """Through the facade a scan is one iteration, and a namespace's shows its own keys."""
        users = kv.namespace("users")
        await driver.set("other", "value")
        await users.set("a", "1")
        await users.set("b:c", "2")
        assert sorted([key async for key in users.scan()]) == ["a", "b:c"]
        assert sorted([key async for key in kv.scan("users:")]) == ["users:a", "users:b:c"]


async def scanned(driver: Driver, prefix: str, limit: int) -> list[str]:
    """Give all keys of all pages, sorted, and check each page's form."""
    return sorted(await _rest(driver, prefix, limit, None))


async def _rest(driver: Driver, prefix: str, limit: int, cursor: str | None) -> list[str]:
    __tracebackhide__ = True
    keys: list[str] = []
    for _ in range(1000):
        page, cursor = await driver.scan(prefix, cursor, limit)
        assert len(page) <= limit, "a page has at most `limit` keys"
        keys += page
        if cursor is None:
            return keys
    pytest.fail("a scan ends: the cursor is None after the last page")
