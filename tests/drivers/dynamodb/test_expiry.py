"""When keys expire, and what DynamoDB is told about it."""

from typing import TYPE_CHECKING, Any

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError
from kvik_dynamodb._expiry import milliseconds_down, milliseconds_up

from .conftest import PATIENT, Clock, Maker

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

NUMBER_IN_VALUE = {"value": {"N": "1"}}

# Attributes of an item, and whether it is live at 1 900 000 000.25.
ITEMS: dict[str, tuple[dict[str, Any], bool]] = {
    "stays": ({}, True),
    "ours-later": ({"kvik_x": {"N": "1900000000251"}, "expires_at": {"N": "1900000001"}}, True),
    "ours-now": ({"kvik_x": {"N": "1900000000250"}, "expires_at": {"N": "1900000001"}}, False),
    "ours-earlier": ({"kvik_x": {"N": "1900000000001"}, "expires_at": {"N": "1900000001"}}, False),
    "ours-changed-to-earlier": ({"kvik_x": {"N": "1900000000251"}, "expires_at": {"N": "1"}}, False),
    "ours-changed-by-a-second": ({"kvik_x": {"N": "1900000000251"}, "expires_at": {"N": "1900000000"}}, False),
    "ours-changed-to-later": ({"kvik_x": {"N": "1"}, "expires_at": {"N": "1900000001"}}, True),
    "ours-changed-to-much-later": ({"kvik_x": {"N": "1900000000001"}, "expires_at": {"N": "1900000002"}}, True),
    "ours-whole-second": ({"kvik_x": {"N": "1900000000000"}, "expires_at": {"N": "1900000001"}}, True),
    "ours-removed": ({"kvik_x": {"N": "1"}}, True),
    "ours-changed-to-text": ({"kvik_x": {"N": "1"}, "expires_at": {"S": "1"}}, True),
    "theirs-later": ({"expires_at": {"N": "1900000001"}}, True),
    "theirs-between": ({"expires_at": {"N": "1900000000.251"}}, True),
    "theirs-now": ({"expires_at": {"N": "1900000000.25"}}, False),
    "theirs-before": ({"expires_at": {"N": "1900000000"}}, False),
    "theirs-is-text": ({"expires_at": {"S": "1"}}, True),
    "theirs-is-null": ({"expires_at": {"NULL": True}}, True),
    "ours-is-text": ({"kvik_x": {"S": "1"}, "expires_at": {"N": "1"}}, False),
    "ours-is-text-and-later": ({"kvik_x": {"S": "1"}, "expires_at": {"N": "1900000001"}}, True),
}
LIVE = {key for key, (_, live) in ITEMS.items() if live}


@pytest.fixture
def items(table: str, raw: "DynamoDBClient") -> None:
    """Put all of the items, each with a token."""
    for key, (attributes, _) in ITEMS.items():
        item = {"pk": {"S": key}, "value": {"S": "v"}, "kvik_w": {"S": "token"}, **attributes}
        raw.put_item(TableName=table, Item=item)


@pytest.mark.usefixtures("items", "clock")
async def test_every_read_tells_live_from_expired(db: DynamoDB) -> None:
    """Get, batch, scan and the versioned read agree, whoever wrote the expiry and as what."""
    assert set(await db.get_many(list(ITEMS))) == LIVE
    assert set((await db.scan("", None, 100))[0]) == LIVE
    assert set((await db.scan("ours", None, 100))[0]) == {key for key in LIVE if key.startswith("ours")}
    for key in ITEMS:
        assert await db.get(key) == ("v" if key in LIVE else None)
        assert (await db.get_versioned(key) is not None) is (key in LIVE)


@pytest.mark.usefixtures("items", "clock")
async def test_every_condition_tells_live_from_expired(db: DynamoDB) -> None:
    """A live key keeps its version and is not absent; an expired one is absent and has no version."""
    for key in ITEMS:
        if key in LIVE:
            with pytest.raises(DynamoDBError) as caught:
                await db.set_if(key, "new", None)
            assert caught.value.current is not None
            assert await db.set_if(key, "new", "token")
        else:
            with pytest.raises(DynamoDBError) as caught:
                await db.set_if(key, "new", "token")
            assert (caught.value.code, caught.value.current) == ("conflict", None)
            with pytest.raises(DynamoDBError) as caught:
                await db.delete_if(key, "token")
            assert (caught.value.code, caught.value.current) == ("conflict", None)
            assert await db.set_if(key, "new", None)


async def test_expired_at_once_and_on_every_path(db: DynamoDB, clock: Clock) -> None:
    """A key is there until its time, and missing from then on; nothing is deleted by reading."""
    expires_at = clock.now + 10
    await db.set_expiring("k", "v", expires_at)
    versioned = await db.get_versioned("k")
    assert versioned is not None
    assert (versioned[0], versioned[2]) == ("v", expires_at)
    clock.now = expires_at - 0.001
    assert await db.get("k") == "v"
    clock.now = expires_at
    assert await db.get("k") is None
    assert await db.get_versioned("k") is None
    assert await db.get_many(["k"]) == {}
    assert await db.scan("", None, 10) == ([], None)
    clock.now = expires_at - 1
    assert await db.get("k") == "v"


async def test_stored_in_seconds_and_milliseconds_rounded_up(
    db: DynamoDB, raw: "DynamoDBClient", table: str
) -> None:
    """DynamoDB sweeps by whole seconds; both numbers are never before the time that was asked for."""
    await db.set_expiring("k", "v", 1_900_000_000.0001)
    (item,) = raw.scan(TableName=table)["Items"]
    assert (item["expires_at"], item["kvik_x"]) == ({"N": "1900000001"}, {"N": "1900000000001"})
    await db.set_many({"k": "v"}, 1_900_000_000.0)
    (item,) = raw.scan(TableName=table)["Items"]
    assert (item["expires_at"], item["kvik_x"]) == ({"N": "1900000000"}, {"N": "1900000000000"})


@pytest.mark.usefixtures("clock")
async def test_writes_without_an_expiry_clear_it(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """A set, plain, conditional or of many, leaves a key that stays."""
    for write in (
        lambda _: db.set("k", "w"),
        lambda version: db.set_if("k", "w", version),
        lambda _: db.set_many({"k": "w"}),
    ):
        version = await db.set_if("k", "v", None, 1_900_000_010.0)
        await write(version)
        (item,) = raw.scan(TableName=table)["Items"]
        assert item.keys() == {"pk", "value", "kvik_w"}
        await db.delete("k")


async def test_an_expired_foreign_item_is_missing_not_corrupt(
    db: DynamoDB, raw: "DynamoDBClient", table: str
) -> None:
    """What has expired is not looked at."""
    raw.put_item(TableName=table, Item={"pk": {"S": "k"}, **NUMBER_IN_VALUE, "expires_at": {"N": "1"}})
    assert await db.get("k") is None
    assert await db.get_many(["k"]) == {}


async def test_a_distant_expiry_is_stored(db: DynamoDB) -> None:
    """An expiry beyond any date is one that never comes, not an error."""
    await db.set_expiring("k", "v", 1e300)
    assert await db.get("k") == "v"


@pytest.mark.parametrize("name", ["ttl", "Verfall!"])
async def test_any_ttl_attribute(
    new_driver: Maker, table_name: str, raw: "DynamoDBClient", dynamodb_endpoint: str, name: str
) -> None:
    """The attribute may have any name, a reserved word included; a new table sweeps by it."""
    db = new_driver(table_name, "eu-west-1", dynamodb_endpoint, create_table=True, ttl_attribute=name, **PATIENT)
    async with db:
        await db.set_expiring("k", "v", 2e9)
        assert await db.get_versioned("k") == ("v", (await db.get_versioned("k") or ("", ""))[1], 2e9)
        assert await db.scan("", None, 10) == (["k"], None)
    (item,) = raw.scan(TableName=table_name)["Items"]
    assert item[name] == {"N": "2000000000"}
    assert raw.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]["AttributeName"] == name


@pytest.mark.parametrize(
    "seconds", [0.0, 0.0001, 1.1, 1_900_000_000.123, 1_900_000_000.1230001, 1900179515.9720001, 4e10 + 0.7, -5.5]
)
def test_rounding_loses_nothing_and_does_not_drift(seconds: float) -> None:
    """What was read is stored again unchanged, and the present and the expiry agree on what is over."""
    up, down = milliseconds_up(seconds), milliseconds_down(seconds)
    assert up / 1000 >= seconds >= down / 1000
    assert (up - 1) / 1000 < seconds < (down + 1) / 1000
    assert milliseconds_up(up / 1000) == up
    assert milliseconds_down(up / 1000) == up


@pytest.mark.parametrize("expires_at", [10**400, 1e300, float("inf"), 1e11])
async def test_a_time_that_nobody_lives_to_see(db: DynamoDB, expires_at: float) -> None:
    """However large a number is, the key is there, and its time is the latest that fits."""
    await db.set_expiring("k", "v", expires_at)
    assert await db.get_versioned("k") is not None
    assert await db.get("k") == "v"
