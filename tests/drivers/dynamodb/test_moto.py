"""moto inside the process, as applications' tests use it; in a process of its own, since it changes botocore."""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
from moto import mock_aws
from kvik_dynamodb import DynamoDB, DynamoDBError

async def main():
    async with DynamoDB("my-table", "eu-west-1", create_table=True, transport=sys.argv[1]) as db:
        await db.set("k", "v")
        await db.set_many({"a": "1", "b": "2"})
        assert await db.get_many(["k", "a", "b", "missing"]) == {"k": "v", "a": "1", "b": "2"}
        assert await db.increment("n", 2) == 2
        assert sorted((await db.scan("", None, 10))[0]) == ["a", "b", "k", "n"]
        assert (await db.health_check())["status"] == "UP"
        try:
            await db.set_if("k", "w", None)
        except DynamoDBError as error:
            print(error.code, error.outcome)

with mock_aws():
    asyncio.run(main())
"""


@pytest.mark.parametrize("transport", ["auto", "boto3"])
def test_a_driver_inside_mock_aws(transport: str) -> None:
    """Replies there have no length: it is judged only where one is declared, and all verbs work."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, transport], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("conflict not_applied\n", "")
