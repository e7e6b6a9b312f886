"""The benchmarks can be found and started; that they measure, their runs show."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERBS = sorted(set(re.findall(r"\bbench_[a-z]+", MAKEFILE)))


def _command(verb: str) -> list[str]:
    """Give the command that make would run, its options left out."""
    plan = subprocess.run(["make", "-n", verb], check=True, cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    program = re.findall(r"-m (\w+\.\w+)", plan.stdout)[-1]
    return [sys.executable, "-m", program, "--help"]


def test_each_verb_is_in_the_readme() -> None:
    """The table of the benchmarks' README has every verb of the Makefile, and no other."""
    readme = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `make (bench_[a-z]+)`", readme, re.MULTILINE)) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_benchmark_says_its_question(verb: str) -> None:
    """Each program starts, and its help begins with the question that it answers."""
    environment = {"PYTHONPATH": str(ROOT / "benchmarks"), "COLUMNS": "200"}
    run = subprocess.run(_command(verb), check=True, env=environment, stdout=subprocess.PIPE, text=True)
    assert "?" in run.stdout.split("\n\n")[1].splitlines()[0]
