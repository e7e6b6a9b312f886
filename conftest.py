"""What the tests under tests/ and examples/ share: the event loop's kind and DynamoDB servers to run against."""

import os
import uuid
from collections.abc import Iterator

import pytest

REAL_DYNAMODB = os.environ.pop("DYNAMODB_ENDPOINT", "")  # popped: no example under test may pick it up by itself

os.environ.pop("DYNAMODB_TABLE", None)
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - the local servers take any credentials
    AWS_EC2_METADATA_DISABLED="true",
    METRICS_PORT="0",  # many apps run at once, and one port is for one of them
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio alone, as the framework does."""
    return "asyncio"


@pytest.fixture(scope="session", params=["moto", "endpoint"] if REAL_DYNAMODB else ["moto"])
def dynamodb_endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a DynamoDB server: moto's, and also DYNAMODB_ENDPOINT's when that is set."""
    if request.param == "endpoint":
        yield REAL_DYNAMODB
        return
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - imports for a second, and not every run needs it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def table_name() -> str:
    """Give a table name that no other test uses."""
    return f"kvik-test-{uuid.uuid4().hex}"
