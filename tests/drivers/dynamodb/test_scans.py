"""Scans: every live key once, in pages."""

import base64

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import PATIENT, Maker
from .faults import FaultProxy, rewrite

KEYS = {f"user:{number}" for number in range(25)} | {"other", "usor", "user", "ü", "\0", "🦊:1", "🦊:2"}


async def pages(db: DynamoDB, prefix: str, limit: int) -> list[list[str]]:
    """Give all pages of a scan."""
    found, cursor = [], None
    while True:
        page, cursor = await db.scan(prefix, cursor, limit)
        found.append(page)
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [3, 1000])
async def test_a_scan_gives_each_key_once(db: DynamoDB, limit: int) -> None:
    """Whatever the size of its pages, which is kept, and for every prefix."""
    await db.set_many(dict.fromkeys(KEYS, "v"))
    for prefix in ("", "user:", "user:1", "🦊", "\0", "nothing"):
        found = await pages(db, prefix, limit)
        assert all(len(page) <= limit for page in found)
        keys = [key for page in found for key in page]
        assert len(keys) == len(set(keys))
        assert set(keys) == {key for key in KEYS if key.startswith(prefix)}


async def test_a_cursor_survives_a_restart(
    new_driver: Maker, db: DynamoDB, table: str, dynamodb_endpoint: str
) -> None:
    """It is text, and another driver goes on from it."""
    await db.set_many(dict.fromkeys(KEYS, "v"))
    first, cursor = await db.scan("", None, 10)
    assert cursor is not None
    assert cursor.isascii()
    async with new_driver(table, "eu-west-1", dynamodb_endpoint, **PATIENT) as other:
        rest, end = await other.scan("", cursor, 1000)
    assert end is None
    assert sorted(first + rest) == sorted(KEYS)


async def test_a_cursor_of_another_kind_is_refused(db: DynamoDB) -> None:
    """Whether nonsense or of a table whose keys have another name: it says so, instead of beginning anew."""
    keys = (b"[]", b'{"pk":1}', b'{"pk":{"S":""}}', b'"pk"', b'{"id":{"S":"k"}}', b'{"pk":{"N":"1"}}')
    ours = b'{"pk":{"S":"k"}}'
    of_another_kind = (
        *(b"[]", ours, b"[%b]" % ours, b"[%b,0]" % ours, b'[%b,"1"]' % ours, b"[%b,true]" % ours),
        *(b"[%b,1]" % key for key in keys),
    )
    for cursor in ("", "x", "é", "bm9uc2Vuc2U=", *(base64.b64encode(text).decode() for text in of_another_kind)):
        with pytest.raises(DynamoDBError, match="cursor") as caught:
            await db.scan("", cursor, 10)
        assert caught.value.code == "invalid_value"


async def test_a_prefix_that_is_no_text_is_refused(db: DynamoDB) -> None:
    """As a key would be."""
    with pytest.raises(DynamoDBError) as caught:
        await db.scan("\ud800", None, 10)
    assert caught.value.code == "invalid_key"


@pytest.mark.parametrize("consistent", [True, False])
async def test_a_scan_asks_for_keys_alone(behind_proxy: Maker, proxy: FaultProxy, *, consistent: bool) -> None:
    """As consistent as configured, and without the values, which would only be thrown away."""
    async with behind_proxy(consistent_reads=consistent) as db:
        await db.scan("p", None, 7)
    request = proxy.requests[-1]
    assert (request["ConsistentRead"], request["ProjectionExpression"], request["Limit"]) == (consistent, "#k", 7)


async def test_a_page_has_a_size_of_its_own_at_most(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Whatever is asked for: a megabyte of short keys would take the event loop too long to decode."""
    async with behind_proxy() as db:
        await db.scan("", None, 1_000_000)
    assert proxy.requests[-1]["Limit"] == 4000


async def test_rare_keys_take_few_requests(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A page looks at as many items as may hold the keys wanted, whatever its limit, and each key comes once."""
    rare = {f"rare:{number}" for number in range(5)}
    async with behind_proxy() as db:
        await db.set_many(dict.fromkeys([*(f"key:{number}" for number in range(500)), *rare], "v"))
        proxy.requests.clear()
        found = await pages(db, "rare:", 2)
        assert sorted(key for page in found for key in page) == sorted(rare)
        assert all(len(page) <= 2 for page in found)
        assert len(proxy.requests) < 12


@pytest.mark.parametrize("prefix", ["", "a:"])
async def test_a_scan_reads_the_table_about_once(behind_proxy: Maker, proxy: FaultProxy, prefix: str) -> None:
    """What is cut off a page is read again, which is little where keys are spread evenly."""
    async with behind_proxy() as db:
        await db.set_many({f"{letter}:{number}": "v" for letter in "abc" for number in range(100)})
        proxy.requests.clear()
        found = await pages(db, prefix, 10)
        assert sum(map(len, found)) == (100 if prefix else 300)
        assert sum(min(request["Limit"], 300) for request in proxy.requests) < 3 * 300


async def test_a_cut_page_goes_on_behind_its_last_key(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """After many items without a key, a page that finds too many gives as many as were asked for, and no more."""
    async with behind_proxy() as db:
        await db.set_many({f"a:{number}": "v" for number in range(60)})
        proxy.script.append(
            rewrite(lambda reply: {**reply, "Items": []})
        )  # as if none of the first were asked for
        first, cursor = await db.scan("a:", None, 7)
        assert (first, cursor is None) == ([], False)
        keys: list[str] = []
        while cursor is not None:
            page, cursor = await db.scan("a:", cursor, 7)
            assert len(page) <= 7
            keys += page
        assert len(keys) == len(set(keys)) == 53
