"""Many keys at once: in few requests, and with an honest account of what failed."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import EventLog, Maker
from .faults import Exchange, Fault, FaultProxy, answer, forward, lose_reply, process_only, stall

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

THROTTLE = answer("ProvisionedThroughputExceededException")
DENY = answer("AccessDeniedException")


async def failure_of(call: Any) -> DynamoDBError:
    """Await what must fail, and give the error."""
    with pytest.raises(DynamoDBError) as caught:
        await call
    return caught.value


def sizes(requests: list[dict[str, Any]], table: str) -> list[int]:
    """Give how many keys each request had, largest first."""
    parts = [request["RequestItems"][table] for request in requests]
    return sorted((len(part["Keys"] if isinstance(part, dict) else part) for part in parts), reverse=True)


async def test_any_number_of_keys(behind_proxy: Maker, proxy: FaultProxy, table: str) -> None:
    """More than a request takes is split: 25 items for a write, 100 keys for a read."""
    items = {f"k{number}": str(number) for number in range(210)}
    async with behind_proxy() as db:
        proxy.requests.clear()
        await db.set_many(items)
        assert sizes(proxy.requests, table) == [25] * 8 + [10]
        proxy.requests.clear()
        assert await db.get_many([*items, "missing"]) == items
        assert sizes(proxy.requests, table) == [100, 100, 11]
        proxy.requests.clear()
        await db.delete_many([*items, "missing"])
        assert sizes(proxy.requests, table) == [25] * 8 + [11]
        assert await db.get_many(list(items)) == {}


async def test_nothing_is_not_sent(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """No keys, no request."""
    async with behind_proxy() as db:
        proxy.requests.clear()
        assert await db.get_many([]) == {}
        await db.set_many({})
        await db.delete_many([])
        assert proxy.requests == []


async def test_duplicates_are_folded_and_order_is_kept(db: DynamoDB) -> None:
    """DynamoDB refuses a key twice; the caller may name it as often as he likes."""
    await db.set_many({"b": "2", "a": "1", "c": "3"})
    assert list((await db.get_many(["c", "a", "c", "x", "b", "a"])).items()) == [
        *(("c", "3"), ("a", "1"), ("b", "2"))
    ]
    await db.delete_many(["a", "b", "a"])
    assert await db.get_many(["a", "b", "c"]) == {"c": "3"}


async def test_large_values_come_in_parts(db: DynamoDB) -> None:
    """A reply has at most 16 MB; the rest is asked for again."""
    items = {f"k{number}": str(number) * 150_000 for number in range(60)}
    await db.set_many(items)
    assert await db.get_many(list(items)) == items


async def test_large_values_are_written_in_parts(behind_proxy: Maker, proxy: FaultProxy, table: str) -> None:
    """About half a megabyte goes into a request, and a value that is nearly as large goes alone."""
    items = {f"k{number}": "v" * size for number, size in enumerate([200_000] * 5 + [1] * 3 + [390_000] * 2)}
    async with behind_proxy() as db:
        proxy.requests.clear()
        await db.set_many(items)
        assert sizes(proxy.requests, table) == [4, 2, 2, 1, 1]
        assert await db.get_many(list(items)) == items


@pytest.mark.parametrize("consistent", [True, False])
async def test_reads_are_as_consistent_as_configured(
    behind_proxy: Maker, proxy: FaultProxy, table: str, *, consistent: bool
) -> None:
    """ConsistentRead is on the request, since no local server shows the difference."""
    async with behind_proxy(consistent_reads=consistent) as db:
        await db.get_many(["k"])
    assert proxy.requests[-1]["RequestItems"][table]["ConsistentRead"] is consistent


async def test_limits_are_checked_before_anything_is_sent(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """One key or value that does not fit refuses the batch."""
    async with behind_proxy() as db:
        proxy.requests.clear()
        for call, code in (
            (db.get_many(["ok", ""]), "invalid_key"),
            (db.delete_many(["ok", "k" * 2049]), "invalid_key"),
            (db.set_many({"ok": "v", "": "v"}), "invalid_key"),
            (db.set_many({"ok": "v", "k": "v" * 409_600}), "value_too_large"),
        ):
            assert (await failure_of(call)).code == code
        assert proxy.requests == []


async def test_what_was_not_processed_is_sent_again(behind_proxy: Maker, proxy: FaultProxy, table: str) -> None:
    """As long as there is progress, at once, and only what is left, with the same tokens."""
    items = {f"k{number}": str(number) for number in range(10)}
    async with behind_proxy() as db:
        for call in (db.set_many(items), db.get_many(list(items)), db.delete_many(list(items))):
            proxy.requests.clear()
            proxy.script.extend([process_only(4), process_only(3), process_only(2)])
            assert await call in (None, items)
            assert sizes(proxy.requests, table) == [10, 6, 3, 1]
            first, second, *_ = (request["RequestItems"][table] for request in proxy.requests)
            if isinstance(first, list):
                assert second == first[4:]
        assert await db.get_many(list(items)) == {}


@pytest.mark.usefixtures("quick_throttling")
async def test_no_progress_is_waited_out(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A server that does nothing for a while is retried with pauses, like one that throttles."""
    log, db = EventLog(), behind_proxy()
    db.use_logger(log)
    async with db:
        proxy.script.extend([process_only(0), process_only(1), process_only(0), process_only(0)])
        await db.set_many({"a": "1", "b": "2"})
        proxy.script.extend([process_only(0)] * 3)
        assert await db.get_many(["a", "b"]) == {"a": "1", "b": "2"}
    assert [(event["operation"], event["code"], event["reason"]) for _, event in log.warnings] == [
        *[("BatchWriteItem", "throttled", "unprocessed")] * 3,
        *[("BatchGetItem", "throttled", "unprocessed")] * 3,
    ]


@pytest.mark.usefixtures("quick_throttling")
async def test_keys_that_are_left_are_errors_not_misses(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Without progress for good: what was done is told, and each other key has its error."""
    async with behind_proxy() as db:
        await db.set_many({"a": "1", "b": "2", "c": "3"})
        db.use_deadline(lambda: 1.0)
        proxy.script.append(process_only(1))
        proxy.otherwise = process_only(0)
        error = await failure_of(db.get_many(["a", "b", "c"]))
        assert (error.code, error.outcome, error.results) == ("partial_failure", "not_applied", {"a": "1"})
        assert error.errors is not None
        assert {key: each.code for key, each in error.errors.items()} == {"b": "throttled", "c": "throttled"}
        proxy.script.append(process_only(2))
        error = await failure_of(db.set_many({"a": "4", "b": "5", "c": "6"}))
        proxy.otherwise = forward()
        assert (error.code, error.outcome, error.results) == ("partial_failure", "unknown", ["a", "b"])
        assert error.errors is not None
        assert (error.errors["c"].code, error.errors["c"].outcome) == ("throttled", "not_applied")
        assert await db.get_many(["a", "b", "c"]) == {"a": "4", "b": "5", "c": "3"}


@pytest.mark.usefixtures("quick_throttling")
async def test_where_nothing_succeeded_the_reason_is_the_error(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """All failed alike: no partial failure, but what happened."""
    keys = [f"k{number}" for number in range(30)]
    async with behind_proxy() as db:
        db.use_deadline(lambda: 1.0)
        proxy.otherwise = process_only(0)
        error = await failure_of(db.get_many(["a", "b"]))
        assert (error.code, error.reason) == ("throttled", "unprocessed")
        proxy.otherwise = THROTTLE
        error = await failure_of(db.set_many(dict.fromkeys(keys, "v")))
        assert (error.code, error.outcome) == ("throttled", "not_applied")
        proxy.otherwise = forward()
        proxy.script.extend([DENY] * 2)
        assert (await failure_of(db.delete_many(keys))).code == "access_denied"


@pytest.mark.usefixtures("quick_throttling")
@pytest.mark.parametrize("fault", [THROTTLE, process_only(0)], ids=["throttled", "unprocessed"])
async def test_a_throttled_batch_goes_on_within_its_time(
    behind_proxy: Maker, proxy: FaultProxy, fault: Fault
) -> None:
    """A table takes a large batch as fast as it can, which may be longer than four attempts."""
    async with behind_proxy() as db:
        proxy.script.extend([fault] * 7)
        await db.set_many({"a": "1", "b": "2"})
        proxy.script.extend([fault] * 7)
        assert await db.get_many(["a", "b"]) == {"a": "1", "b": "2"}
        proxy.script.extend([fault] * 7)
        await db.delete_many(["a", "b"])
        assert not proxy.script
        assert await db.get_many(["a", "b"]) == {}


async def test_one_part_that_fails_does_not_take_the_others_along(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Each request of a batch stands for itself."""
    items = {f"k{number}": "v" for number in range(60)}
    async with behind_proxy() as db:
        proxy.script.append(DENY)
        error = await failure_of(db.set_many(items))
        assert (error.code, error.cause) == ("partial_failure", "access denied")
        assert isinstance(error.results, list)
        assert error.errors is not None
        assert error.results
        assert {*error.results, *error.errors} == items.keys()
        assert {each.code for each in error.errors.values()} == {"access_denied"}
        assert (await db.get_many(list(items))).keys() == set(error.results)


async def test_doubt_stays_with_the_keys_that_are_left(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """The first attempt may have written what a later one did not get to and then failed on."""
    async with behind_proxy() as db:
        proxy.script.extend([lose_reply, process_only(1), DENY])
        error = await failure_of(db.set_many({"a": "1", "b": "2"}))
        assert (error.code, error.outcome, error.results) == ("partial_failure", "unknown", ["a"])
        assert error.errors is not None
        assert (error.errors["b"].code, error.errors["b"].outcome) == ("access_denied", "unknown")
        assert await db.get("b") == "2"


async def test_doubt_stays_within_its_part(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """What one request of a batch left in doubt says nothing about the keys of another."""

    def after(arrived: int, fault: Fault) -> Fault:
        async def wait(exchange: Exchange) -> bytes:
            while len(proxy.requests) < arrived:
                await asyncio.sleep(0.005)
            return await fault(exchange)

        return wait

    async with behind_proxy() as db:
        proxy.requests.clear()
        proxy.script.extend([after(3, lose_reply), after(4, DENY), forward(), DENY])
        error = await failure_of(db.set_many({f"k{number}": "v" for number in range(75)}))
        assert error.errors is not None
        outcomes = [each.outcome for each in error.errors.values()]
        assert sorted(outcomes) == ["not_applied"] * 25 + ["unknown"] * 25


async def test_foreign_items_are_corrupt_by_themselves(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """The others are told all the same; alone it is the error."""
    raw.put_item(TableName=table, Item={"pk": {"S": "foreign"}, "value": {"N": "1"}})
    await db.set("ours", "v")
    error = await failure_of(db.get_many(["ours", "foreign", "missing"]))
    assert (error.code, error.results, error.retryable) == ("partial_failure", {"ours": "v"}, False)
    assert error.errors is not None
    assert {key: each.code for key, each in error.errors.items()} == {"foreign": "corrupt"}
    assert (await failure_of(db.get_many(["foreign"]))).code == "corrupt"


async def test_the_deadline_ends_a_batch(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A server that stalls on one part costs the time that there is."""
    async with behind_proxy() as db:
        proxy.script.append(stall)
        db.use_deadline(lambda: 0.3)
        error = await failure_of(db.set_many({"a": "1"}))
        assert (error.code, error.outcome) == ("deadline_exceeded", "unknown")
        proxy.release()
