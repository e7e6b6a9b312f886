"""What the AWS configuration asks for: honoured as boto3 honours it, left to boto3, or refused; never ignored."""

import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import boto3
import botocore
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.session import Session

from kvik_dynamodb import DynamoDB, DynamoDBError
from kvik_dynamodb import _aws_settings as settings
from kvik_dynamodb._doctor import main as doctor
from kvik_dynamodb._wire import transport as wire

from .conftest import PATIENT, EventLog, Maker
from .faults import Exchange, FaultProxy, answer, reply_of
from .sources import Surroundings, by_container, by_environment, by_web_identity, failure_of

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/my-table"
ACCOUNT = {"AWS_ACCOUNT_ID": "111122223333"}
DISABLED = {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}
REQUIRED = {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "required"}
FIPS, DUAL_STACK = {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
LOCAL = {"AWS_ENDPOINT_URL": "http://localhost:1"}


class Abandoned(Exception):
    """Raised instead of sending a request."""


def by_boto3(session: boto3.Session, region: str | None, table: str) -> tuple[str, str]:
    """Return the host to which boto3 would send a request, and the region it would sign it for."""
    client = session.client("dynamodb", region_name=region)
    seen: list[AWSPreparedRequest] = []

    def see(request: AWSPreparedRequest, **_: object) -> None:
        seen.append(request)
        raise Abandoned

    client.meta.events.register("before-send", see)
    with pytest.raises(Abandoned):
        client.get_item(TableName=table, Key={"pk": {"S": "k"}})
    client.close()
    signed = str(seen[0].headers["Authorization"])
    return seen[0].url.partition("://")[2].rstrip("/"), signed.split("/")[2]


Sent = Callable[..., Any]


@pytest.fixture
def sent(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Return what connects a driver, wherever it wants to, to a server that notes the headers."""
    seen: list[dict[str, str]] = []

    async def note(exchange: Exchange) -> bytes:
        seen.append(dict(exchange.headers))
        return reply_of({})

    proxy.otherwise = note
    port = int(proxy.url.rpartition(":")[2])

    async def connect(db: DynamoDB) -> dict[str, str]:
        def getaddrinfo(host: str, its_port: int, *_: object, **__: object) -> list[Any]:
            return [(2, 1, 6, "", ("127.0.0.1", its_port if host == "127.0.0.1" else port))]

        monkeypatch.setattr(wire, "_trust", lambda _: None)  # so that TLS does not hide the request
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        try:
            await db.connect()
        finally:
            await db.close()
        return seen[-1]

    return connect


@pytest.fixture(autouse=True)
def credentials(surroundings: Surroundings) -> None:
    """Set credentials, so that the place is all that matters."""
    by_environment(surroundings)


def configured(surroundings: Surroundings, environment: dict[str, str], **options: Any) -> boto3.Session:
    """Return a session under this environment and these client options."""
    for name, value in environment.items():
        surroundings.environment.setenv(name, value)
    session = boto3.Session()
    if options:
        session._session.set_default_client_config(Config(**options))  # noqa: SLF001 - boto3 shows no other way
    return session


def wire_only(table: str = "my-table", region: str | None = "eu-west-1", **options: Any) -> DynamoDB:
    return DynamoDB(table, region, transport="wire", **PATIENT, **options)


@pytest.mark.parametrize(
    ("region", "table", "environment", "options"),
    [
        ("eu-west-1", "my-table", ACCOUNT, {}),
        ("eu-west-1", "my-table", ACCOUNT | DUAL_STACK, {}),
        ("eu-west-1", "my-table", ACCOUNT | DISABLED, {}),
        ("eu-west-1", "my-table", ACCOUNT | REQUIRED, {}),
        ("eu-west-1", "my-table", ACCOUNT | FIPS, {}),
        ("eu-west-1", "my-table", ACCOUNT, {"account_id_endpoint_mode": "disabled"}),
        ("cn-north-1", "my-table", ACCOUNT, {}),
        ("us-gov-west-1", "my-table", ACCOUNT | FIPS, {}),
        ("eu-west-1", ARN, {}, {}),
        ("eu-west-1", ARN, ACCOUNT | DUAL_STACK, {}),
        ("eu-west-1", ARN, ACCOUNT | DISABLED, {}),
        ("us-east-1", ARN, ACCOUNT, {}),
        ("eu-west-1", ARN, REQUIRED, {}),
        ("local", "my-table", {}, {}),
        ("local", "my-table", {"AWS_ENDPOINT_URL": "http://localhost:8001"}, {}),
        ("local", "my-table", ACCOUNT, {}),
        ("aws-global", "my-table", {}, {}),
        ("mars-north-1", "my-table", ACCOUNT, {}),
        ("eu-west-1", "my-table", {}, {"use_fips_endpoint": True}),
        ("eu-west-1", "my-table", FIPS, {"use_fips_endpoint": False}),
        ("eu-west-1", "my-table", {}, {"use_dualstack_endpoint": True}),
        ("eu-west-1", "my-table", FIPS | LOCAL | REQUIRED, {}),
        (
            "eu-west-1",
            "my-table",
            {"AWS_ENDPOINT_URL": "http://localhost:1"},
            {"ignore_configured_endpoint_urls": True},
        ),
        (None, "my-table", {"AWS_DEFAULT_REGION": "eu-west-3"}, {"region_name": "us-west-2"}),
        (None, "my-table", {"AWS_DEFAULT_REGION": "eu-west-3", "AWS_REGION": "us-west-2"}, {}),
        ("eu-west-1", "my-table", {}, {"auth_scheme_preference": "sigv4a,sigv4"}),
    ],
)
async def test_place_and_signature_are_boto3s(
    sent: Sent,
    surroundings: Surroundings,
    region: str | None,
    table: str,
    environment: dict[str, str],
    options: dict[str, Any],
) -> None:
    """A request goes where boto3's own client would send it, signed for the region it would sign it for."""
    session = configured(surroundings, environment, **options)
    headers = await sent(wire_only(table, region, session=session))
    assert (headers["host"], headers["authorization"].split("/")[2]) == by_boto3(session, region, table)


@pytest.mark.parametrize(
    ("region", "environment", "said"),
    [
        ("eu-west-1", REQUIRED, "required but no AccountID"),
        ("eu-west-1", REQUIRED | FIPS | ACCOUNT, "FIPS account endpoints are not supported"),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "https://dynamodb.eu-west-1.api.aws"}, "not supported for dual-stack"),
        ("local", FIPS, "FIPS and local endpoint"),
        ("eu-west-1", {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "often"}, "account_id_endpoint_mode is 'often'"),
        ("eu-west-1", {"AWS_RETRY_MODE": "often"}, "retry_mode is 'often'"),
        ("eu-west-1", {"AWS_DEFAULTS_MODE": "often"}, "defaults_mode is 'often'"),
        ("eu-west-1", {"AWS_STS_REGIONAL_ENDPOINTS": "often"}, "sts_regional_endpoints is 'often'"),
        ("eu-west-1", {"AWS_MAX_ATTEMPTS": "often"}, "AWS_MAX_ATTEMPTS"),
        ("eu-west-1", {"AWS_MAX_ATTEMPTS": "0"}, "AWS_MAX_ATTEMPTS"),
        ("not_a_region", {}, "region"),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "localhost:8000"}, "AWS_ENDPOINT_URL must be a URL"),
        ("eu-west-1", {"AWS_ENDPOINT_URL_DYNAMODB": "ftp://localhost"}, "AWS_ENDPOINT_URL_DYNAMODB must be a URL"),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://localhost:99999"}, "AWS_ENDPOINT_URL must be a URL"),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://local host"}, "AWS_ENDPOINT_URL must be a URL"),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://localhost/?token=hidden"}, "no user, password or query"),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://me:hidden@localhost"}, "no user, password or query"),
        ("eu-west-1", {"AWS_CA_BUNDLE": "/no/such/file"}, "'/no/such/file', from AWS_CA_BUNDLE .* cannot be read"),
        ("eu-west-1", {"AWS_CA_BUNDLE": __file__}, "holds no certificates"),
        ("eu-west-1", {"AWS_CA_BUNDLE": "/"}, "cannot be read"),
    ],
)
async def test_a_configuration_that_cannot_work_is_refused(
    new_driver: Maker, surroundings: Surroundings, region: str, environment: dict[str, str], said: str
) -> None:
    """It is misconfigured, in words that name the setting; no secret is in the error or in its causes."""
    session = configured(surroundings, environment)
    db = new_driver("my-table", region, session=session, **PATIENT)
    with pytest.raises(DynamoDBError, match=said) as caught:
        await db.connect()
    assert (caught.value.code, caught.value.cause) == ("misconfigured", "configuration")
    health = await db.health_check()
    assert health["details"]["error"] == "configuration"
    error: BaseException | None = caught.value
    while error is not None:
        assert "hidden" not in f"{error!r}{error}{vars(error)}"
        error = error.__cause__ or error.__context__
    assert "hidden" not in f"{health}{db!r}"
    await db.close()


@pytest.mark.parametrize(
    "config",
    [
        "services = nowhere\n",
        "services = mine\n[services mine]\ndynamodb = http://localhost:8001\n",
        "endpoint_url = localhost:8001\n",
        "account_id_endpoint_mode = often\n",
        "max_attempts = often\n",
    ],
)
async def test_a_profile_that_cannot_work_is_refused(
    new_driver: Maker, surroundings: Surroundings, config: str
) -> None:
    """So is a wrong setting of a profile."""
    surroundings.write("config", f"[default]\n{config}")
    db = new_driver("my-table", "eu-west-1", **PATIENT)
    error = await failure_of(db.connect())
    assert (error.code, error.cause) == ("misconfigured", "configuration")
    await db.close()


@pytest.mark.parametrize(
    "environment", [{"AWS_ENDPOINT_URL": "localhost:8000"}, {"AWS_CA_BUNDLE": "/no/such/file"}]
)
def test_the_doctor_names_it(
    surroundings: Surroundings, capsys: pytest.CaptureFixture[str], environment: dict[str, str]
) -> None:
    """So does the doctor, which fails."""
    configured(surroundings, environment)
    assert doctor(["doctor", "--table", "my-table", "--region", "eu-west-1"]) == 1
    assert next(iter(environment)) in capsys.readouterr().out


@pytest.mark.parametrize("url", ["http://me:hidden@127.0.0.1:9", "http://127.0.0.1:9/?key=hidden", "me:hidden@x"])
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "HTTPS_PROXY"])
def test_the_doctor_repeats_no_password(
    surroundings: Surroundings, capsys: pytest.CaptureFixture[str], name: str, url: str
) -> None:
    """Nor a token, of an endpoint or a proxy."""
    configured(surroundings, {name: url})
    assert doctor(["doctor", "--table", "my-table", "--region", "eu-west-1", "--json"]) == 1
    printed = capsys.readouterr()
    assert "hidden" not in printed.out + printed.err


@pytest.mark.parametrize("transport", ["auto", "boto3"], scope="session")
@pytest.mark.parametrize(
    "url", ["http://me:hidden@127.0.0.1:9", "http://me:hidden@127.0.0.1:x", "http://me:hi dden@["]
)
async def test_a_proxys_password_is_not_repeated(new_driver: Maker, surroundings: Surroundings, url: str) -> None:
    """Neither in the error of a proxy that does not work, nor in what the log has of its causes."""
    session = configured(surroundings, {"HTTPS_PROXY": url})
    db = new_driver("my-table", "eu-west-1", session=session, total_timeout=0.3)
    found: BaseException | None = await failure_of(db.connect())
    assert isinstance(found, DynamoDBError)
    assert found.code in {"unavailable", "misconfigured", "deadline_exceeded"}
    while found is not None:
        assert "dden" not in f"{found!r}{found}"
        found = found.__cause__ or found.__context__
    await db.close()


async def test_the_password_of_another_endpoint_is_not_repeated(
    new_driver: Maker, surroundings: Surroundings, proxy: FaultProxy
) -> None:
    """A traceback of the error, as a log has it, does not quote the URL of the service that gives a role."""
    by_web_identity(surroundings)
    names = {"AWS_ENDPOINT_URL_STS": "http://me:hidden@127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        surroundings.environment.delenv(name)
    session = configured(surroundings, names)
    db = new_driver("my-table", "eu-west-1", proxy.url, session=session, **PATIENT)
    error = await failure_of(db.connect())
    assert "hidden" not in "".join(traceback.format_exception(error))
    await db.close()


@pytest.mark.parametrize(
    ("exempt", "refused"),
    [
        ("dynamodb.eu-west-1.amazonaws.com", True),
        ("ddb.eu-west-1.amazonaws.com", True),
        ("dynamodb.eu-west-1.amazonaws.com,ddb.eu-west-1.amazonaws.com", False),
    ],
)
async def test_a_proxy_counts_wherever_requests_may_go(
    sent: Sent, surroundings: Surroundings, exempt: str, *, refused: bool
) -> None:
    """The wire goes without a proxy only where an account's endpoint and the region's are both exempt from it."""
    session = configured(surroundings, {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": exempt})
    if refused:
        assert (await failure_of(wire_only(session=session).connect())).reason == "a proxy is configured"
    else:
        assert (await sent(wire_only(session=session)))["host"] == "dynamodb.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("region", ["eu-west-3", None])
async def test_the_region_of_lambda_counts_last(
    new_driver: Maker, surroundings: Surroundings, proxy: FaultProxy, region: str | None
) -> None:
    """Only where neither AWS_DEFAULT_REGION nor the profile has a region, AWS_REGION is taken."""
    if region:
        surroundings.write("config", f"[default]\nregion = {region}\n")
    session = configured(surroundings, {"AWS_REGION": "us-west-2"})
    proxy.otherwise = answer("ResourceNotFoundException")
    db = new_driver("my-table", endpoint=proxy.url, session=session, **PATIENT)
    error = await failure_of(db.connect())
    assert (error.cause, f"in {region or 'us-west-2'} " in str(error)) == ("no such table", True)
    await db.close()


async def test_boto3s_default_session_is_used(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3.setup_default_session was given applies, as to a client that boto3.client makes."""
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    boto3.setup_default_session(
        aws_access_key_id="AKIDEFAULT",
        aws_secret_access_key="hidden",  # noqa: S106 - a dummy
        region_name="sa-east-1",
    )
    headers = await sent(wire_only(region=None))
    assert headers["host"] == "dynamodb.sa-east-1.amazonaws.com"
    assert "Credential=AKIDEFAULT/" in headers["authorization"]


@pytest.mark.parametrize(
    ("environment", "options", "agent"),
    [
        ({}, {}, "kvik-dynamodb"),
        ({"AWS_SDK_UA_APP_ID": "my app\r\n1"}, {}, " app/my-app--1"),
        ({}, {"user_agent_appid": "mine"}, " app/mine"),
        ({}, {"user_agent": "me", "user_agent_extra": "too"}, "me too"),
    ],
)
async def test_the_applications_name_is_told(
    new_driver: Maker,
    surroundings: Surroundings,
    proxy: FaultProxy,
    environment: dict[str, str],
    options: dict[str, Any],
    agent: str,
) -> None:
    """Requests carry what the application calls itself, so that AWS's logs show it."""
    seen: list[str] = []

    async def note(exchange: Exchange) -> bytes:
        seen.append(exchange.headers["user-agent"])
        return reply_of({})

    proxy.otherwise = note
    session = configured(surroundings, environment, **options)
    async with new_driver("my-table", "eu-west-1", proxy.url, session=session, **PATIENT):
        pass
    assert all(word in seen[0] for word in agent.split())
    assert "kvik-dynamodb" in seen[0] or "user_agent" in options


@pytest.mark.parametrize(
    ("environment", "options", "attempts"),
    [
        ({"AWS_MAX_ATTEMPTS": "1"}, {}, 1),
        ({"AWS_MAX_ATTEMPTS": "6"}, {}, 6),
        ({"AWS_MAX_ATTEMPTS": "6"}, {"retries": {"total_max_attempts": 2}}, 2),
        ({}, {"retries": {"max_attempts": 2}}, 3),
        ({}, {}, 4),
    ],
)
async def test_configured_attempts_are_kept(
    new_driver: Maker,
    surroundings: Surroundings,
    proxy: FaultProxy,
    environment: dict[str, str],
    options: dict[str, Any],
    attempts: int,
) -> None:
    """A request is sent as often as AWS_MAX_ATTEMPTS or the client's options say, else four times."""
    proxy.otherwise = answer("InternalServerError", 500)
    session = configured(surroundings, environment, **options)
    db = new_driver("my-table", "eu-west-1", proxy.url, session=session, **PATIENT)
    await failure_of(db.connect())
    assert len(proxy.requests) == attempts
    await db.close()


@pytest.mark.parametrize(
    ("environment", "options", "names"),
    [
        ({"AWS_RETRY_MODE": "adaptive"}, {}, ["retry_mode"]),
        ({"AWS_RETRY_MODE": "standard", "AWS_DEFAULTS_MODE": "legacy"}, {}, []),
        ({"AWS_DEFAULTS_MODE": "in-region"}, {}, ["defaults_mode"]),
        ({}, {"connect_timeout": 3, "read_timeout": 4}, ["connect_timeout", "read_timeout"]),
        ({}, {"max_pool_connections": 50, "retries": {"mode": "legacy"}}, ["max_pool_connections", "retry_mode"]),
        ({"BOTOCORE_TCP_KEEPALIVE": "true"}, {"tcp_keepalive": True, "s3": {"addressing_style": "path"}}, []),
    ],
)
async def test_a_setting_that_the_driver_replaces_is_told(
    new_driver: Maker,
    surroundings: Surroundings,
    proxy: FaultProxy,
    environment: dict[str, str],
    options: dict[str, Any],
    names: list[str],
) -> None:
    """Where an option of the driver's own stands in the place of a setting, one warning names both."""
    proxy.otherwise = answer("ResourceNotFoundException")
    session = configured(surroundings, environment, **options)
    log, db = EventLog(), new_driver("my-table", "eu-west-1", proxy.url, session=session, **PATIENT)
    db.use_logger(log)
    await failure_of(db.connect())
    await failure_of(db.connect())
    assert [(event, fields["setting"]) for event, fields in log.warnings] == [
        ("dynamodb.setting_not_used", name) for name in names
    ]
    await db.close()


@pytest.mark.parametrize(
    ("environment", "options", "reason"),
    [
        ({}, {"client_cert": "/a/cert.pem"}, "client certificate"),
        ({}, {"signature_version": botocore.UNSIGNED}, "signature version"),
        ({"AWS_ENDPOINT_DISCOVERY_ENABLED": "true"}, {}, "endpoint discovery"),
        ({"AWS_CSM_ENABLED": "true"}, {}, "monitoring"),
        ({"BOTOCORE_EXPERIMENTAL__PLUGINS": "x=y"}, {}, "plugins"),
        ({}, {"proxies": {"https": "http://127.0.0.1:9"}}, "proxy"),
    ],
)
async def test_what_only_boto3_honours_is_not_ignored(
    surroundings: Surroundings, environment: dict[str, str], options: dict[str, Any], reason: str
) -> None:
    """The wire refuses to serve and says why; transport="auto" takes boto3's client instead."""
    session = configured(surroundings, environment, **options)
    error = await failure_of(wire_only(session=session).connect())
    assert error.code == "misconfigured"
    assert reason in str(error.reason)


async def test_data_files_of_somebody_else_are_left_to_boto3(surroundings: Surroundings) -> None:
    """Endpoints that AWS_DATA_PATH replaces are known to botocore alone."""
    surroundings.write("endpoints.json", "{}")
    surroundings.environment.setattr("botocore.session.create_loader", create_loader)
    session = configured(surroundings, {"AWS_DATA_PATH": str(surroundings.directory)})
    error = await failure_of(wire_only(session=session).connect())
    assert "AWS_DATA_PATH" in str(error.reason)


async def test_an_option_of_a_newer_botocore_is_left_to_it(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client option that this driver has never heard of is boto3's to honour."""
    monkeypatch.setitem(Config.OPTION_DEFAULTS, "quantum", None)
    session = configured(surroundings, {}, quantum=True)
    error = await failure_of(wire_only(session=session).connect())
    assert error.reason == "the client option quantum is set"


def test_every_setting_of_botocore_is_decided() -> None:
    """Each option of a client, and each setting of a session, has its place in the driver's table."""
    decided = {*settings.HONOURED, *settings.BY_BOTO3, *settings.REPLACED, *settings.WITHOUT_EFFECT}
    assert {*Config.OPTION_DEFAULTS} - decided == set()
    assert {*Session().session_var_map} - decided == set()


async def test_the_account_of_a_role_is_asked_for(sent: Sent, surroundings: Surroundings) -> None:
    """Where credentials come with their account, as from a container's agent, its endpoint is used."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        surroundings.environment.delenv(name)
    issue = surroundings.issuer.issue
    surroundings.issuer.issue = lambda: {**issue(), "AccountId": "444455556666"}  # type: ignore[method-assign]
    by_container(surroundings)
    headers = await sent(wire_only())
    assert headers["host"] == "444455556666.ddb.eu-west-1.amazonaws.com"


HANGING = """
import asyncio, socket, sys, time
from kvik_dynamodb import DynamoDB, DynamoDBError

if sys.argv[2] == "names":
    socket.getaddrinfo = lambda *_, **__: time.sleep(20)

async def main():
    place = ("my-table", "eu-west-1", "http://127.0.0.1:9")
    db = DynamoDB(*place, transport=sys.argv[1], connect_timeout=0.2, read_timeout=0.2, total_timeout=0.2)
    try:
        await db.connect()
    except DynamoDBError as error:
        print(error.retryable)
    await db.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["credentials", "names"])
def test_what_hangs_does_not_delay_the_end(surroundings: Surroundings, transport: str, what: str) -> None:
    """A program without credentials, or a name server without an answer, costs a call its time and no more."""
    if what == "credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            surroundings.environment.delenv(name)
        surroundings.write("config", "[default]\ncredential_process = sleep 20\n")
    program = surroundings.write("program.py", HANGING)
    began = time.monotonic()
    with surroundings.write("out", "").open("wb") as out:  # a pipe would stay open as long as the program runs
        subprocess.run([sys.executable, str(program), transport, what], check=True, timeout=15, stdout=out)
    assert time.monotonic() - began < 12
    assert (surroundings.directory / "out").read_text() == "True\n"


@pytest.mark.parametrize(
    ("environment", "config", "source"),
    [
        ({"AWS_REGION": "eu-west-3"}, "", "AWS_REGION"),
        ({"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "eu-west-1"}, "", "AWS_DEFAULT_REGION"),
        ({"AWS_REGION": "eu-west-3"}, "[default]\nregion = eu-west-1\n", "the profile 'default'"),
    ],
)
def test_the_doctor_tells_where_the_region_is_from(
    surroundings: Surroundings,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    config: str,
    source: str,
) -> None:
    """Each source by its name, in the order in which the driver takes them."""
    surroundings.write("config", config)
    configured(surroundings, {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    doctor(["doctor", "--table", "my-table"])
    region = "eu-west-3" if source == "AWS_REGION" else "eu-west-1"
    assert f"{region}, from {source}" in capsys.readouterr().out
