"""What the doctor finds, says and returns; no secret is in any of it."""

import inspect
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from botocore.loaders import Loader, create_loader

from kvik_dynamodb import DynamoDB
from kvik_dynamodb._doctor import main
from kvik_dynamodb._doctor.budget import Times

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

SECRETS = ("AKIADOCTOR", "hush-secret", "hush-token", "hush-password")
NAMES = [
    "credentials",
    "region",
    "endpoint",
    "reachability",
    "clock",
    "read",
    "table",
    "key_schema",
    "ttl",
    "policy",
]
COMMAND = [sys.executable, "-m", "kvik_dynamodb", "doctor"]


class FakeHandler(BaseHTTPRequestHandler):
    """Answer as DynamoDB would, with a clock and denials of the test's choice."""

    clock_offset: ClassVar[float] = 0.0
    denied: ClassVar[dict[str, str]] = {}
    page: ClassVar[bytes] = b""
    description: ClassVar[dict[str, Any]] = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        operation = self.headers["x-amz-target"].partition(".")[2]
        if code := self.denied.get(operation):
            self._answer(
                400, {"__type": f"com.amazon.coral.service#{code}", "message": "no such key hush-password"}
            )
        else:
            self._answer(200, self.description)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + self.clock_offset, usegmt=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, reply: dict[str, Any]) -> None:
        body = self.page or json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def fake() -> Iterator[Callable[..., str]]:
    """Give a starter of fake servers, which gives their URLs."""
    servers: list[ThreadingHTTPServer] = []

    def start(**attributes: Any) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (FakeHandler,), attributes))
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def loader() -> Loader:
    """Give one reader of botocore's data to all: reading it is most of the time that a doctor takes."""
    return create_loader()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loader: Loader) -> Path:
    """Shut the machine's own AWS configuration out, and give the place of another."""
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_ACCESS_KEY_ID"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS[1])
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr("botocore.session.create_loader", lambda _: loader)
    slow_machine = Times(credentials=30, name=30, connect=10, read=10, sampling=10, total=60)
    monkeypatch.setattr("kvik_dynamodb._doctor.budget.TIMES", slow_machine)
    return tmp_path


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Give the doctor's JSON: its findings by name, and under "" the whole with the exit status."""

    def run(*arguments: str) -> dict[str, Any]:
        exit_status = main(["doctor", "--json", *arguments])
        out, err = capsys.readouterr()
        assert not err
        assert not [secret for secret in SECRETS if secret in out]
        whole = json.loads(out)
        assert [finding["name"] for finding in whole["findings"]] == NAMES
        assert exit_status == (1 if whole["status"] == "failed" else 0)
        return {**{finding["name"]: finding for finding in whole["findings"]}, "": whole}

    return run


@pytest.fixture
def place(dynamodb_endpoint: str) -> list[str]:
    """Give the options that lead to the server."""
    return ["--region", "eu-west-1", "--endpoint", dynamodb_endpoint]


def statuses(found: dict[str, Any]) -> dict[str, str]:
    """Give what is not ok."""
    return {name: found[name]["status"] for name in NAMES if found[name]["status"] != "ok"}


def create(raw: "DynamoDBClient", name: str, *keys: tuple[str, str, str]) -> None:
    """Create a table with keys of names, types (HASH or RANGE) and attribute types."""
    raw.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, _, kind in keys],  # type: ignore[typeddict-item]  # a test's own words
        KeySchema=[{"AttributeName": key, "KeyType": role} for key, role, _ in keys],  # type: ignore[typeddict-item]  # the same
        BillingMode="PAY_PER_REQUEST",
    )


def sweep(raw: "DynamoDBClient", table: str, attribute: str) -> None:
    """Turn TTL on."""
    wanted = {"Enabled": True, "AttributeName": attribute}
    raw.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)  # type: ignore[arg-type]  # as above


def test_a_sound_table_on_the_terminal(table: str, raw: "DynamoDBClient", place: list[str]) -> None:
    """The real command says so in plain text, without colour or a stack, and ends with 0."""
    sweep(raw, table, "expires_at")
    done = subprocess.run([*COMMAND, "--table", table, *place], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing failed, no warnings" in done.stdout
    assert "\x1b" not in done.stdout
    assert not [secret for secret in SECRETS if secret in done.stdout]


def test_an_absent_server_on_the_terminal() -> None:
    """The real command ends with 1, and a terminal without UTF-8 gets marks that it has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    place = ["--table", "some-table", "--region", "eu-west-1", "--endpoint", url]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, *place], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert "x reachability  cannot connect to 127.0.0.1 port" in done.stdout
    assert "1 failed, 5 warnings" in done.stdout


def test_a_sound_table(
    doctor: Callable[..., dict[str, Any]], table: str, raw: "DynamoDBClient", place: list[str]
) -> None:
    """Every finding is ok and tells what it saw; the policy has the table's own ARN."""
    sweep(raw, table, "expires_at")
    found = doctor("--table", table, *place)
    assert statuses(found) == {}
    assert found[""]["status"] == "ok"
    assert found["credentials"]["details"]["method"] == "env"
    assert found["credentials"]["details"]["temporary"] is False
    assert found["region"]["details"] == {"region": "eu-west-1", "source": "--region"}
    assert found["endpoint"]["details"] == {"endpoint": place[-1], "source": "--endpoint"}
    assert found["reachability"]["details"]["median_ms"] > 0
    assert found["clock"]["details"]["resolution_seconds"] == 1
    assert found["key_schema"]["details"] == {"partition_key": "pk", "type": "S", "sort_key": None}
    arn = raw.describe_table(TableName=table)["Table"]["TableArn"]
    assert found[""]["policy"]["Statement"][0]["Resource"] == arn
    assert found["policy"]["details"] == {"arn": arn, "placeholder": False}


def test_a_missing_table(doctor: Callable[..., dict[str, Any]], table_name: str, place: list[str]) -> None:
    """It is told once what to do, with the command that does it."""
    found = doctor("--table", table_name, *place, "--partition-key-name", "my key")
    assert found["table"]["status"] == found["read"]["status"] == "failed"
    assert found["key_schema"]["message"] == found["ttl"]["message"] == "not checked: there is no table"
    words = shlex.split(found["table"]["details"]["command"])
    assert words[:5] == ["aws", "dynamodb", "create-table", "--table-name", table_name]
    assert "AttributeName=my key,KeyType=HASH" in words
    assert "placeholder" in found["policy"]["message"]


def test_a_table_still_to_be_created(
    doctor: Callable[..., dict[str, Any]], table_name: str, place: list[str]
) -> None:
    """With create_table a missing table is no failure."""
    found = doctor("--table", table_name, *place, "--create-table")
    assert set(statuses(found)) == {"read", "table", "key_schema", "ttl"}
    assert found[""]["status"] == "warning"
    assert "connect() will create it" in found["table"]["message"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([("id", "HASH", "S")], "its partition key is 'id', not 'pk': pass partition_key_name='id'"),
        ([("pk", "HASH", "S"), ("sk", "RANGE", "S")], "it has a sort key 'sk'"),
        ([("pk", "HASH", "N")], "its partition key is of type N, not S (String)"),
    ],
)
def test_a_key_of_another_schema(
    doctor: Callable[..., dict[str, Any]],
    raw: "DynamoDBClient",
    table_name: str,
    place: list[str],
    keys: list[tuple[str, str, str]],
    message: str,
) -> None:
    """Name, type and sort key are told apart."""
    create(raw, table_name, *keys)
    found = doctor("--table", table_name, *place)
    assert found["key_schema"]["status"] == "failed"
    assert message in found["key_schema"]["message"]
    assert found["table"]["status"] == "ok"


@pytest.mark.parametrize("attribute", ["", "ttl"])
def test_ttl_that_does_not_sweep(
    doctor: Callable[..., dict[str, Any]], raw: "DynamoDBClient", table: str, place: list[str], attribute: str
) -> None:
    """TTL that is off or on another attribute is a warning that says what follows."""
    if attribute:
        sweep(raw, table, attribute)
    found = doctor("--table", table, *place)
    assert statuses(found) == {"ttl": "warning"}
    assert "never deleted" in found["ttl"]["message"]
    assert ("ttl_attribute='ttl'" in found["ttl"]["message"]) is bool(attribute)
    assert "Enabled=true,AttributeName=expires_at" in found["ttl"]["details"]["command"]


def test_ttl_is_not_asked_of_who_sets_no_expiry(
    doctor: Callable[..., dict[str, Any]], table: str, place: list[str]
) -> None:
    """A service without expiring keys needs no TTL."""
    assert statuses(doctor("--table", table, *place, "--capabilities", "batch")) == {}


def test_no_credentials(
    doctor: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, table: str, place: list[str]
) -> None:
    """The places looked at are told in order; the server is looked at all the same."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = doctor("--table", table, *place)
    assert found["credentials"]["status"] == "failed"
    looked_at = [each["method"] for each in found["credentials"]["details"]["looked_at"]]
    assert looked_at[0] == "env"
    assert looked_at[-2:] == ["container-role", "iam-role"]
    assert (found["reachability"]["status"], found["clock"]["status"]) == ("ok", "ok")
    assert found["read"]["message"] == "not checked: there are no credentials to ask with"


def test_nothing_configured(
    doctor: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without credentials and region the doctor says both, and a policy with placeholders."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = doctor("--table", "some-table")
    assert (found["credentials"]["status"], found["region"]["status"]) == ("failed", "failed")
    assert found[""]["policy"]["Statement"][0]["Resource"].startswith("arn:aws:dynamodb:REGION:")
    assert main(["doctor", "--table", "some-table"]) == 1
    assert "1. env: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n" in capsys.readouterr().out


def test_credentials_region_and_endpoint_of_a_profile(
    doctor: Callable[..., dict[str, Any]], environment: Path, fake: Callable[..., str]
) -> None:
    """A profile's own are told as such, and a password in its endpoint is not."""
    url = fake()
    (environment / "credentials").write_text(
        "[orders]\naws_access_key_id = AKIADOCTOR\naws_secret_access_key = hush-secret\n"
        "aws_session_token = hush-token\n"
    )
    endpoint = url.replace("//", "//user:hush-password@")
    (environment / "config").write_text(f"[profile orders]\nregion = eu-west-3\nendpoint_url = {endpoint}\n")
    found = doctor("--table", "some-table", "--profile", "orders")
    assert found["credentials"]["details"] == {
        "method": "shared-credentials-file",
        "profile": "orders",
        "temporary": True,
        "expires_at": None,
    }
    assert "not renewed by itself" in found["credentials"]["message"]
    assert found["region"]["details"] == {"region": "eu-west-3", "source": "the profile 'orders'"}
    assert found["endpoint"]["details"] == {"endpoint": url, "source": "the profile 'orders'"}
    assert found["reachability"]["status"] == "ok"


def test_a_profile_that_is_not_there(
    doctor: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, table: str, place: list[str]
) -> None:
    """A wrong AWS_PROFILE is named, and does not keep the server from being looked at."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    found = doctor("--table", table, *place)
    assert "no profile 'nobody'" in found["credentials"]["message"]
    assert found["reachability"]["status"] == "ok"


@pytest.mark.parametrize(("hours", "status"), [(-1, "failed"), (5, "ok")])
def test_credentials_with_an_end(
    doctor: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    fake: Callable[..., str],
    hours: int,
    status: str,
) -> None:
    """Expired credentials are told as that; those that will expire say when."""
    end = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + hours * 3600))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hush-token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end)
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", fake())
    assert found["credentials"]["status"] == status
    assert ("expired" if status == "failed" else end) in found["credentials"]["message"]


def test_a_credential_process_that_fails(
    doctor: Callable[..., dict[str, Any]], environment: Path, fake: Callable[..., str]
) -> None:
    """What it wrote, which may be a secret, is not shown."""
    script = environment / "process"
    script.write_text("#!/bin/sh\necho hush-secret >&2\nexit 1\n")
    script.chmod(0o700)
    (environment / "config").write_text(f"[profile own]\ncredential_process = {script}\n")
    place = ["--region", "eu-west-1", "--endpoint", fake()]
    found = doctor("--table", "some-table", "--profile", "own", *place)
    assert found["credentials"]["status"] == "failed"
    assert "CredentialRetrievalError" in found["credentials"]["message"]


def test_credentials_that_take_too_long(
    doctor: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    environment: Path,
    fake: Callable[..., str],
) -> None:
    """A process that never ends, as a metadata service that is gone, is a finding after some seconds."""
    times = Times(credentials=0.05, name=30, connect=10, read=10, sampling=10, total=60)
    monkeypatch.setattr("kvik_dynamodb._doctor.budget.TIMES", times)
    end = environment / "end"
    os.mkfifo(end)
    (environment / "config").write_text(f"[profile own]\ncredential_process = cat {end}\n")
    place = ["--region", "eu-west-1", "--endpoint", fake()]
    found = doctor("--table", "some-table", "--profile", "own", *place)
    end.write_text("")  # waits for the process, and ends it
    assert "took too long" in found["credentials"]["message"]
    assert found["reachability"]["status"] == "ok"


def test_a_proxy_of_the_environment(
    doctor: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, fake: Callable[..., str]
) -> None:
    """The way leads to the proxy, which is said without its password."""
    monkeypatch.setenv("http_proxy", fake().replace("//", "//user:hush-password@"))
    monkeypatch.setenv("no_proxy", "")
    arguments = ["--table", "some-table", "--region", "eu-west-1", "--endpoint", "http://dynamodb.example"]
    found = doctor(*arguments)
    assert found["reachability"]["status"] == "ok"
    assert "through the proxy 127.0.0.1" in found["reachability"]["message"]
    monkeypatch.setenv("http_proxy", "http://user:hush-password@127.0.0.1:99999")
    assert "the URL of the proxy is wrong" in doctor(*arguments)["reachability"]["message"]


def test_an_endpoint_of_the_environment(
    doctor: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, fake: Callable[..., str]
) -> None:
    """AWS_ENDPOINT_URL is named as the source, and as the fault when it is no URL."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url := fake())
    found = doctor("--table", "some-table")
    assert found["region"]["details"]["source"] == "AWS_DEFAULT_REGION"
    assert found["endpoint"]["details"] == {"endpoint": url, "source": "AWS_ENDPOINT_URL"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "hush-password")
    assert doctor("--table", "some-table")["endpoint"]["status"] == "failed"


@pytest.mark.parametrize(("minutes", "words"), [(20, "behind"), (-20, "ahead of"), (2, "at 5 minutes")])
def test_a_clock_that_is_off(
    doctor: Callable[..., dict[str, Any]], fake: Callable[..., str], minutes: int, words: str
) -> None:
    """The Date header of the answers shows it, and refused signatures point to it."""
    url = fake(clock_offset=minutes * 60.0, denied={"GetItem": "InvalidSignatureException"})
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url)
    assert found["clock"]["status"] == "warning"
    assert words in found["clock"]["message"]
    assert found["clock"]["details"]["offset_seconds"] == pytest.approx(minutes * 60, abs=30)
    assert found["read"]["status"] == "failed"
    assert "correct the clock" in found["read"]["message"]


def test_describing_denied(doctor: Callable[..., dict[str, Any]], fake: Callable[..., str]) -> None:
    """The control plane is not needed: what the read proves is ok, the rest is a warning."""
    denied = dict.fromkeys(["DescribeTable", "DescribeTimeToLive"], "AccessDeniedException")
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", fake(denied=denied))
    assert statuses(found) == {"table": "warning", "ttl": "warning"}
    assert "which the driver itself does not need" in found["table"]["message"]
    assert found[""]["policy"]["Statement"][0]["Resource"] == (
        "arn:aws:dynamodb:eu-west-1:123456789012:table/some-table"
    )
    assert "placeholder" in found["policy"]["message"]


def test_a_wrong_key_without_describing(doctor: Callable[..., dict[str, Any]], fake: Callable[..., str]) -> None:
    """Where the table may not be described, the refused read still tells of the key."""
    url = fake(denied={"GetItem": "ValidationException", "DescribeTable": "AccessDeniedException"})
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url)
    assert statuses(found) == {"read": "failed", "table": "warning", "key_schema": "failed", "ttl": "warning"}


def test_nothing_allowed(doctor: Callable[..., dict[str, Any]], fake: Callable[..., str]) -> None:
    """Refused credentials fail once, and the checks that need them say why they are not done."""
    operations = ["GetItem", "DescribeTable", "DescribeTimeToLive"]
    url = fake(denied=dict.fromkeys(operations, "UnrecognizedClientException"))
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url)
    assert statuses(found) == {"read": "failed", "table": "warning", "key_schema": "warning", "ttl": "warning"}


@pytest.mark.parametrize(("table_status", "status"), [("CREATING", "warning"), ("ARCHIVED", "failed")])
def test_a_table_that_is_not_active(
    doctor: Callable[..., dict[str, Any]], fake: Callable[..., str], table_status: str, status: str
) -> None:
    """One that will be is a warning; one that will not by itself is a failure."""
    url = fake(description={"Table": {"TableStatus": table_status}})
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url)
    assert found["table"]["status"] == status
    assert table_status in found["table"]["message"]


def test_a_throttled_table(doctor: Callable[..., dict[str, Any]], fake: Callable[..., str]) -> None:
    """A table at its limit is a warning, as it is for health."""
    url = fake(denied={"GetItem": "ProvisionedThroughputExceededException"})
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url)
    assert found["read"]["status"] == "warning"


def test_reading_denied(doctor: Callable[..., dict[str, Any]], fake: Callable[..., str]) -> None:
    """A denied read fails, with the permission and the health key that it needs; odd replies stop nothing."""
    url = fake(denied={"GetItem": "AccessDeniedException"})
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url, "--health-key", "a/b")
    assert found["read"]["status"] == "failed"
    assert "dynamodb:GetItem" in found["read"]["message"]
    assert "'a/b'" in found["read"]["message"]
    assert found["table"]["message"].startswith("this check itself failed (KeyError)")
    assert found["ttl"]["status"] == "warning"


def test_a_server_that_is_no_dynamodb(doctor: Callable[..., dict[str, Any]], fake: Callable[..., str]) -> None:
    """A web page is no empty reply."""
    url = fake(page=b"<html>hush-secret")
    found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url)
    assert found["reachability"]["status"] == "failed"
    assert "check that the endpoint is a DynamoDB server" in found["reachability"]["message"]


def test_a_server_that_never_answers(
    doctor: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes connections and no more ends in a finding, not in a hang."""
    monkeypatch.setattr(
        "kvik_dynamodb._doctor.budget.TIMES", Times(connect=0.05, read=0.05, sampling=0, name=30, total=60)
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = doctor("--table", "some-table", "--region", "eu-west-1", "--endpoint", url)
    assert found["reachability"]["status"] == "failed"
    assert found["ttl"]["message"] == "not checked: the server does not answer"


def test_a_name_that_does_not_exist(
    doctor: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS is told apart from the rest."""

    def no_such_name(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)  # a machine without a network may ask for long
    found = doctor("--table", "some-table", "--region", "eu-wset-1")
    assert found["endpoint"]["details"]["source"] == "AWS's own for the region"
    assert "is not known" in found["reachability"]["message"]


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (["--capabilities", ""], []),
        (["--capabilities", "expiry,conditional,counter"], []),
        (["--capabilities", "batch"], ["BatchGetItem", "BatchWriteItem"]),
        (["--capabilities", "scan"], ["Scan"]),
        (
            ["--capabilities", "", "--create-table"],
            ["CreateTable", "DescribeTable", "UpdateTimeToLive", "DescribeTimeToLive"],
        ),
    ],
)
def test_the_policy_is_the_smallest(
    doctor: Callable[..., dict[str, Any]], options: list[str], more: list[str]
) -> None:
    """It allows what the capabilities in use need, and no more."""
    found = doctor("--table", "some-table", *options)
    (statement,) = found[""]["policy"]["Statement"]
    names = ["GetItem", "PutItem", "DeleteItem", *more]
    assert statement["Action"] == [f"dynamodb:{name}" for name in names]


@pytest.mark.parametrize(
    "wrong",
    [
        ["doctor"],
        ["doctor", "--table", "no table"],
        ["doctor", "--table", "some-table", "--capabilities", "batch,telepathy"],
        ["doctor", "--table", "some-table", "--endpoint", "http://user:hush-password@localhost"],
        ["doctor", "--table", "some-table", "--partition-key-name", "value"],
    ],
)
def test_wrong_usage_ends_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is looked at; the message goes to stderr and repeats no password."""
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert "usage: python -m kvik_dynamodb doctor" in err
    assert "hush" not in err


def test_a_fault_of_the_doctor_shows_no_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever goes wrong inside, a person gets a sentence and a program gets 1."""

    def fail(_: object) -> None:
        raise LookupError(SECRETS[1])

    monkeypatch.setattr("kvik_dynamodb._doctor.command.diagnose", fail)
    assert main(["doctor", "--table", "some-table"]) == 1
    assert capsys.readouterr().err == "the doctor itself failed (LookupError): report this as a fault of Kvik\n"


def test_a_reader_that_has_enough() -> None:
    """The exit status stays the same when the output's reader, such as head, has gone."""
    place = ["--table", "some-table", "--region", "eu-west-1", "--endpoint", "http://127.0.0.1:1"]
    with subprocess.Popen([*COMMAND, *place], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_defaults_are_the_drivers(capsys: pytest.CaptureFixture[str]) -> None:
    """Who configures nothing is asked about what the driver uses then."""
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    text = capsys.readouterr().out
    parameters = inspect.signature(DynamoDB).parameters
    for name in ("partition_key_name", "ttl_attribute", "health_key"):
        assert f"default: {parameters[name].default}" in text


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A tty gets colour unless NO_COLOR is set."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["doctor", "--table", "some-table"])
    assert "\x1b[31m✗\x1b[0m region" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["doctor", "--table", "some-table"])
    assert "\x1b" not in capsys.readouterr().out
