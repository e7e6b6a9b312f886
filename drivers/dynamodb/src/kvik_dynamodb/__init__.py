"""Amazon DynamoDB as a key-value store with expiry, versions, counters, batches and scans."""

from ._driver import DynamoDB
from ._errors import DynamoDBError
from ._limits import Limits

__version__ = "0.1.0"

__all__ = ["DynamoDB", "DynamoDBError", "Limits"]
