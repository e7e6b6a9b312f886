"""SQLite as an embedded, durable key-value store."""

from ._driver import SQLite
from ._errors import SQLiteError
from ._limits import Limits

__version__ = "0.1.0"

__all__ = ["Limits", "SQLite", "SQLiteError"]
