"""Secondary indexes on what the driver writes: an index refuses items that it has no place for."""

import json
from typing import TYPE_CHECKING

import pytest

from kvik_dynamodb._doctor import main as doctor

from .conftest import PATIENT, Maker
from .sources import failure_of

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def indexed(raw: "DynamoDBClient", table_name: str) -> str:
    """Return the name of a table with a secondary index on the values."""
    names = ("pk", "value")
    raw.create_table(
        TableName=table_name,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_value",
                "KeySchema": [{"AttributeName": "value", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    return table_name


async def test_an_index_on_the_values_is_named(
    new_driver: Maker, indexed: str, dynamodb_endpoint: str, *, is_moto: bool
) -> None:
    """A value that a secondary index does not take is not said to be a matter of the table's own key."""
    async with new_driver(indexed, "eu-west-1", dynamodb_endpoint, **PATIENT) as db:
        await db.set("k", "v")
        if is_moto:  # which takes it
            return
        for call in (db.set("k", ""), db.set_many({"k": ""}), db.set_if("l", "", None)):
            error = await failure_of(call)
            assert (error.code, error.cause, error.outcome) == ("misconfigured", "secondary index", "not_applied")
            assert "secondary index" in str(error)
        assert await db.get("k") == "v"


def test_the_doctor_finds_an_index_on_the_values(
    indexed: str, dynamodb_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names index and attribute, and fails."""
    place = ("--region", "eu-west-1", "--endpoint", dynamodb_endpoint)
    assert doctor(["doctor", "--table", indexed, *place, "--json"]) == 1
    findings = {each["name"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["key_schema"]["status"] == "failed"
    assert "secondary index 'by_value' has 'value' as a key" in findings["key_schema"]["message"]
