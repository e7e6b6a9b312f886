"""Whose keys sign the requests: every source that botocore knows, and what is said where one fails."""

import asyncio
import sys
import time

import boto3
import botocore.session
import pytest
from botocore.credentials import CredentialProvider

from support import eventually

from .conftest import Maker
from .sources import (
    FIXED,
    RENEWING,
    Guard,
    Provide,
    Surroundings,
    by_container,
    by_ec2,
    by_process,
    by_web_identity,
    failure_of,
    name_of,
    wire_alone,
)


@pytest.mark.parametrize("provide", FIXED + RENEWING, ids=name_of)
async def test_every_source_signs(
    guarded: Maker, guard: Guard, surroundings: Surroundings, provide: Provide
) -> None:
    """Requests carry the source's access key and token, and no other's, though no region is configured."""
    session = provide(surroundings)
    async with guarded(session=session) as db:
        await db.set("k", "v")
        assert await db.get("k") == "v"
    assert set(guard.callers) == {("AKIDISSUED1", "token-1")}


@wire_alone
@pytest.mark.parametrize("provide", [by_container, by_ec2, by_web_identity], ids=name_of)
async def test_a_slow_source_ends_calls_in_time(
    guarded: Maker, guard: Guard, surroundings: Surroundings, provide: Provide
) -> None:
    """Calls end in time and say why, the loop runs on, the source is asked once; later calls work."""
    surroundings.environment.setenv("AWS_METADATA_SERVICE_TIMEOUT", "20")
    provide(surroundings)
    surroundings.issuer.opened.clear()
    db = guarded()
    connecting = asyncio.create_task(db.connect())
    await eventually(lambda: surroundings.issuer.asked)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heart = asyncio.create_task(beat())
    db.use_deadline(lambda: 0.2)
    began = time.monotonic()
    errors = await asyncio.gather(*(failure_of(db.set(f"k{number}", "v")) for number in range(20)))
    assert time.monotonic() - began < 2
    heart.cancel()
    assert beats >= 5
    assert {(error.code, error.cause, error.outcome) for error in errors} == {
        ("deadline_exceeded", "credentials", "not_applied")
    }
    assert guard.callers == []
    db.use_deadline(lambda: None)
    surroundings.issuer.opened.set()
    await connecting
    await db.set("k", "v")
    assert await db.get("k") == "v"
    assert (surroundings.issuer.asked, guard.keys()) == (1, ["AKIDISSUED1"])
    await db.close()


@wire_alone
async def test_a_slow_source_ends_connect_in_time(guarded: Maker, surroundings: Surroundings) -> None:
    """So does connect, within the driver's own total time."""
    by_container(surroundings)
    surroundings.issuer.opened.clear()
    db = guarded(total_timeout=0.2)
    error = await failure_of(db.connect())
    assert (error.code, error.cause, error.outcome) == ("deadline_exceeded", "credentials", "not_applied")
    await db.close()


@wire_alone
@pytest.mark.parametrize("provide", [by_container, by_web_identity, by_process], ids=name_of)
async def test_a_source_that_is_gone_is_named(
    guarded: Maker, guard: Guard, surroundings: Surroundings, provide: Provide
) -> None:
    """A source that refuses connections is an error of credentials with its name, at once; nothing was sent."""
    provide(surroundings)
    surroundings.issuer.close()
    db = guarded()
    names: dict[Provide, str] = {
        by_container: "container-role",
        by_web_identity: "assume-role-with-web-identity",
        by_process: "custom-process",
    }
    for call in (db.connect(), db.set("k", "v")):
        error = await failure_of(call)
        assert (error.code, error.cause, error.outcome) == ("access_denied", "credentials", "not_applied")
        assert names[provide] in str(error)
        assert "127.0.0.1" not in str(error).replace(f"at {db._options.endpoint}", "")  # noqa: SLF001 - the table's place
    assert guard.callers == []
    await db.close()


@wire_alone
async def test_metadata_that_is_gone_is_among_the_places(guarded: Maker, surroundings: Surroundings) -> None:
    """Where nothing has credentials, the error lists every place that was looked at, in order."""
    by_ec2(surroundings)
    surroundings.issuer.close()
    db = guarded()
    error = await failure_of(db.connect())
    assert (error.code, error.cause, error.reason) == ("access_denied", "credentials", "NoCredentialsError")
    assert "looked at: env, assume-role, " in str(error)
    assert "container-role, iam-role" in str(error)
    await db.close()


@wire_alone
@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("credential_process = no-such-program --token hidden", "FileNotFoundError"),
        (f"credential_process = {sys.executable} -c 'raise SystemExit(\"hidden\")'", "CredentialRetrievalError"),
        (f"credential_process = {sys.executable} -c print(1)", "AttributeError"),
        ("credential_process = 'unclosed hidden", "ValueError"),
    ],
    ids=["absent", "failing", "senseless", "unclosed quote"],
)
async def test_a_process_that_fails_is_a_matter_of_credentials(
    guarded: Maker, surroundings: Surroundings, config: str, reason: str
) -> None:
    """Whatever goes wrong with a credential process, the error is the driver's, and quotes nothing."""
    surroundings.write("config", f"[default]\n{config}\n")
    db = guarded()
    error = await failure_of(db.connect())
    assert (error.code, error.cause, error.outcome) == ("access_denied", "credentials", "not_applied")
    assert error.reason == reason
    assert "hidden" not in str(error)
    await db.close()


@wire_alone
@pytest.mark.parametrize("lifetime", [3600, -60])
async def test_a_role_that_is_refused_is_a_matter_of_credentials(
    guarded: Maker, guard: Guard, surroundings: Surroundings, lifetime: int
) -> None:
    """STS that denies the role, or gives what has expired, is an error of credentials, and nothing was sent."""
    by_web_identity(surroundings)
    surroundings.issuer.lifetime = lifetime
    surroundings.issuer.status = 403 if lifetime > 0 else 200
    db = guarded()
    error = await failure_of(db.connect())
    assert (error.code, error.cause, error.outcome) == ("access_denied", "credentials", "not_applied")
    assert error.reason == ("AccessDenied" if lifetime > 0 else "RuntimeError")
    assert (await db.health_check())["details"]["error"] == "credentials"
    assert guard.callers == []
    surroundings.issuer.lifetime, surroundings.issuer.status = 3600, 200
    await db.set("k", "v")
    await db.close()


async def test_a_configuration_that_cannot_work_says_so(guarded: Maker, surroundings: Surroundings) -> None:
    """A role without a name is not taken for an absent source."""
    surroundings.environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "a-file")
    db = guarded()
    error = await failure_of(db.connect())
    assert (error.code, error.cause, error.reason) == ("misconfigured", "configuration", "InvalidConfigError")
    await db.close()


@wire_alone
@pytest.mark.parametrize("provide", [by_container, by_web_identity], ids=name_of)
async def test_close_does_not_wait_for_a_slow_source(
    guarded: Maker, surroundings: Surroundings, provide: Provide
) -> None:
    """Close returns at once; calls that wait for credentials are refused, and a connect after it works."""
    provide(surroundings)
    surroundings.issuer.opened.clear()
    db = guarded()
    connecting = asyncio.create_task(db.connect())
    await eventually(lambda: surroundings.issuer.asked)
    began = time.monotonic()
    await db.close()
    error = await failure_of(connecting)
    assert time.monotonic() - began < 2
    assert (error.cause, error.outcome) == ("closed", "not_applied")
    surroundings.issuer.opened.set()
    await db.connect()
    assert await db.get("k") is None
    await db.close()


@pytest.mark.parametrize("raised", [StopIteration, SystemExit, asyncio.CancelledError])
async def test_a_source_of_the_users_may_raise_anything(
    new_driver: Maker, table: str, dynamodb_endpoint: str, raised: type[BaseException]
) -> None:
    """What a thread cannot hand on to the event loop is the driver's error too, at once."""

    class Own(CredentialProvider):
        METHOD = CANONICAL_NAME = "own"

        def load(self) -> None:
            raise raised

    own = botocore.session.get_session()
    own.get_component("credential_provider").insert_before("env", Own())
    db = new_driver(table, "eu-west-1", dynamodb_endpoint, session=boto3.Session(botocore_session=own))
    try:
        async with asyncio.timeout(5):
            await failure_of(db.connect())
    finally:
        await db.close()
