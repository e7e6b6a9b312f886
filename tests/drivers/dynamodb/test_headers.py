"""Values that cannot stand in a request's header, wherever they come from."""

import re
import traceback

import pytest

from kvik_dynamodb import DynamoDBError
from kvik_dynamodb._errors import Target
from kvik_dynamodb._failures import translate
from kvik_dynamodb._headers import UnsendableError
from kvik_dynamodb._wire.dialing import Endpoint
from kvik_dynamodb._wire.signing import Signer

from .conftest import Maker
from .faults import FaultProxy
from .sources import Guard, Surroundings

UNSENDABLE = [
    "HUSH\n",
    "HU\r\nx-evil: 1\r\n\r\nSH",
    "\rHUSH",
    "HU\x01SH",
    "HÜSH",
    "HU\x7fSH",
]


def said_of(error: BaseException) -> str:
    """Return all that a log would have of an error."""
    return "".join(traceback.format_exception(error))


@pytest.fixture
def environment(surroundings: Surroundings) -> pytest.MonkeyPatch:
    """Give an environment with usable credentials in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        surroundings.environment.setenv(name, "test")
    return surroundings.environment


@pytest.mark.parametrize("value", UNSENDABLE, ids=ascii)
@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"])
async def test_credentials_that_cannot_be_sent(
    guarded: Maker, guard: Guard, environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """They are refused in words, before anything is sent; nothing that is logged quotes them."""
    environment.setenv(name, value)
    db = guarded()
    for call in (db.connect(), db.set("k", "v")):
        with pytest.raises(DynamoDBError) as caught:
            await call
        error = caught.value
        assert (error.code, error.cause, error.outcome) == ("access_denied", "credentials", "not_applied")
        assert "a newline, or another character that cannot be sent" in str(error)
        assert not {"HU", "SH", "HUSH", "HÜSH"} & {*re.findall("[A-ZÜ]+", said_of(error))}
    assert (await db.health_check())["details"]["error"] == "credentials"
    await db.close()
    assert guard.callers == []


async def test_a_secret_key_with_a_newline(guarded: Maker, guard: Guard, environment: pytest.MonkeyPatch) -> None:
    """No server could know it: the wire says so, where AWS would call the signature wrong."""
    environment.setenv("AWS_SECRET_ACCESS_KEY", "HUSH\n")
    db = guarded(transport="wire")
    with pytest.raises(DynamoDBError) as caught:
        await db.connect()
    assert (caught.value.code, caught.value.cause) == ("access_denied", "credentials")
    assert "HUSH" not in said_of(caught.value)
    await db.close()
    assert guard.callers == []


@pytest.mark.parametrize("token", ["a  token", " a token\t", "a token ", "\ta \t token"])
async def test_spaces_in_a_token(
    guarded: Maker, guard: Guard, environment: pytest.MonkeyPatch, token: str
) -> None:
    """They are signed as AWS reads them, which test_signing compares: trimmed, and one for several."""
    environment.setenv("AWS_SESSION_TOKEN", token)
    async with guarded() as db:
        await db.set("k", "v")
    assert {" ".join(token.split()) for _, token in guard.callers} == {"a token"}


@pytest.mark.parametrize("region", ["eu-west-1\n", "eu-west-1\r\nx-evil: 1"])
async def test_a_region_that_cannot_be_sent(new_driver: Maker, table: str, proxy: FaultProxy, region: str) -> None:
    """It is part of a signature, and so of a header."""
    db = new_driver(table, region, proxy.url)
    with pytest.raises(DynamoDBError) as caught:
        await db.connect()
    assert caught.value.code in {"misconfigured", "access_denied"}
    await db.close()
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("region", "authority", "agent"),
    [
        ("eu-west-1\n", "localhost", "test"),
        ("eu-west-1", "a\x01b.example", "test"),
        ("eu-west-1", "localhost", "test\r\nx-evil: 1"),
    ],
)
def test_a_configuration_that_cannot_be_sent(region: str, authority: str, agent: str) -> None:
    """Whoever reads it has checked it before; the place where headers are joined checks all the same."""
    with pytest.raises(UnsendableError) as caught:
        Signer(region, authority, agent=agent)
    error = translate(caught.value, Target("t", "", "", "pk"))
    assert (error.code, error.cause) == ("misconfigured", "configuration")


def test_a_host_in_other_letters() -> None:
    """It is sent as DNS has it."""
    authority = Endpoint("bücher.example", 8001, None).authority
    assert authority == "xn--bcher-kva.example:8001"
    assert Signer("eu-west-1", authority, agent="test")
