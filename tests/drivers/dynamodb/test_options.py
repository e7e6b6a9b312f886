"""What can be configured, and what is refused at once."""

from typing import Any

import boto3
import pytest

import kvik_dynamodb
from kvik_dynamodb import DynamoDB, DynamoDBError


def test_exported_names() -> None:
    """The package exports these names and no others."""
    assert kvik_dynamodb.__all__ == ["DynamoDB", "DynamoDBError", "Limits"]


def test_gofrs_options_by_name() -> None:
    """The four options of GoFr's driver are keywords here."""
    db = DynamoDB(table="my-table", region="us-east-1", endpoint="", partition_key_name="pk")
    assert "table='my-table', region='us-east-1', endpoint='', partition_key_name='pk'" in repr(db)


def test_spans_name_the_table() -> None:
    """The driver says in OpenTelemetry's words what it is."""
    attributes = DynamoDB("my-table").trace_attributes
    assert attributes == {"db.system.name": "aws.dynamodb", "db.collection.name": "my-table"}


def test_repr_holds_no_secret() -> None:
    """A session's credentials do not show."""
    session = boto3.Session(aws_access_key_id="AKIDX", aws_secret_access_key="hidden")  # noqa: S106 - a dummy
    db = DynamoDB("my-table", session=session)
    assert not {"AKIDX", "hidden"} & set(repr(db).replace("'", " ").split())
    assert "session" not in repr(db)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": ""}, "table is required"),
        ({"table": None}, "table must be a str, not NoneType"),
        ({"table": "no spaces"}, "no table name"),
        ({"table": "ab"}, "no table name"),
        ({"region": 1}, "region must be a str or None, not int"),
        ({"endpoint": "localhost:8000"}, "endpoint must be a URL"),
        ({"endpoint": "http://"}, "endpoint must be a URL"),
        ({"endpoint": "http://localhost:x"}, "endpoint must be a URL"),
        ({"endpoint": f"http://{'a' * 64}.example"}, "endpoint must be a URL"),
        ({"endpoint": "http://user:hidden@localhost"}, "no user, password or query"),
        ({"partition_key_name": ""}, "partition_key_name must have"),
        ({"partition_key_name": "k" * 256}, "partition_key_name must have"),
        ({"partition_key_name": "value"}, "name of another attribute"),
        ({"partition_key_name": "expires_at"}, "name of another attribute"),
        ({"partition_key_name": "kvik_w"}, "name of another attribute"),
        ({"partition_key_name": "\ud800"}, "partition_key_name must have"),
        ({"ttl_attribute": ""}, "ttl_attribute must have"),
        ({"ttl_attribute": 1}, "ttl_attribute must be a str, not int"),
        ({"ttl_attribute": "pk"}, "ttl_attribute 'pk' is the name of another attribute"),
        ({"ttl_attribute": "kvik_x"}, "name of another attribute"),
        ({"health_key": ""}, "health_key: a key has 1 to 2048 bytes"),
        ({"max_connections": 0}, "max_connections must be an int"),
        ({"max_connections": True}, "max_connections must be an int"),
        ({"connect_timeout": 0}, "connect_timeout must be a finite number"),
        ({"read_timeout": float("nan")}, "read_timeout must be a finite number"),
        ({"read_timeout": "2"}, "read_timeout must be a finite number"),
        ({"total_timeout": float("inf")}, "total_timeout must be a finite number"),
        ({"total_timeout": True}, "total_timeout must be a finite number"),
    ],
)
def test_bad_configuration_is_refused(options: dict[str, Any], said: str) -> None:
    """An option that cannot work is named when the driver is made, and a password is not repeated."""
    with pytest.raises(DynamoDBError, match=said) as caught:
        DynamoDB(**{"table": "my-table", **options})
    assert caught.value.code == "misconfigured"
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"table": "arn:aws:dynamodb:eu-west-1:123456789012:table/my-table"},
        {"endpoint": "https://dynamodb.eu-west-1.amazonaws.com"},
        {"endpoint": "http://[::1]:8001/"},
        {"connect_timeout": 1, "total_timeout": 0.5},
        {"partition_key_name": "expires_at", "ttl_attribute": "ttl"},
    ],
)
def test_unusual_configuration_is_accepted(options: dict[str, Any]) -> None:
    """A table's ARN, any HTTP endpoint, and whole seconds are fine."""
    DynamoDB(**{"table": "my-table", **options})
