"""Versions, and writes that happen only if one still holds."""

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import Clock, Maker
from .faults import JSON, FaultProxy, answer, drop, lose_reply, lose_reply_and, rewrite

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


async def conflict_of(call: Any) -> DynamoDBError:
    """Await what must be a conflict, and give it."""
    with pytest.raises(DynamoDBError) as caught:
        await call
    assert caught.value.code == "conflict"
    assert not caught.value.retryable
    return caught.value


async def version_of(db: DynamoDB, key: str) -> str:
    """Give the version that is stored."""
    versioned = await db.get_versioned(key)
    assert versioned is not None
    return versioned[1]


async def test_write_and_delete_with_the_right_version(db: DynamoDB) -> None:
    """A new key, a change, a deletion, each by the version before."""
    first = await db.set_if("k", "1", None)
    assert await db.get_versioned("k") == ("1", first, None)
    second = await db.set_if("k", "2", first, 2e9)
    assert await db.get_versioned("k") == ("2", second, 2e9)
    await db.delete_if("k", second)
    assert await db.get_versioned("k") is None


async def test_a_conflict_tells_what_is_there_and_changes_nothing(db: DynamoDB) -> None:
    """Current is what get_versioned gives."""
    version = await db.set_if("k", "v", None, 2e9)
    for call in (db.set_if("k", "w", None), db.set_if("k", "w", "A" * 22), db.delete_if("k", "A" * 22)):
        error = await conflict_of(call)
        assert (error.current, error.outcome) == (("v", version, 2e9), "not_applied")
    assert await db.get_versioned("k") == ("v", version, 2e9)


async def test_a_missing_key_has_no_version(db: DynamoDB) -> None:
    """To change or delete it by a version is a conflict with nothing."""
    for call in (db.set_if("k", "w", "A" * 22), db.delete_if("k", "A" * 22)):
        error = await conflict_of(call)
        assert (error.current, error.outcome) == (None, "not_applied")


async def test_a_version_never_issued_is_a_conflict(db: DynamoDB) -> None:
    """Whatever the text, it is no error of another kind."""
    await db.set("k", "v")
    for version in ("", "v:", "v:abc", " ", "\0", "é", "\ud800", "x" * 3000, "🦊"):
        for call in (db.set_if("k", "w", version), db.delete_if("k", version), db.set_if("other", "w", version)):
            await conflict_of(call)
    assert await db.get("k") == "v"


async def test_every_write_makes_a_new_version(db: DynamoDB) -> None:
    """Also a write of the same value, of any kind."""
    versions = [await db.set_if("k", "1", None)]
    for write in (
        db.set("k", "1"),
        db.set_expiring("k", "1", 2e9),
        db.set_many({"k": "1"}),
        db.increment("k", 0),
        db.increment("k", 0),
    ):
        await write
        versions.append(await version_of(db, "k"))
    versions.append(await db.set_if("k", "1", versions[-1]))
    assert len(set(versions)) == len(versions)


async def test_concurrent_conditional_writes_lose_nothing(db: DynamoDB) -> None:
    """Of several who read, add one and write by the version that they read, none undoes another's."""

    async def add_one() -> None:
        for _ in range(4):
            while True:
                read = await db.get_versioned("k") or ("0", None)
                try:
                    await db.set_if("k", str(int(read[0]) + 1), read[1])
                except DynamoDBError as error:
                    if (error.code, error.outcome) != ("conflict", "not_applied"):
                        raise
                else:
                    break

    await asyncio.gather(*(add_one() for _ in range(4)))
    assert await db.get("k") == "16"


async def test_gofrs_items_have_a_version_too(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """An item without a token goes by its value, until we write it."""
    gofrs = {"pk": {"S": "k"}, "value": {"S": "go"}}
    version = f"v:{sha256(b'go').hexdigest()}"
    raw.put_item(TableName=table, Item=gofrs)
    assert await db.get_versioned("k") == ("go", version, None)
    assert (await conflict_of(db.set_if("k", "w", "v:" + "0" * 64))).current == ("go", version, None)
    ours = await db.set_if("k", "ours", version)
    assert (await conflict_of(db.set_if("k", "w", version))).current == ("ours", ours, None)
    assert (await conflict_of(db.delete_if("k", version))).current == ("ours", ours, None)
    raw.put_item(TableName=table, Item=gofrs)
    await db.delete_if("k", version)
    assert await db.get("k") is None


async def test_gofrs_item_changed_between_read_and_write(
    behind_proxy: Maker, proxy: FaultProxy, raw: "DynamoDBClient", table: str
) -> None:
    """The write demands what was read: a change in between, or a token, is a conflict."""
    version = f"v:{sha256(b'go').hexdigest()}"
    async with behind_proxy() as db:
        for changed in ({"value": {"S": "other"}}, {"value": {"S": "go"}, "kvik_w": {"S": "token"}}):
            raw.put_item(TableName=table, Item={"pk": {"S": "k"}, "value": {"S": "go"}})

            def change(reply: JSON, changed: Any = changed) -> JSON:
                raw.put_item(TableName=table, Item={"pk": {"S": "k"}, **changed})
                return reply

            proxy.script.append(rewrite(change))
            error = await conflict_of(db.set_if("k", "w", version))
            assert error.current is not None
            assert error.current[0] == changed["value"]["S"]


@pytest.mark.parametrize("foreign", [{"value": {"N": "1"}}, {}, {"value": {"S": "v"}, "kvik_w": {"N": "1"}}])
async def test_a_foreign_item_is_corrupt(
    db: DynamoDB, raw: "DynamoDBClient", table: str, foreign: dict[str, Any]
) -> None:
    """It has no version that could be trusted, and is not absent either."""
    raw.put_item(TableName=table, Item={"pk": {"S": "k"}, **foreign})
    for call in (
        db.get_versioned("k"),
        db.set_if("k", "v", None),
        db.set_if("k", "v", "A" * 22),
        db.delete_if("k", "A" * 22),
        db.increment("k", 1),
    ):
        with pytest.raises(DynamoDBError) as caught:
            await call
        assert (caught.value.code, caught.value.outcome) == ("corrupt", "not_applied")
    await db.set("k", "v")
    assert await db.get("k") == "v"


async def test_limits_are_checked(db: DynamoDB) -> None:
    """What does not fit is not sent."""
    for call, code in (
        (db.set_if("k" * 2049, "v", None), "invalid_key"),
        (db.delete_if("", "A" * 22), "invalid_key"),
        (db.get_versioned(""), "invalid_key"),
        (db.set_if("k", "v" * 409_600, None), "value_too_large"),
        (db.set_expiring("k", "v" * 409_600, 2e9), "value_too_large"),
    ):
        with pytest.raises(DynamoDBError) as caught:
            await call
        assert caught.value.code == code


async def test_versioned_reads_are_strong(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Even where plain reads may be a little old."""
    async with behind_proxy(consistent_reads=False) as db:
        await db.get_versioned("k")
    assert proxy.requests[-1]["ConsistentRead"] is True


# Lost replies


async def test_a_write_whose_reply_was_lost_is_no_conflict(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """The retry finds the token of the first attempt, which was applied."""
    async with behind_proxy() as db:
        proxy.script.append(lose_reply)
        first = await db.set_if("k", "1", None)
        proxy.script.extend([lose_reply, drop])
        second = await db.set_if("k", "2", first)
        assert await db.get_versioned("k") == ("2", second, None)


async def test_a_lost_reply_and_another_writer_leave_doubt(
    behind_proxy: Maker, proxy: FaultProxy, raw: "DynamoDBClient", table: str
) -> None:
    """Somebody has written or deleted since: whether we did before, nobody knows."""
    others = {"pk": {"S": "k"}, "value": {"S": "other"}, "kvik_w": {"S": "theirs"}}
    async with behind_proxy() as db:
        version = await db.set_if("k", "1", None)
        proxy.script.append(lose_reply_and(lambda: raw.put_item(TableName=table, Item=others)))
        error = await conflict_of(db.set_if("k", "2", version))
        assert (error.outcome, error.current) == ("unknown", ("other", "theirs", None))
        proxy.script.append(lose_reply_and(lambda: raw.delete_item(TableName=table, Key={"pk": {"S": "k"}})))
        error = await conflict_of(db.set_if("k", "2", "theirs"))
        assert (error.outcome, error.current) == ("unknown", None)


async def test_a_deletion_whose_reply_was_lost_leaves_doubt(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A key that is gone may have been deleted by us or by somebody else."""
    async with behind_proxy() as db:
        version = await db.set_if("k", "1", None)
        proxy.script.append(lose_reply)
        error = await conflict_of(db.delete_if("k", version))
        assert (error.outcome, error.current) == ("unknown", None)
        assert await db.get("k") is None


async def test_doubt_outlives_every_later_failure(
    behind_proxy: Maker, proxy: FaultProxy, raw: "DynamoDBClient", table: str
) -> None:
    """A refused retry, and a failed look at what is there, prove nothing."""
    delete = lose_reply_and(lambda: raw.delete_item(TableName=table, Key={"pk": {"S": "k"}}))
    foreign = lose_reply_and(lambda: raw.put_item(TableName=table, Item={"pk": {"S": "k"}, "value": {"N": "1"}}))
    denied = answer("AccessDeniedException")
    async with behind_proxy() as db:
        for script, code in (
            ([lose_reply, denied], "access_denied"),
            ([delete, rewrite(lambda reply: reply), denied], "access_denied"),
            ([foreign], "corrupt"),
        ):
            version = await db.set_if("k", "1", None)
            proxy.script.extend(script)
            with pytest.raises(DynamoDBError) as caught:
                await db.set_if("k", "2", version)
            assert (caught.value.code, caught.value.outcome) == (code, "unknown")
            await db.delete("k")


async def test_a_server_that_does_not_tell_is_asked(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Without the item in the refusal, a strong read finds what is there."""

    def hide(reply: JSON) -> JSON:
        assert reply.pop("Item")
        return reply

    forget = rewrite(hide)
    async with behind_proxy(consistent_reads=False) as db:
        version = await db.set_if("k", "v", None)
        proxy.script.append(forget)
        assert (await conflict_of(db.set_if("k", "w", "A" * 22))).current == ("v", version, None)
        assert (proxy.operations[-1], proxy.requests[-1]["ConsistentRead"]) == ("GetItem", True)
        proxy.script.extend([lose_reply, forget])
        second = await db.set_if("k", "w", version)
        assert await db.get_versioned("k") == ("w", second, None)


async def test_retries_reuse_the_token(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """All attempts of one write are one write, plain ones as well."""
    async with behind_proxy() as db:
        for call in (db.set("k", "v"), db.set_expiring("k", "v", 2e9), db.set_many({"k": "v"})):
            proxy.script.extend([drop, lose_reply])
            await call
            first, second, third = proxy.requests[-3:]
            assert first == second == third


async def test_one_moment_decides_a_write(db: DynamoDB, clock: Clock) -> None:
    """A write may be expired when it arrives; its own retry is still recognised."""
    version = await db.set_if("k", "v", None, clock.now - 1)
    assert version
    assert await db.get("k") is None
    assert await db.set_if("k", "v", None) != version
