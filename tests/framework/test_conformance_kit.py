"""The kit passes for drivers that are right, whatever they can do, and fails for each that is wrong."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from framework.broken_drivers import CASES, Case
from kvik import MemoryStore
from kvik.testing import KVStoreConformance
from support import Basic


class Plain:
    """A driver of plain methods, which run in threads, with no clock to set."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, float | None]] = {}
        self.is_closed = False

    def connect(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def get(self, key: str) -> str | None:
        self._check()
        value, expires_at = self.values.get(key, (None, None))
        return None if expires_at is not None and expires_at <= time.time() else value

    def set(self, key: str, value: str) -> None:
        self._check()
        self.values[key] = (value, None)

    def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        self._check()
        self.values[key] = (value, expires_at)

    def delete(self, key: str) -> None:
        self._check()
        self.values.pop(key, None)

    def health_check(self) -> dict[str, Any]:
        return {"status": "DOWN" if self.is_closed else "UP"}

    def _check(self) -> None:
        if self.is_closed:
            raise RuntimeError("the store is closed")


class TestMemoryStore(KVStoreConformance):
    @pytest.fixture
    def store(self) -> Any:
        return MemoryStore()


class TestFourMethods(KVStoreConformance):
    @pytest.fixture
    def store(self) -> Any:
        return Basic()


class TestPlainMethods(KVStoreConformance):
    @pytest.fixture
    def store(self) -> Any:
        return Plain()


_RUN = """
import pytest
from hypothesis import Phase
from framework.broken_drivers import CASES
from kvik.testing import KVStoreConformance
from support import Basic
from kvik.testing._conformance import cancellation, machine
from kvik.testing._conformance.fixtures import StoreFixtures

cancellation.PATIENCE = 1.0  # seconds for which to wait for a store that never answers
machine.PHASES = (Phase.generate,)

for case in CASES:
    for kind in (case.broken, case.intact):
        name = f"Test{kind.__name__}"
        if name not in globals():
            store = pytest.fixture(lambda self, kind=kind: kind())
            tests = type(name, (StoreFixtures,), {"store": store, "examples": 10, "steps": 25})
            globals()[name] = pytest.mark.anyio(tests)
        setattr(globals()[name], case.test, getattr(KVStoreConformance, case.test))
"""

_REPORT = """
import json

def pytest_runtest_logreport(report):
    if report.when == "call" or report.failed:
        _, kind, test = report.nodeid.split("::")
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else str(report.longrepr or "")
        with open("reports.jsonl", "a", encoding="utf-8") as file:
            print(json.dumps([kind, test.partition("[")[0], report.outcome, message]), file=file)
"""

Reports = dict[tuple[str, str], list[tuple[str, str]]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Run each wrong driver's test, and the same of the right one, as in a project without any configuration."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "test_drivers.py").write_text(_RUN, encoding="utf-8")
    (folder / "conftest.py").write_text(_REPORT, encoding="utf-8")
    options = "-q --strict-markers -W error --tb=short -p no:cacheprovider -p anyio"
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "reports.jsonl").exists(), run.stdout + run.stderr
    found: Reports = defaultdict(list)
    for line in (folder / "reports.jsonl").read_text(encoding="utf-8").splitlines():
        kind, test, outcome, message = json.loads(line)
        found[kind, test].append((outcome, message))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.broken.__name__)
def test_a_wrong_driver_is_caught(case: Case, reports: Reports) -> None:
    """Each fails the test that is for its mistake, with words that name the rule; a right one passes it."""
    failures = [
        message for outcome, message in reports[f"Test{case.broken.__name__}", case.test] if outcome == "failed"
    ]
    assert any(case.words in message for message in failures), failures
    right = {outcome for outcome, _ in reports[f"Test{case.intact.__name__}", case.test]}
    assert "passed" in right
    assert "failed" not in right


def test_the_kit_has_many_tests_and_many_wrong_drivers() -> None:
    """At least 60 test functions, and 20 drivers that are wrong in a way of their own."""
    tests = [name for name in dir(KVStoreConformance) if name.startswith("test_")]
    assert len(tests) >= 60
    assert len({case.broken for case in CASES}) == len(CASES) >= 20
    assert {case.test for case in CASES} <= set(tests)
