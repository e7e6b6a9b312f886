"""The documentation's Python blocks run."""

import ast
import asyncio
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from kvik.config import Settings

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for pattern in (
        "README.md",
        "docs/**/*.md",
        "framework/README.md",
        "drivers/**/README.md",
        "examples/**/README.md",
    )
    for path in sorted(ROOT.glob(pattern))
]


def _blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_main_pages_have_code() -> None:
    """There is something to run on the pages where a newcomer begins."""
    for page in ("README.md", "framework/README.md", "drivers/sqlite/README.md", "drivers/dynamodb/README.md"):
        assert _blocks(ROOT / page), page


@pytest.mark.parametrize(
    "page", [page for page in PAGES if _blocks(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dynamodb_endpoint: str
) -> None:
    """Each block runs in the order of the page, as a reader would type it, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in _blocks(page):
        source = block.replace("http://localhost:8001", dynamodb_endpoint)
        code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)  # noqa: S307 - the project's own documentation
        if inspect.iscoroutine(result):
            asyncio.run(result)


def test_every_setting_is_documented() -> None:
    """The table of the configuration page has each variable that the framework reads, and no other."""
    page = (ROOT / "docs/guide/configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|", page, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"[A-Z_]{4,}", row)}
    assert documented == {field.name.upper() for field in dataclasses.fields(Settings)}
