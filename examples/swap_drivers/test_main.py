"""The same handlers over every store, through the README's own curl lines."""

import shutil
from pathlib import Path

import pytest

from support import answers_as_shown, calls_in, curl, program

from .main import FolderStore, app

HERE = Path(__file__).parent


@pytest.mark.parametrize("store", ["memory", "sqlite", "folder", "dynamodb"])
def test_the_readmes_lines_answer_the_same(store: str, tmp_path: Path, dynamodb_endpoint: str) -> None:
    """Each curl line of the README answers what the README shows, whatever the store."""
    calls = calls_in(HERE / "README.md")
    assert calls
    main = shutil.copy(HERE / "main.py", tmp_path)  # its files are to be made in a folder of the test's
    settings = {"STORE": store, "DYNAMODB_ENDPOINT": dynamodb_endpoint}
    with program(Path(main), tmp_path, **settings) as running, running.client() as client:
        for words, shown in calls:
            assert answers_as_shown(curl(client, words), shown), words


def test_a_test_swaps_the_driver_too(tmp_path: Path) -> None:
    """In a test the store is an argument, and what it keeps is there for the next run of the app."""
    folder = FolderStore(str(tmp_path))
    with app.testing(kv_store=folder) as client:
        assert client.put("/notes/a", json={"text": "milk"}).status_code == 200
    with app.testing(kv_store=folder) as client:
        assert client.get("/notes/a").json() == {"data": {"text": "milk"}}
    with app.testing() as client:
        assert client.get("/notes/a").status_code == 404
