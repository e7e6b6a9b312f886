"""The driver of docs/writing-a-driver.md passes the kit, as that page has them both."""

import re
from pathlib import Path
from typing import Any

import pytest

from kvik.testing import KVStoreConformance

_PAGE = Path(__file__).parents[2] / "docs/writing-a-driver.md"

_names: dict[str, Any] = {"__name__": __name__}
for _block in re.findall(r"^```python\n(.*?)^```", _PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
    exec(compile(_block, str(_PAGE), "exec"), _names)  # noqa: S102 - the project's own documentation

TestExpiringFolder = _names["TestExpiringFolder"]


class TestFolder(KVStoreConformance):
    """The four methods with which the page begins pass it too."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Any:
        return _names["Folder"](tmp_path)
