"""Where requests go, and by which transport: as botocore finds it, or says that it must be botocore itself."""

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.loaders import JSONFileLoader, create_loader

from kvik.testing._conformance.blocking import _check_pulse
from kvik_dynamodb import DynamoDB, DynamoDBError
from kvik_dynamodb._aws import read_config
from kvik_dynamodb._endpoint_rules import EndpointRules
from kvik_dynamodb._options import TransportName
from kvik_dynamodb._wire.data_files import PiecewiseLoader

from .conftest import PATIENT, EventLog, Maker
from .faults import FaultProxy
from .sources import Surroundings, by_environment, by_web_identity, failure_of, name_of, wire_alone


@pytest.fixture(autouse=True)
def credentials(surroundings: Surroundings) -> None:
    """Set credentials, so that the place is all that matters."""
    by_environment(surroundings)


def botocores(session: boto3.Session, region: str | None = None) -> str:
    """Give the URL to which boto3 would send a request."""
    client = session.client("dynamodb", region_name=region)
    seen: list[str] = []

    def see(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        seen.append(request.url)
        reply = AWSResponse(request.url, 200, HTTPHeaders(), None)
        vars(reply)["_content"] = b"{}"  # as if it had been read
        return reply

    client.meta.events.register("before-send", see)  # type: ignore[arg-type] # a reply of a hook's is what goes back
    client.get_item(TableName="t", Key={"pk": {"S": "k"}})
    client.close()
    return seen[0].rstrip("/")


def ours(session: boto3.Session, region: str | None = None) -> str:
    """Give the URL to which the wire would send one."""
    config = read_config(DynamoDB("my-table", region, session=session)._options)  # noqa: SLF001 - short of the network
    return EndpointRules(config).place(None).url


@pytest.mark.parametrize("partition", boto3.Session().get_available_partitions())
def test_every_region_is_where_botocore_has_it(partition: str) -> None:
    """Each region of each partition has the endpoint that boto3 would use."""
    session = boto3.Session()
    for region in session.get_available_regions("dynamodb", partition, allow_non_regional=True):
        if "fips" not in region:  # those are left to boto3
            assert ours(session, region) == botocores(session, region), region


@pytest.mark.parametrize("dual_stack", ["true", "false"])
@pytest.mark.parametrize("fips", ["true", "false"])
def test_fips_and_dual_stack_are_as_botocore_has_them(
    surroundings: Surroundings, fips: str, dual_stack: str
) -> None:
    """So it is where FIPS or dual-stack endpoints are wanted, in the environment or by a profile."""
    surroundings.write("config", f"[default]\nuse_fips_endpoint = {fips}\n")
    surroundings.environment.setenv("AWS_USE_DUALSTACK_ENDPOINT", dual_stack)
    session = boto3.Session()
    for region in ("eu-west-1", "us-east-1", "us-gov-west-1", "cn-north-1"):
        assert ours(session, region) == botocores(session, region), region


SECTION = "[default]\nservices = mine\n[services mine]\ndynamodb =\n  endpoint_url = http://127.0.0.1:2\n"
PROFILE = "[profile x]\nregion = sa-east-1\nignore_configured_endpoint_urls = true\n"
GENERAL, OURS, IGNORE = "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"


@pytest.mark.parametrize(
    ("environment", "config"),
    [
        ({GENERAL: "http://127.0.0.1:1"}, ""),
        ({GENERAL: "http://127.0.0.1:1", OURS: "https://localhost:3"}, ""),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}, ""),
        ({GENERAL: "http://127.0.0.1:1"}, SECTION),
        ({OURS: "http://[::1]:1"}, SECTION),
        ({}, SECTION),
        ({}, "[default]\nendpoint_url = http://127.0.0.1:4\n"),
        ({GENERAL: "http://127.0.0.1:1", IGNORE: "true"}, SECTION),
        ({GENERAL: "http://127.0.0.1:1", IGNORE: "false"}, SECTION),
        ({OURS: "http://127.0.0.1:1", "AWS_PROFILE": "x"}, SECTION + PROFILE),
        ({"AWS_DEFAULT_REGION": "ap-south-1", "AWS_PROFILE": "x"}, PROFILE),
        ({"AWS_DEFAULT_REGION": "ap-south-1", "AWS_REGION": "eu-west-3"}, PROFILE),
    ],
)
def test_the_configured_place_is_as_botocore_has_it(
    surroundings: Surroundings, environment: dict[str, str], config: str
) -> None:
    """Region and endpoint of environment, profile and services win over each other as they do in boto3."""
    surroundings.write("config", config)
    if "AWS_PROFILE" not in environment:
        surroundings.environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for name, value in environment.items():
        surroundings.environment.setenv(name, value)
    session = boto3.Session()
    assert ours(session) == botocores(session)


@pytest.fixture
def logged(new_driver: Maker, table: str) -> Callable[..., tuple[EventLog, DynamoDB]]:
    """Give a maker of drivers, not connected, each with what it logs."""

    def make(**options: Any) -> tuple[EventLog, DynamoDB]:
        log, db = EventLog(), new_driver(table, "eu-west-1", **PATIENT, **options)
        db.use_logger(log)
        return log, db

    return make


Logged = Callable[..., tuple[EventLog, DynamoDB]]


@pytest.mark.parametrize("name", [GENERAL, OURS])
async def test_an_endpoint_of_the_environment_is_used(
    logged: Logged, proxy: FaultProxy, surroundings: Surroundings, name: str
) -> None:
    """A driver without an endpoint of its own goes where the environment says."""
    surroundings.environment.setenv(name, proxy.url)
    log, db = logged()
    async with db:
        await db.set("k", "v")
    assert proxy.operations == ["GetItem", "PutItem"]
    assert log.warnings == []


Configured = dict[str, Any]


def proxy_in_environment(here: Surroundings, proxy: FaultProxy) -> Configured:
    here.environment.setenv("HTTP_PROXY", proxy.url)
    return {"endpoint": "http://dynamodb.test"}


def proxy_in_session(_: Surroundings, proxy: FaultProxy) -> Configured:
    session = boto3.Session()
    session._session.set_default_client_config(Config(proxies={"http": proxy.url}))  # noqa: SLF001 - boto3 shows no other way
    return {"endpoint": "http://dynamodb.test", "session": session}


def hook_in_session(_: Surroundings, proxy: FaultProxy) -> Configured:
    session = boto3.Session()
    session.events.register("before-send.dynamodb", lambda **_: None)
    return {"endpoint": proxy.url, "session": session}


def path_in_endpoint(_: Surroundings, proxy: FaultProxy) -> Configured:
    return {"endpoint": f"{proxy.url}/dynamodb"}


ONLY_BOTO3 = {
    proxy_in_environment: "a proxy is configured",
    proxy_in_session: "a proxy is configured",
    hook_in_session: "the session has event hooks for requests",
    path_in_endpoint: "the endpoint has a path",
}
Configure = Callable[[Surroundings, FaultProxy], Configured]
only_boto3 = pytest.mark.parametrize(("configure", "reason"), ONLY_BOTO3.items(), ids=name_of)


@pytest.mark.parametrize("transport", ["auto"], scope="session")
@only_boto3
async def test_what_the_wire_cannot_do_boto3_does(
    logged: Logged, proxy: FaultProxy, surroundings: Surroundings, table: str, configure: Configure, reason: str
) -> None:
    """The driver works as configured, through boto3, and one warning says so and why."""
    log, db = logged(**configure(surroundings, proxy))
    async with db:
        await db.connect()
        await db.set("k", "v")
        assert await db.get("k") == "v"
    assert proxy.operations[-2:] == ["PutItem", "GetItem"]
    assert log.warnings == [("dynamodb.transport", {"table": table, "transport": "boto3", "reason": reason})]


@only_boto3
async def test_a_chosen_transport_is_not_exchanged(
    logged: Logged,
    proxy: FaultProxy,
    surroundings: Surroundings,
    transport: TransportName,
    configure: Configure,
    reason: str,
) -> None:
    """Where the wire was asked for, what it cannot do is an error with the reason; boto3 just does it."""
    log, db = logged(**configure(surroundings, proxy))
    if transport == "wire":
        error = await failure_of(db.connect())
        assert (error.code, error.reason) == ("misconfigured", reason)
        assert reason in str(error)
        assert proxy.operations == []
    else:
        await db.connect()
        await db.set("k", "v")
    assert log.warnings == []
    await db.close()


@wire_alone
async def test_regions_named_for_fips_are_left_to_boto3(new_driver: Maker) -> None:
    """The names that botocore has for FIPS endpoints mean more than a region."""
    db = new_driver("my-table", "fips-us-gov-west-1", "http://127.0.0.1:9")
    assert "FIPS" in str(await failure_of(db.connect()))
    await db.close()


@pytest.mark.parametrize("transport", ["auto", "boto3"], scope="session")
async def test_a_hook_of_the_sessions_is_called(logged: Logged, dynamodb_endpoint: str) -> None:
    """A hook that somebody put on the session sees each request."""
    session, seen = boto3.Session(), []
    session.events.register("before-send.dynamodb.PutItem", lambda request, **_: seen.append(request.method))
    _, db = logged(endpoint=dynamodb_endpoint, session=session)
    async with db:
        await db.set("a", "1")
        await db.set("b", "2")
    assert seen == ["POST", "POST"]


@wire_alone
@pytest.mark.parametrize(
    "environment",
    [
        {"NO_PROXY": "example.com"},
        {"HTTPS_PROXY": "http://127.0.0.1:9"},
        {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"},
        {"ALL_PROXY": "http://127.0.0.1:9"},
    ],
)
async def test_the_wire_stays_where_nothing_is_in_its_way(
    logged: Logged, proxy: FaultProxy, surroundings: Surroundings, environment: dict[str, str]
) -> None:
    """Proxies for other requests than the driver's, and hooks for other services, are no reason for boto3."""
    for name, value in environment.items():
        surroundings.environment.setenv(name, value)
    session = boto3.Session()
    session.events.register("before-send.s3", lambda **_: None)
    _, db = logged(endpoint=proxy.url, session=session)
    async with db:
        await db.set("k", "v")
    assert proxy.operations == ["GetItem", "PutItem"]


@pytest.mark.parametrize("name", ["", "http", None, 1, ["wire"]])
def test_a_transport_has_one_of_three_names(name: Any) -> None:
    """Anything else is refused when the driver is made."""
    with pytest.raises(DynamoDBError, match="transport must be one of") as caught:
        DynamoDB("my-table", transport=name)
    assert caught.value.code == "misconfigured"


@wire_alone
async def test_connecting_does_not_block_the_loop(new_driver: Maker, table: str, dynamodb_endpoint: str) -> None:
    """While a driver connects, the loop stands still for at most 5 ms, at the best of five tries."""
    drivers = [new_driver(table, "eu-west-1", dynamodb_endpoint, **PATIENT) for _ in range(15)]
    await _check_pulse_of(drivers, DynamoDB.connect)


async def test_looking_for_aws_does_not_block_the_loop() -> None:
    """Nor does it where the endpoint is AWS's own, which has to be found out, and TLS made ready."""
    drivers = [DynamoDB("my-table", "eu-west-1", transport="wire") for _ in range(15)]
    await _check_pulse_of(drivers, lambda db: db._connection.open(_nothing))  # noqa: SLF001 - short of the network


@wire_alone
async def test_asking_for_a_role_does_not_block_the_loop(guarded: Maker, surroundings: Surroundings) -> None:
    """Nor does it where botocore has to make a client of STS first, from data that it has not read yet."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        surroundings.environment.delenv(name)
    surroundings.environment.setattr("botocore.session.create_loader", create_loader)
    by_web_identity(surroundings)
    drivers = [guarded() for _ in range(15)]
    await _check_pulse_of(drivers, DynamoDB.connect)
    assert surroundings.issuer.asked


@pytest.mark.parametrize("name", ["endpoints", "partitions", "sts/2011-06-15/service-2", "no-such-file"])
def test_data_read_in_pieces_is_the_same(name: str) -> None:
    """Files small and large, packed and not, give what botocore itself makes of them."""
    path = str(Path(botocore.__file__).parent / "data" / name)
    assert PiecewiseLoader().load_file(path) == JSONFileLoader().load_file(path)


async def _check_pulse_of(
    drivers: list[DynamoDB], connect: Callable[[DynamoDB], Coroutine[Any, Any, None]]
) -> None:
    async def prepare(number: int) -> Callable[[], Coroutine[Any, Any, None]]:
        return partial(connect, drivers[number])

    await _check_pulse("connect", prepare)
    for driver in drivers:
        await driver.close()


async def _nothing() -> None:
    pass
