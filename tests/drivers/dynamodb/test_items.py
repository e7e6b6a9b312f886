"""What is stored, byte for byte, and what fits."""

import re
from typing import TYPE_CHECKING

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import MOTO_ITEM_BYTES, Maker

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

KEYS = [
    "plain",
    "a/b",
    "two words",
    " ",
    "🦊",
    "e\u0301",
    "\0",
    "a\0b",
    "line\nbreak",
    "\U0010ffff",
    '"{}"',
    "%2F",
]


async def test_any_text_is_a_key(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """A key is stored as it is, read back, and deleted."""
    for key in KEYS:
        await db.set(key, key)
        (item,) = raw.scan(TableName=table)["Items"]
        assert (item["pk"], item["value"]) == ({"S": key}, {"S": key})
        assert await db.get(key) == key
        await db.delete(key)
        assert await db.get(key) is None


async def test_any_text_is_a_value(db: DynamoDB) -> None:
    """A value comes back as it was, the empty one too."""
    for value in ("", " ", "\0", "🦊" * 1000, '{"json": [1, "é"]}', "x" * 390_000):
        await db.set("k", value)
        assert await db.get("k") == value


async def test_layout_is_gofrs_with_a_token(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """An item has the partition key, the value, and 128 random bits of its write, all strings, nothing else."""
    await db.set("k", '{"a":1}')
    stored = raw.get_item(TableName=table, Key={"pk": {"S": "k"}})["Item"]
    assert re.fullmatch(r"[\w-]{22}", stored.pop("kvik_w")["S"], re.ASCII)
    assert stored == {"pk": {"S": "k"}, "value": {"S": '{"a":1}'}}


async def test_reads_gofrs_items(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """An item that GoFr wrote is an ordinary entry."""
    raw.put_item(TableName=table, Item={"pk": {"S": "from-go"}, "value": {"S": '{"name":"John Doe"}'}})
    assert await db.get("from-go") == '{"name":"John Doe"}'


async def test_set_replaces_the_item(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """A set leaves nothing of what was stored before."""
    raw.put_item(TableName=table, Item={"pk": {"S": "k"}, "value": {"N": "1"}, "other": {"S": "x"}})
    await db.set("k", "v")
    (item,) = raw.scan(TableName=table)["Items"]
    assert item.keys() == {"pk", "value", "kvik_w"}


async def test_delete_of_a_missing_key_is_fine(db: DynamoDB) -> None:
    """A delete says nothing about whether there was something."""
    await db.delete("missing")


@pytest.mark.parametrize("foreign", [{"value": {"N": "1"}}, {"other": {"S": "x"}}, {"value": {"NULL": True}}, {}])
async def test_a_foreign_item_is_corrupt(
    db: DynamoDB, raw: "DynamoDBClient", table: str, foreign: dict[str, dict[str, str]]
) -> None:
    """An item without a string value is an error, not a miss, and its key is in no message."""
    raw.put_item(TableName=table, Item={"pk": {"S": "secret-key"}, **foreign})
    with pytest.raises(DynamoDBError) as caught:
        await db.get("secret-key")
    assert caught.value.code == "corrupt"
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize("name", ["id", "name", "ttl", "key", "partition key", "ключ"])
async def test_any_partition_key_name(
    new_driver: Maker, table_name: str, raw: "DynamoDBClient", dynamodb_endpoint: str, name: str
) -> None:
    """The partition key's attribute may have any name, one of DynamoDB's reserved words included."""
    async with new_driver(table_name, "eu-west-1", dynamodb_endpoint, name, create_table=True) as db:
        await db.set("k", "v")
        assert await db.get("k") == "v"
        assert (await db.health_check())["status"] == "UP"
        assert raw.scan(TableName=table_name)["Items"][0][name] == {"S": "k"}
        assert await db.scan("k", None, 10) == (["k"], None)
        await db.delete_if("k", await db.set_if("k", "v", (await db.get_versioned("k") or ("", ""))[1]))


@pytest.mark.parametrize("key", ["k" * 2048, "é" * 1024])
async def test_the_longest_key_is_stored(db: DynamoDB, key: str) -> None:
    """A key may have 2048 bytes."""
    await db.set(key, "v")
    assert await db.get(key) == "v"


@pytest.mark.parametrize(("key", "size"), [("", 0), ("k" * 2049, 2049), ("é" * 1024 + "k", 2049)])
async def test_a_key_beyond_the_limits_is_refused(db: DynamoDB, key: str, size: int) -> None:
    """An empty key, or one of more than 2048 bytes, is refused with its size and the limit."""
    for call in (db.get(key), db.set(key, "v"), db.delete(key)):
        with pytest.raises(DynamoDBError) as caught:
            await call
        error = caught.value
        assert (error.code, error.size, error.limit, error.outcome) == ("invalid_key", size, 2048, "not_applied")


async def test_the_largest_value_fits_with_the_longest_key(db: DynamoDB, *, is_moto: bool) -> None:
    """What the limits allow, the server takes."""
    value = "v" * (MOTO_ITEM_BYTES - 2048 - 200 if is_moto else db.limits.max_value_bytes)
    await db.set_expiring("k" * 2048, value, 2e9)
    assert await db.get("k" * 2048) == value


async def test_a_larger_value_is_refused(db: DynamoDB) -> None:
    """A value over the limit, counted in bytes, is refused with its size and the limit."""
    limit = db.limits.max_value_bytes
    for value in ("v" * (limit + 1), "é" * (limit // 2) + "vv"):
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", value)
        error = caught.value
        assert (error.code, error.size, error.limit) == ("value_too_large", limit + 1, limit)
    assert await db.get("k") is None


def test_limits_leave_room_for_the_longest_key_and_later_attributes() -> None:
    """The limits count the configured names and those that later capabilities will write."""
    names = len("id" + "value" + "expires_at" + "kvik_w" + "kvik_x")
    limits = DynamoDB("table", partition_key_name="id").limits
    assert (limits.max_key_bytes, limits.max_value_bytes) == (2048, 409_600 - 2048 - 128 - names)
    assert DynamoDB("table", ttl_attribute="t").limits.max_value_bytes == limits.max_value_bytes + len("expires_a")


@pytest.mark.parametrize(("wrong", "named"), [(None, "NoneType"), (b"k", "bytes"), (1, "int")])
async def test_a_wrong_type_is_named(db: DynamoDB, wrong: str, named: str) -> None:
    """A key or value that is no str is refused by its type's name."""
    for call, code in ((db.get(wrong), "invalid_key"), (db.set("k", wrong), "invalid_value")):
        with pytest.raises(DynamoDBError, match=named) as caught:
            await call
        assert caught.value.code == code


async def test_a_lone_surrogate_is_refused(db: DynamoDB) -> None:
    """Text that UTF-8 cannot hold is refused, and not quoted."""
    for call, code in ((db.get("secret\ud800"), "invalid_key"), (db.set("k", "secret\ud800"), "invalid_value")):
        with pytest.raises(DynamoDBError) as caught:
            await call
        assert caught.value.code == code
        assert "secret" not in str(caught.value)
