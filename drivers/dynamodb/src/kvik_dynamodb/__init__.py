"""Amazon DynamoDB as a key-value store with four coroutines: get, set, delete, health_check."""

from ._driver import DynamoDB
from ._errors import DynamoDBError
from ._item import Limits

__all__ = ["DynamoDB", "DynamoDBError", "Limits"]
