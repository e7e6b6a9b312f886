"""The contract's own tests, on this driver."""

from pathlib import Path

import pytest

from kvik.testing import KVStoreConformance
from kvik_sqlite import SQLite


class TestConformance(KVStoreConformance):
    """SQLite does all that the contract asks for."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> SQLite:
        return SQLite(tmp_path / "kit.db")


class TestConformanceWithoutCache(KVStoreConformance):
    """It does where no rows are kept, too."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> SQLite:
        return SQLite(tmp_path / "kit.db", cache_bytes=0)
