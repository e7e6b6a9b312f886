"""What holds for the repository as a whole: who imports whom, and that each driver stands alone."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DRIVERS = sorted(path.parent for path in ROOT.glob("drivers/*/pyproject.toml"))
DISTRIBUTIONS = [ROOT / "framework", *DRIVERS]
LOCAL_NAMES = {"kvik", *(f"kvik-{driver.name}" for driver in DRIVERS)}


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_there_are_drivers() -> None:
    """The tests below look at every driver that there is."""
    assert {driver.name for driver in DRIVERS} >= {"sqlite", "dynamodb"}


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda path: path.name)
def test_a_driver_imports_neither_the_framework_nor_another_driver(driver: Path) -> None:
    """A driver knows its backend and the standard library, and nothing of Kvik."""
    sources = list(driver.glob("src/**/*.py"))
    assert sources
    own = f"kvik_{driver.name}"
    imported = {(file.name, name) for file in sources for name in _imports(file)}
    assert {(file, name) for file, name in imported if name.startswith("kvik") and name != own} == set()


def test_the_sqlite_driver_needs_the_standard_library_alone() -> None:
    """kvik-sqlite has no dependency, declared or imported."""
    project = tomllib.loads((ROOT / "drivers/sqlite/pyproject.toml").read_text())["project"]
    imported = {name for file in (ROOT / "drivers/sqlite/src").rglob("*.py") for name in _imports(file)}
    assert project["dependencies"] == []
    assert imported <= {*sys.stdlib_module_names, "kvik_sqlite"}


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.name)
def test_a_distribution_declares_what_it_imports_and_nothing_local(folder: Path) -> None:
    """Each third-party import is a declared dependency, with a lower bound only, and no local package is one."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    declared = {re.split(r"[\[><=;! ]", line)[0] for line in [*project["dependencies"], *extras]}
    assert not declared & LOCAL_NAMES
    assert all("<" not in line and "==" not in line.partition(";")[0] for line in project["dependencies"])
    provided = {
        "python-dotenv": "dotenv",
        "boto3": "botocore",
        "opentelemetry-api": "opentelemetry",
    }  # the import name, where it is another
    known = {name.replace("-", "_") for name in declared} | {provided.get(name, "") for name in declared}
    known |= {*sys.stdlib_module_names, project["name"].replace("-", "_"), "types_boto3_dynamodb"}
    imported = {name for file in folder.glob("src/**/*.py") for name in _imports(file)}
    assert imported - known == set()


def test_every_package_is_typed_and_described() -> None:
    """Each distribution carries its type marker, a README and the licence's name."""
    for folder in DISTRIBUTIONS:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert list(folder.glob("src/*/py.typed")), folder
        assert (folder / project["readme"]).stat().st_size > 200
        assert project["license"] == "Apache-2.0"


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.name)
def test_a_distribution_says_where_it_comes_from(folder: Path) -> None:
    """Each carries the licence, an author, addresses of the project, and its one version as `__version__`."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["license-files"] == ["LICENSE"]
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert project["authors"]
    assert {"Homepage", "Source", "Issues", "Changelog", "Documentation"} <= set(project["urls"])
    (package,) = [path.parent for path in folder.glob("src/*/__init__.py")]
    module = importlib.import_module(package.name)
    assert module.__version__ == project["version"]
    versions = {
        tomllib.loads((each / "pyproject.toml").read_text())["project"]["version"] for each in DISTRIBUTIONS
    }
    assert versions == {project["version"]}


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.name)
def test_no_link_of_a_readme_is_dead_on_an_index_page(folder: Path) -> None:
    """An index shows the README by itself: links are whole addresses of what the repository has, or in-page."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    text = (folder / project["readme"]).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        page, _, anchor = target.partition("#")
        assert page.startswith("https://") or (not page and anchor), target
        source = project["urls"]["Source"]
        if page.startswith(source):
            assert (ROOT / re.sub(rf"{source}/(blob|tree)/main/", "", page)).exists(), target


_USES = {
    "sqlite": """
        import asyncio
        from kvik_sqlite import SQLite

        async def main():
            async with SQLite("alone.db") as db:
                await db.set("k", "v")
                print(await db.get("k"), (await db.health_check())["status"])

        asyncio.run(main())
    """,
    "dynamodb": """
        import asyncio, os
        from kvik_dynamodb import DynamoDB

        async def main():
            async with DynamoDB("alone", "us-east-1", os.environ["ENDPOINT"], create_table=True) as db:
                await db.set("k", "v")
                print(await db.get("k"), (await db.health_check())["status"])

        asyncio.run(main())
    """,
}


@pytest.mark.standalone
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda path: path.name)
def test_a_driver_alone_in_an_empty_environment_works(
    driver: Path, tmp_path: Path, dynamodb_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver installed by itself, without the framework, does its work."""
    python = tmp_path / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-cache-dir"]
    constraints = str(ROOT / "constraints.txt")
    install = [*pip, "-c", constraints, "--build-constraint", constraints, str(driver)]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    subprocess.run(install, check=True)
    monkeypatch.setenv("ENDPOINT", dynamodb_endpoint)
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    program = "\n".join(line[8:] for line in _USES[driver.name].splitlines())
    run = [str(python), "-W", "error", "-c", program]
    assert subprocess.run(run, check=True, cwd=tmp_path, stdout=subprocess.PIPE).stdout == b"v UP\n"
    kvik = subprocess.run([str(python), "-c", "import kvik"], check=False, cwd=tmp_path, stderr=subprocess.PIPE)
    assert b"No module named 'kvik'" in kvik.stderr
