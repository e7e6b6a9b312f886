"""What the tests under tests/ and examples/ share: the event loop's kind and DynamoDB servers to run against."""

import os
import subprocess
import sys
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


_MOTO = """
import logging, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
one_at_a_time = threading.Lock()  # moto checks a condition and writes in two steps
application = DomainDispatcherApplication(create_backend_app)

def locked(environ, start_response):
    with one_at_a_time:
        return application(environ, start_response)

server = make_server("127.0.0.1", 0, locked, threaded=True, request_handler=MotoRequestHandler)
print(f"http://127.0.0.1:{server.port}", flush=True)
server.serve_forever()
"""


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
    # A process of its own, so that the server's work is not done on the interpreter that is being tested.
    command = [sys.executable, "-c", _MOTO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - ours
        url = server.stdout.readline().strip() if server.stdout else ""
        if not url:  # an empty endpoint would mean AWS
            pytest.fail("moto's server did not start; it says why above")
        yield url
        server.kill()


@pytest.fixture(scope="session")
def real_dynamodb() -> str:
    """Give DYNAMODB_ENDPOINT, empty where it is not set."""
    return REAL_DYNAMODB


@pytest.fixture
def table_name() -> str:
    """Give a table name that no other test uses."""
    return f"kvik-test-{uuid.uuid4().hex}"
