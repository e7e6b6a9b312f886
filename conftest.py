"""What the tests under tests/ and examples/ share: the event loop's kind and DynamoDB servers to run against."""

import os
import uuid
from collections.abc import Iterator

import pytest

from moto_server import moto_server

# Moved to another name: no example under test may pick it up, yet pytest-xdist's workers must inherit it.
os.environ.setdefault("KVIK_TEST_DYNAMODBS", os.environ.pop("DYNAMODB_ENDPOINT", ""))
OTHER_DYNAMODBS = [url for url in os.environ["KVIK_TEST_DYNAMODBS"].split(",") if url]

os.environ.pop("DYNAMODB_TABLE", None)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # of a program under test compiling would be a fifth of the start
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - the local servers take any credentials
    AWS_EC2_METADATA_DISABLED="true",
    METRICS_PORT="0",  # many apps run at once, and one port is for one of them
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return two workers more than there are cores, for they wait half of the time: for timers and processes."""
    return (os.cpu_count() or 1) + 2


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests passed against each server of DYNAMODB_ENDPOINT; `.ci/run` reads these lines."""
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", [])]
    for url in OTHER_DYNAMODBS:
        terminalreporter.write_line(f"tests against {url}: {sum(url in nodeid for nodeid in passed)} passed")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio alone, as the framework does."""
    return "asyncio"


@pytest.fixture(scope="session", params=["moto", *OTHER_DYNAMODBS])
def dynamodb_endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a DynamoDB server: moto's, then each that DYNAMODB_ENDPOINT lists."""
    if request.param != "moto":
        yield request.param
        return
    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def other_dynamodbs() -> list[str]:
    """Return the URLs that DYNAMODB_ENDPOINT lists."""
    return OTHER_DYNAMODBS


@pytest.fixture
def table_name() -> str:
    """Return a table name that no other test uses."""
    return f"kvik-test-{uuid.uuid4().hex}"
