"""Connecting, creating the table, and closing."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError
from kvik_dynamodb._item import Layout
from kvik_dynamodb._table import ensure_table

from .conftest import Maker, threads_of_drivers
from .faults import FaultProxy, answer, drip, stall

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], object]:
    """Leave botocore no credentials and no region; give a function that provides credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    found = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n"
    return lambda: (tmp_path / "credentials").write_text(found)


def every_verb(db: DynamoDB) -> list[Coroutine[Any, Any, object]]:
    """Give one call of each."""
    return [
        *(db.get("k"), db.set("k", "v"), db.set_expiring("k", "v", 2e9), db.delete("k")),
        *(db.get_versioned("k"), db.set_if("k", "v", None), db.delete_if("k", "version")),
        *(db.get_many(["k"]), db.set_many({"k": "v"}), db.delete_many(["k"]), db.get_many([])),
        *(db.increment("k", 1), db.scan("", None, 10)),
    ]


async def fails(call: Any) -> DynamoDBError:
    """Await what must fail, and give its error."""
    with pytest.raises(DynamoDBError) as caught:
        await call
    return caught.value


async def test_connect_twice_is_harmless(db: DynamoDB) -> None:
    """A connected driver stays as it is."""
    await db.connect()
    await db.set("k", "v")
    assert await db.get("k") == "v"


async def test_create_table_creates_what_is_missing(
    new_driver: Maker, table_name: str, raw: "DynamoDBClient", dynamodb_endpoint: str
) -> None:
    """With create_table, connect makes an on-demand table with the partition key alone."""
    async with new_driver(table_name, "eu-west-1", dynamodb_endpoint, "id", create_table=True) as db:
        await db.set("k", "v")
    made = raw.describe_table(TableName=table_name)["Table"]
    assert made["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert made["AttributeDefinitions"] == [{"AttributeName": "id", "AttributeType": "S"}]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    sweeper = raw.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
    assert sweeper == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


async def test_create_table_leaves_a_table_alone(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """With the table there, create_table needs no permission on the control plane."""
    async with behind_proxy(create_table=True):
        pass
    assert proxy.operations == ["GetItem"]


async def test_two_drivers_create_one_table(new_driver: Maker, table_name: str, dynamodb_endpoint: str) -> None:
    """Creating the same table at the same time succeeds for both."""
    first, second = (new_driver(table_name, "eu-west-1", dynamodb_endpoint, create_table=True) for _ in range(2))
    await asyncio.gather(first.connect(), second.connect())
    await first.set("k", "v")
    assert await second.get("k") == "v"
    await first.close()
    await second.close()


async def test_concurrent_connects_make_one_table(new_driver: Maker, table_name: str, proxy: FaultProxy) -> None:
    """Connects of one driver wait for each other, so that the work is done once."""
    db = new_driver(table_name, "eu-west-1", proxy.url, create_table=True)
    await asyncio.gather(db.connect(), db.connect(), db.connect())
    assert proxy.operations.count("CreateTable") == 1
    await db.close()


async def test_table_creation_waits_until_the_table_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is being deleted, then missing, then somebody else's, is awaited until it is ACTIVE."""
    monkeypatch.setattr("kvik_dynamodb._table._FIRST_PAUSE", 0.001)
    missing = DynamoDBError("", code="misconfigured", cause="no such table")
    in_use = DynamoDBError("", code="misconfigured", cause="request refused", reason="ResourceInUseException")
    answers = iter(["DELETING", missing, in_use, missing, None, "CREATING", "ACTIVE", None])
    operations = []

    async def call(operation: str, _payload: dict[str, Any]) -> dict[str, Any]:
        operations.append(operation)
        if isinstance(found := next(answers), DynamoDBError):
            raise found
        return {"Table": {"TableStatus": found}}

    await ensure_table(call, Layout("my-table", "pk", "expires_at"))
    assert operations == [
        *("DescribeTable", "DescribeTable", "CreateTable", "DescribeTable", "CreateTable"),
        *("DescribeTable", "DescribeTable", "UpdateTimeToLive"),
    ]


async def test_table_creation_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that never becomes ACTIVE is an error that says so."""
    monkeypatch.setattr("kvik_dynamodb._table._LONGEST_WAIT", 0.1)

    async def call(_operation: str, _payload: dict[str, Any]) -> dict[str, Any]:
        return {"Table": {"TableStatus": "CREATING"}}

    error = await fails(ensure_table(call, Layout("my-table", "pk", "expires_at")))
    assert error.code == "deadline_exceeded"
    assert "not ACTIVE" in str(error)


REFUSED = DynamoDBError("", code="misconfigured", cause="request refused")


@pytest.mark.parametrize(
    ("found", "fine"),
    [
        ({"TimeToLiveStatus": "ENABLING", "AttributeName": "ends"}, True),
        ({"TimeToLiveStatus": "ENABLED", "AttributeName": "ends"}, True),
        ({"TimeToLiveStatus": "ENABLED", "AttributeName": "another"}, False),
        ({"TimeToLiveStatus": "DISABLED"}, False),
    ],
)
async def test_a_sweeper_that_somebody_else_turned_on_is_fine(found: dict[str, str], *, fine: bool) -> None:
    """DynamoDB refuses to turn the TTL on twice; that it is on for the same attribute is all that counts."""

    async def call(operation: str, _payload: dict[str, Any]) -> dict[str, Any]:
        if operation == "UpdateTimeToLive":
            raise REFUSED
        return {"Table": {"TableStatus": "ACTIVE"}, "TimeToLiveDescription": found}

    creation = ensure_table(call, Layout("my-table", "pk", "ends"))
    if fine:
        await creation
    else:
        assert await fails(creation) is REFUSED


@pytest.mark.parametrize("refused", ["DescribeTable", "CreateTable"])
async def test_table_creation_without_permission_says_so(
    new_driver: Maker, table_name: str, proxy: FaultProxy, refused: str
) -> None:
    """A control plane that refuses is not taken for a missing table, nor for a race."""
    missing, denied = answer("ResourceNotFoundException"), answer("AccessDeniedException")
    proxy.script.extend([missing, denied] if refused == "DescribeTable" else [missing, missing, denied])
    db = new_driver(table_name, "eu-west-1", proxy.url, create_table=True)
    error = await fails(db.connect())
    assert (error.code, proxy.operations[-1]) == ("access_denied", refused)
    await db.close()


async def test_missing_table_says_what_to_do(new_driver: Maker, table_name: str, dynamodb_endpoint: str) -> None:
    """Connect names table, region and endpoint, and both ways out; the driver works once the table is there."""
    db = new_driver(table_name, "eu-west-1", dynamodb_endpoint)
    error = await fails(db.connect())
    assert (error.code, error.cause, error.retryable) == ("misconfigured", "no such table", False)
    assert str(error) == (
        f"there is no table '{table_name}' in eu-west-1 at {dynamodb_endpoint}:"
        " create it, or pass create_table=True for development"
    )
    async with new_driver(table_name, "eu-west-1", dynamodb_endpoint, create_table=True):
        await db.set("k", "v")
    await db.close()


async def test_wrong_key_schema_is_told_apart(new_driver: Maker, table_name: str, dynamodb_endpoint: str) -> None:
    """A table with another partition key is found at connect and by health."""
    async with new_driver(table_name, "eu-west-1", dynamodb_endpoint, "other", create_table=True):
        db = new_driver(table_name, "eu-west-1", dynamodb_endpoint)
        error = await fails(db.connect())
        assert (error.code, error.cause) == ("misconfigured", "wrong key schema")
        assert "partition_key_name" in str(error)
        assert (await db.health_check())["details"]["error"] == "wrong key schema"
        assert (await fails(db.set("k", "v"))).cause == "wrong key schema"
        await db.close()


async def test_unreachable_server_is_told_and_recovered_from(
    new_driver: Maker, table: str, dynamodb_endpoint: str
) -> None:
    """Connect fails while nothing listens; calls work by themselves when the server is there."""
    async with FaultProxy(dynamodb_endpoint) as proxy:
        url = proxy.url
    db = new_driver(table, "eu-west-1", url)
    error = await fails(db.connect())
    assert (error.code, error.cause, error.retryable) == ("unavailable", "network", True)
    assert url in str(error)
    assert (await fails(db.set("k", "v"))).outcome == "not_applied"
    async with FaultProxy(dynamodb_endpoint, port=int(url.rpartition(":")[2])):
        await db.set("k", "v")
        assert (await db.health_check())["status"] == "UP"
    await db.close()


async def test_missing_credentials_say_what_to_do(
    new_driver: Maker, table: str, dynamodb_endpoint: str, no_credentials: Callable[[], object]
) -> None:
    """Without credentials connect fails at once; when some appear, the next health check finds them."""
    db = new_driver(table, "eu-west-1", dynamodb_endpoint)
    error = await fails(db.connect())
    assert (error.code, error.cause, error.outcome) == ("access_denied", "credentials", "not_applied")
    assert "AWS_ACCESS_KEY_ID" in str(error)
    assert (await fails(db.get("k"))).cause == "credentials"
    assert (await db.health_check())["details"]["error"] == "credentials"
    no_credentials()
    assert (await db.health_check())["status"] == "UP"
    assert await db.get("k") is None
    await db.close()


@pytest.mark.usefixtures("no_credentials")
async def test_missing_region_says_what_to_do(new_driver: Maker, table: str, dynamodb_endpoint: str) -> None:
    """With no region anywhere there is no client, and everything says so."""
    db = new_driver(table, endpoint=dynamodb_endpoint)
    error = await fails(db.connect())
    assert (error.code, error.cause) == ("misconfigured", "configuration")
    assert "AWS_DEFAULT_REGION" in str(error)
    assert "not connected" in str(await fails(db.get("k")))
    details = {"table": table, "region": None, "error": "configuration"}
    assert await db.health_check() == {"status": "DOWN", "details": details}
    await db.close()


async def test_missing_profile_says_what_to_do(
    new_driver: Maker, table: str, dynamodb_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that is not configured is a matter of credentials."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    db = new_driver(table, "eu-west-1", dynamodb_endpoint)
    assert (await fails(db.connect())).reason == "ProfileNotFound"
    await db.close()


async def test_region_comes_from_the_aws_configuration(
    new_driver: Maker, table: str, dynamodb_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a region the AWS configuration's is taken, and health shows it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    async with new_driver(table, endpoint=dynamodb_endpoint) as db:
        assert (await db.health_check())["details"]["region"] == "eu-west-1"


@pytest.mark.usefixtures("no_credentials")
async def test_session_brings_credentials_and_region(
    new_driver: Maker, table: str, dynamodb_endpoint: str
) -> None:
    """A session's own configuration is used instead of the environment's."""
    session = boto3.Session("test", "test", region_name="eu-west-1")
    async with new_driver(table, endpoint=dynamodb_endpoint, session=session) as db:
        assert (await db.health_check())["details"] == {"table": table, "region": "eu-west-1"}


async def test_calls_before_connect_say_so() -> None:
    """A driver that was never connected says what is missing; its health is DOWN."""
    db = DynamoDB("my-table", "eu-west-1")
    for call in every_verb(db):
        assert "not connected" in str(await fails(call))
    assert (await db.health_check())["details"]["error"] == "not connected"
    await db.close()


async def test_calls_after_close_say_so(db: DynamoDB) -> None:
    """A closed driver says so; closing again is fine; health is DOWN."""
    await db.close()
    await db.close()
    for call in every_verb(db):
        assert "closed" in str(await fails(call))
    assert (await db.health_check())["details"]["error"] == "closed"


async def test_connect_after_close_opens_again(db: DynamoDB) -> None:
    """A closed driver can be connected again, as a test client does that starts an app twice."""
    await db.set("k", "v")
    await db.close()
    await db.connect()
    assert await db.get("k") == "v"


async def test_closed_transport_refuses_calls(new_driver: Maker) -> None:
    """The transport itself refuses what comes after its close, on both lanes."""
    db = new_driver("my-table", "eu-west-1", "http://127.0.0.1:9")
    await fails(db.connect())
    transport = db._connection._transport  # noqa: SLF001 - the seam is the subject
    assert transport is not None
    await db.close()
    for reserved in (False, True):
        call = transport.call("GetItem", {}, asyncio.get_running_loop().time() + 1, reserved=reserved)
        assert "closed" in str(await fails(call))


async def test_closed_driver_leaves_no_thread(db: DynamoDB) -> None:
    """After close no worker thread is left."""
    await asyncio.gather(*(db.get(f"k{number}") for number in range(50)))
    await db.close()
    assert threads_of_drivers() == []


async def test_failed_connect_in_a_with_block_leaves_no_thread(
    new_driver: Maker, table_name: str, dynamodb_endpoint: str
) -> None:
    """A with block whose connect fails closes what was opened."""
    with pytest.raises(DynamoDBError, match="there is no table"):
        async with new_driver(table_name, "eu-west-1", dynamodb_endpoint):
            raise AssertionError("not reached")
    assert threads_of_drivers() == []


async def test_close_during_connect_ends_it(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A close while connects are under way, or queued, wins over them, and nothing is left."""
    proxy.script.append(stall)
    db = behind_proxy()
    connects = [asyncio.create_task(db.connect()) for _ in range(2)]
    await proxy.stalled.acquire()
    closing = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    proxy.release()
    await closing
    for connect in connects:
        assert "closed" in str(await fails(connect))
    assert threads_of_drivers() == []


async def test_close_lets_running_calls_finish(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A call that is under way at close gets its answer; one that waits for a connection is refused."""
    db = behind_proxy(max_connections=1)
    await db.connect()
    running, waiting = asyncio.create_task(db.set("a", "1")), asyncio.create_task(db.set("b", "2"))
    await asyncio.sleep(0)
    await db.close()
    await running
    error = await fails(waiting)
    assert (error.cause, error.outcome) == ("closed", "not_applied")
    assert proxy.operations == ["GetItem", "PutItem"]


async def test_close_does_not_wait_for_a_server_that_drips(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A call whose answer trickles in without end holds up neither its caller nor close."""
    db = behind_proxy(connect_timeout=0.1, read_timeout=0.1, total_timeout=0.3)
    proxy.script.extend([drip] * 4)
    assert (await fails(db.connect())).code == "deadline_exceeded"
    await db.close()
    await proxy.close()
    assert threads_of_drivers() == []
