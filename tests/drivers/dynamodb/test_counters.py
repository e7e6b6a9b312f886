"""Counters: ordinary values that several can add to at once."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError
from kvik_dynamodb._counters import TooLongError, Turns

from .conftest import Clock, Maker
from .faults import Exchange, Fault, FaultProxy, drop, forward, lose_reply, lose_reply_and, rewrite, stall

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

MOST = 2**63 - 1


async def test_counting_starts_at_zero(db: DynamoDB) -> None:
    """The sum is given, and stored as text that get, set and GoFr share."""
    assert await db.increment("k", 5) == 5
    assert await db.increment("k", -7) == -2
    assert await db.get("k") == "-2"
    await db.set("k", "40")
    assert await db.increment("k", 2) == 42


async def test_gofrs_numbers_count(db: DynamoDB, raw: "DynamoDBClient", table: str) -> None:
    """A number in an item without a token is added to as well, and its expiry kept."""
    item = {"pk": {"S": "k"}, "value": {"S": "41"}, "expires_at": {"N": "1900000000"}}
    raw.put_item(TableName=table, Item=item)
    assert await db.increment("k", 1) == 42
    (stored,) = raw.scan(TableName=table)["Items"]
    assert stored.pop("kvik_w")
    assert stored == {**item, "value": {"S": "42"}}


async def test_the_expiry_is_kept(db: DynamoDB, clock: Clock) -> None:
    """Counting does not prolong; an expired counter starts again, and stays."""
    expires_at = clock.now + 10.0005
    await db.set_expiring("k", "1", expires_at)
    before = await db.get_versioned("k")
    assert await db.increment("k", 1) == 2
    after = await db.get_versioned("k")
    assert before is not None
    assert after is not None
    assert (after[0], after[2]) == ("2", before[2])
    clock.now = expires_at + 1
    assert await db.increment("k", 3) == 3
    again = await db.get_versioned("k")
    assert again is not None
    assert again[2] is None


async def test_what_is_no_number_is_refused(db: DynamoDB) -> None:
    """Only canonical decimal of 64 bits counts; nothing is written."""
    for text in (
        "",
        "x",
        " 1",
        "1 ",
        "+1",
        "01",
        "-",
        "-0",
        "-01",
        "1.0",
        "1e3",
        "1_0",
        "\u0661",
        "9" * 19,
        "9" * 20,
        "1\n",
    ):
        await db.set("k", text)
        before = await db.get_versioned("k")
        with pytest.raises(DynamoDBError) as caught:
            await db.increment("k", 1)
        assert (caught.value.code, caught.value.outcome) == ("invalid_value", "not_applied")
        assert await db.get_versioned("k") == before


async def test_64_bits_are_the_most(db: DynamoDB) -> None:
    """A sum beyond is refused, as is a delta."""
    assert await db.increment("k", MOST) == MOST
    assert await db.increment("low", -MOST - 1) == -MOST - 1
    for key, delta in (("k", 1), ("low", -1), ("k", MOST + 1), ("k", -MOST - 2)):
        with pytest.raises(DynamoDBError) as caught:
            await db.increment(key, delta)
        assert caught.value.code == "invalid_value"
    assert await db.get_many(["k", "low"]) == {"k": str(MOST), "low": str(-MOST - 1)}


async def test_a_wrong_delta_is_named_by_its_type(db: DynamoDB) -> None:
    """Neither a float nor a bool is a delta."""
    for delta in (1.0, True, "1"):
        with pytest.raises(DynamoDBError, match=type(delta).__name__) as caught:
            await db.increment("k", delta)  # type: ignore[arg-type]  # the subject
        assert caught.value.code == "invalid_value"


async def test_tasks_of_a_process_take_turns(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Nobody is refused by a condition: one read and one write each, and the queue leaves nothing behind."""
    async with behind_proxy() as db:
        seen = len(proxy.operations)
        sums = await asyncio.gather(*(db.increment("k", 1) for _ in range(12)))
        assert sums == list(range(1, 13))
        assert proxy.operations[seen:] == ["GetItem", "PutItem"] * 12
        assert len(db._counters._turns) == 0  # noqa: SLF001 - a leak would show nowhere else


async def test_a_cancelled_task_gives_its_turn_away(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Whether at work or waiting, it holds up nobody."""
    async with behind_proxy() as db:
        proxy.script.append(stall)
        at_work, waiting, last = (asyncio.create_task(db.increment("k", 1)) for _ in range(3))
        await proxy.stalled.acquire()
        waiting.cancel()
        at_work.cancel()
        proxy.release()
        assert await last == 1
        assert len(db._counters._turns) == 0  # noqa: SLF001 - a leak would show nowhere else


async def test_turns_are_bounded_in_time() -> None:
    """Who waits too long gives up, and who comes later still has a turn."""
    turns = Turns()
    async with turns.turn("k", within=10.0):
        with pytest.raises(TooLongError):
            async with turns.turn("k", within=0.01):
                raise AssertionError("not reached")
        async with turns.turn("other", within=10.0):
            assert len(turns) == 2
    async with turns.turn("k", within=10.0):
        assert len(turns) == 1
    assert len(turns) == 0


async def test_two_writers_add_up(behind_proxy: Maker, db: DynamoDB) -> None:
    """Two drivers, as of two processes, meet at conditions, and no count is lost."""
    async with behind_proxy() as other:
        sums = await asyncio.gather(*(each.increment("k", 1) for _ in range(10) for each in (db, other)))
    assert sorted(sums) == list(range(1, 21))


@pytest.fixture
def rival(proxy: FaultProxy, raw: "DynamoDBClient", table: str) -> Fault:
    """Give a fault by which somebody else is faster."""

    async def write_first(exchange: Exchange) -> bytes:
        item = {"pk": {"S": "k"}, "value": {"S": "0"}, "kvik_w": {"S": f"other{len(proxy.operations)}"}}
        await asyncio.to_thread(raw.put_item, TableName=table, Item=item)
        return await forward()(exchange)

    return write_first


async def test_contention_is_overcome(behind_proxy: Maker, proxy: FaultProxy, rival: Fault) -> None:
    """Who was not the fastest goes on from what he found, without another read."""
    async with behind_proxy() as db:
        proxy.script.extend([forward(), rival, rival, rival])
        assert await db.increment("k", 1) == 1
        assert proxy.operations[-5:] == ["GetItem", *["PutItem"] * 4]


async def test_contention_without_end_is_throttled(
    behind_proxy: Maker, proxy: FaultProxy, rival: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the next pause would pass the deadline, that ends it, with a reason and nothing written."""
    monkeypatch.setattr("kvik_dynamodb._counters._FIRST_PAUSE", 1000.0)
    monkeypatch.setattr("kvik_dynamodb._counters._LONGEST_PAUSE", 1000.0)
    monkeypatch.setattr("random.uniform", lambda _shortest, longest: longest)
    async with behind_proxy() as db:
        proxy.script.extend([forward(), rival])
        with pytest.raises(DynamoDBError) as caught:
            await db.increment("k", 1)
        error = caught.value
        assert (error.code, error.reason, error.outcome) == ("throttled", "contention", "not_applied")
        assert error.retryable
        assert await db.get("k") == "0"


async def test_a_turn_that_does_not_come_is_throttled(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A queue longer than the caller's time is contention too."""
    async with behind_proxy() as db:
        proxy.script.append(stall)
        first = asyncio.create_task(db.increment("k", 1))
        await proxy.stalled.acquire()
        db.use_deadline(lambda: 0.05)
        with pytest.raises(DynamoDBError) as caught:
            await db.increment("k", 1)
        assert (caught.value.code, caught.value.reason) == ("throttled", "contention")
        assert caught.value.outcome == "not_applied"
        proxy.release()
        assert await first == 1


async def test_a_lost_reply_counts_once(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """The retry recognises the token of the first attempt."""
    async with behind_proxy() as db:
        for expected in (1, 2):
            proxy.script.extend([forward(), lose_reply, drop])
            assert await db.increment("k", 1) == expected
        assert await db.get("k") == "2"


async def test_a_lost_reply_and_another_writer_leave_doubt(
    behind_proxy: Maker, proxy: FaultProxy, raw: "DynamoDBClient", table: str
) -> None:
    """To go on would perhaps count twice: it is a conflict with an unknown outcome."""
    item = {"pk": {"S": "k"}, "value": {"S": "7"}, "kvik_w": {"S": "theirs"}}
    async with behind_proxy() as db:
        act = lose_reply_and(lambda: raw.put_item(TableName=table, Item=item))
        proxy.script.extend([rewrite(lambda reply: reply), act])
        with pytest.raises(DynamoDBError) as caught:
            await db.increment("k", 1)
        assert (caught.value.code, caught.value.outcome) == ("conflict", "unknown")
        assert caught.value.current == ("7", "theirs", None)


COUNT = """
import asyncio, sys
from kvik_dynamodb import DynamoDB

async def task(db, times):
    for _ in range(times):
        await db.increment("k", 1)

async def main(table, endpoint, transport, times):
    patient = {"connect_timeout": 10, "read_timeout": 10, "total_timeout": 60}
    async with DynamoDB(table, "eu-west-1", endpoint, transport=transport, **patient) as db:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*[task(db, int(times)) for _ in range(4)])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_lose_no_count(
    db: DynamoDB, table: str, dynamodb_endpoint: str, transport: str, *, is_moto: bool
) -> None:
    """Eight tasks in two processes count to 1000 together; on moto, which is slower, to 40."""
    times = 5 if is_moto else 125
    program = [sys.executable, "-W", "error", "-c", COUNT, table, dynamodb_endpoint, transport, str(times)]
    processes = [await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0]
    assert await db.get("k") == str(8 * times)


@pytest.mark.parametrize("expires_at", [None, {"N": "1900000000"}])
@pytest.mark.parametrize("token", [None, {"S": "a-token"}])
async def test_an_item_of_another_program_keeps_its_attributes(
    db: DynamoDB, raw: "DynamoDBClient", table: str, token: Any, expires_at: Any
) -> None:
    """A count changes value and version, and leaves what another program keeps beside them as it is."""
    theirs: dict[str, Any] = {"owner": {"S": "Ada"}, "tags": {"SS": ["a", "b"]}}
    ours = {name: given for name, given in {"kvik_w": token, "expires_at": expires_at}.items() if given}
    raw.put_item(TableName=table, Item={"pk": {"S": "k"}, "value": {"S": "41"}, **theirs, **ours})
    assert await db.increment("k", 1) == 42
    item = raw.get_item(TableName=table, Key={"pk": {"S": "k"}})["Item"]
    assert {name: item[name] for name in theirs} == theirs
    assert (item["value"], item.get("expires_at"), item["kvik_w"] != token) == ({"S": "42"}, expires_at, True)
    assert await db.increment("k", 1) == 43


async def test_an_expired_item_of_another_program_does_not_come_back(
    db: DynamoDB, raw: "DynamoDBClient", table: str
) -> None:
    """It is absent, so that a count begins anew, without its attributes and without its expiry."""
    item: dict[str, Any] = {
        "pk": {"S": "k"},
        "value": {"S": "41"},
        "owner": {"S": "Ada"},
        "expires_at": {"N": "1"},
    }
    raw.put_item(TableName=table, Item=item)
    assert await db.increment("k", 1) == 1
    assert raw.get_item(TableName=table, Key={"pk": {"S": "k"}})["Item"].keys() == {"pk", "value", "kvik_w"}


async def test_a_lost_reply_counts_once_beside_other_attributes(
    behind_proxy: Maker, proxy: FaultProxy, raw: "DynamoDBClient", table: str
) -> None:
    """The update that keeps them has a token as well, which proves that it happened."""
    raw.put_item(TableName=table, Item={"pk": {"S": "k"}, "value": {"S": "1"}, "owner": {"S": "Ada"}})
    async with behind_proxy() as db:
        proxy.script.extend([forward(), lose_reply])
        assert await db.increment("k", 1) == 2
        assert await db.get("k") == "2"
    assert proxy.operations[-4:] == ["GetItem", "UpdateItem", "UpdateItem", "GetItem"]
