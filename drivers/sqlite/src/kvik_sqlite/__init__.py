"""SQLite as an embedded, durable key-value store."""

from ._driver import SQLite
from ._errors import SQLiteError
from ._limits import Limits

__all__ = ["Limits", "SQLite", "SQLiteError"]
