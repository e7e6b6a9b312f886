"""The wire's signatures are those of botocore, the authority that AWS itself publishes."""

from datetime import UTC, datetime
from ipaddress import IPv6Address
from unittest import mock

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from kvik_dynamodb import DynamoDB
from kvik_dynamodb._wire.dialing import Endpoint
from kvik_dynamodb._wire.signing import Credentials, Signer
from kvik_dynamodb._wire.transport import _trust

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
LABEL = st.text("abcxyz019", min_size=1, max_size=8)
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
HOSTS = st.one_of(NAMES, st.integers(0, 2**128 - 1).map(lambda number: str(IPv6Address(number))))
REGIONS = [
    region
    for part in ("aws", "aws-cn", "aws-us-gov")
    for region in boto3.Session().get_available_regions("dynamodb", part)
]
PORTS = st.one_of(st.none(), st.sampled_from([80, 443]), st.integers(1, 65535))
KEYS = st.builds(
    Credentials,
    st.text("AKIZ27", min_size=16, max_size=20),
    st.text(VISIBLE, min_size=1, max_size=20),
    st.none() | st.text(VISIBLE, min_size=1, max_size=40) | st.text(" \ta", max_size=9).map("a{}".format),
)
OPERATIONS = ["GetItem", "PutItem", "DeleteItem", "BatchGetItem", "BatchWriteItem", "Scan"]
TRUST = _trust(boto3.Session()._session)  # noqa: SLF001 - boto3 shows no other way


def headers_of(request: bytes) -> dict[str, str]:
    """Give a request's headers by their names in lower case."""
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}


def botocores(
    url: str, region: str, keys: Credentials, asked: dict[str, str], body: bytes, now: float
) -> AWSRequest:
    """Give the same request, signed by botocore."""
    headers = {name: asked[name] for name in ("content-type", "x-amz-target")}
    request = AWSRequest("POST", url, headers, body)
    moment = datetime.fromtimestamp(int(now), UTC).replace(tzinfo=None)
    known = BotocoreCredentials(keys.access_key, keys.secret_key, keys.token)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(known, "dynamodb", region).add_auth(request)
    return request


@settings(max_examples=1000, deadline=None)
@given(
    region=st.sampled_from(REGIONS),
    host=HOSTS,
    port=PORTS,
    tls=st.booleans(),
    keys=KEYS,
    operation=st.sampled_from(OPERATIONS),
    body=st.one_of(st.text(max_size=40).map(str.encode), st.binary(max_size=40)),
    now=st.integers(0, 8_000_000_000).map(lambda half: half / 2),
)
def test_signatures_equal_botocores(
    region: str,
    host: str,
    port: int | None,
    keys: Credentials,
    operation: str,
    body: bytes,
    now: float,
    *,
    tls: bool,
) -> None:
    """For any region, server, keys, body and time, every signed header is the one that botocore makes."""
    endpoint = Endpoint(host, port or (443 if tls else 80), TRUST if tls else None)
    request = Signer(region, endpoint.authority, agent="test").request(operation, body, keys, now)
    sent = headers_of(request)
    bracketed = f"[{host}]" if ":" in host else host
    url = f"{'https' if tls else 'http'}://{bracketed}{'' if port is None else f':{port}'}/"
    theirs = botocores(url, region, keys, sent, body, now)
    assert sent["authorization"] == theirs.headers["Authorization"]
    assert sent["x-amz-date"] == theirs.headers["X-Amz-Date"]
    assert (
        sent.get("x-amz-security-token", "").split() == (theirs.headers.get("X-Amz-Security-Token") or "").split()
    )
    assert request.endswith(b"\r\n\r\n" + body)
    assert sent["content-length"] == str(len(body))


def test_a_signature_by_example() -> None:
    """One request, at one moment, has this signature, whatever library computes it."""
    signer = Signer("eu-west-1", "localhost:8001", agent="example")
    keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session-token")
    body = '{"TableName":"t","Key":{"pk":{"S":"grüße"}}}'.encode()
    signature = "1c8ebfa6662dc151ba5e382d6d5bd4ae99dbf8b34e832e3934004d48f5b3e076"
    request = signer.request("GetItem", body, keys, 1_900_000_000.75)
    assert request.startswith(b"POST / HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n" + body)
    assert headers_of(request) == {
        "content-type": "application/x-amz-json-1.0",
        "host": "localhost:8001",
        "x-amz-date": "20300317T174640Z",
        "x-amz-security-token": "a-session-token",
        "x-amz-target": "DynamoDB_20120810.GetItem",
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20300317/eu-west-1/dynamodb/aws4_request, "
            f"SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature={signature}"
        ),
        "user-agent": "example",
        "accept-encoding": "identity",
        "content-length": "46",
    }


def test_a_signer_follows_the_day_and_the_keys() -> None:
    """One signer's requests on another day, or with other keys, are signed as by a new signer."""
    signer = Signer("eu-west-1", "localhost", agent="test")
    for now in (0.0, 86_399.0, 86_400.0, 0.0):
        for secret in ("one", "two"):
            keys = Credentials("AKID", secret)
            fresh = Signer("eu-west-1", "localhost", agent="test")
            assert signer.request("Scan", b"{}", keys, now) == fresh.request("Scan", b"{}", keys, now)


async def test_no_repr_shows_a_secret(dynamodb_endpoint: str, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of the driver lands in a log, neither secret key nor token is in it, and no access key."""
    secrets = ("AKIDHIDDEN", "hidden-secret", "hidden-token")
    for name, secret in zip(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), secrets, strict=True
    ):
        monkeypatch.setenv(name, secret)
    async with DynamoDB(table, "eu-west-1", dynamodb_endpoint, transport="wire") as db:
        await db.get("k")
        line = db._connection._transport._line  # type: ignore[union-attr]  # noqa: SLF001 - what a debugger would show
        requester = line.requester
        shown = [db, line, requester, *vars(requester).values(), *vars(requester._credentials).values()]  # noqa: SLF001 - the same
        assert [type(each) for each in shown if any(secret in repr(each) for secret in secrets)] == []
