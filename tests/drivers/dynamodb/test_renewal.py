"""Keys that end: renewed early while nobody waits, or late after a refusal, and never exchanged for others."""

import asyncio
import time
from collections.abc import Callable

import pytest

from kvik_dynamodb import DynamoDB
from support import eventually

from .conftest import EventLog, Maker
from .sources import (
    FIXED,
    RENEWING,
    Guard,
    Provide,
    Surroundings,
    by_container,
    by_ec2,
    by_environment,
    by_shared_file,
    by_web_identity,
    failure_of,
    name_of,
    wire_alone,
)

pytestmark = wire_alone

SECONDS_LEFT = "botocore.credentials.RefreshableCredentials._seconds_remaining"
"""How long credentials are still good, by botocore's clock."""


def rotate(here: Surroundings, provide: Provide) -> None:
    """Let a source give other keys from now on; services do so by themselves."""
    if provide is by_shared_file:
        provide(here)


@pytest.mark.parametrize("provide", RENEWING, ids=name_of)
async def test_expired_keys_are_renewed_once(
    guarded: Maker, guard: Guard, surroundings: Surroundings, provide: Provide
) -> None:
    """A call whose keys AWS calls expired is sent again with new ones of the same source, and is right."""
    provide(surroundings)
    async with guarded() as db:
        guard.expired.add("AKIDISSUED1")
        rotate(surroundings, provide)
        guard.callers.clear()
        await db.set("k", "v")
        assert guard.callers == [("AKIDISSUED1", "token-1"), ("AKIDISSUED2", "token-2")]
        assert await db.get("k") == "v"
        assert guard.callers[2:] == [("AKIDISSUED2", "token-2")]
    assert surroundings.issuer.asked == 2


@pytest.mark.parametrize("provide", [by_container, by_web_identity], ids=name_of)
async def test_many_calls_renew_together(
    guarded: Maker, guard: Guard, surroundings: Surroundings, provide: Provide
) -> None:
    """However many calls find their keys expired at one time, the source is asked once."""
    provide(surroundings)
    async with guarded() as db:
        guard.expired.add("AKIDISSUED1")
        await asyncio.gather(*(db.set(f"k{number}", "v") for number in range(30)))
        assert len(await db.get_many([f"k{number}" for number in range(30)])) == 30
    assert surroundings.issuer.asked == 2


@pytest.mark.parametrize("provide", FIXED + RENEWING, ids=name_of)
async def test_keys_that_stay_expired_are_an_error(
    guarded: Maker, guard: Guard, surroundings: Surroundings, provide: Provide
) -> None:
    """The call fails after one renewal at most; nothing was written, and the requests are few."""
    session = provide(surroundings)
    async with guarded(session=session) as db:
        guard.expired.add("everybody")
        guard.callers.clear()
        error = await failure_of(db.set("k", "v"))
        assert (error.code, error.cause, error.outcome) == ("access_denied", "access denied", "not_applied")
        assert (error.reason, error.retryable) == ("ExpiredTokenException", False)
        assert len(guard.callers) <= 2
        assert surroundings.issuer.asked <= 2
        guard.expired.clear()
        assert await db.get("k") is None


def vanish(here: Surroundings) -> None:
    """Take the service away, and every trace of it."""
    here.issuer.close()
    for name in ("CONTAINER_CREDENTIALS_FULL_URI", "WEB_IDENTITY_TOKEN_FILE", "ROLE_ARN"):
        here.environment.delenv(f"AWS_{name}", raising=False)
    here.environment.setenv("AWS_EC2_METADATA_DISABLED", "true")


def break_down(here: Surroundings) -> None:
    """Let the service fail, as it is still configured."""
    here.issuer.close()


@pytest.mark.usefixtures("looking_always")
@pytest.mark.parametrize("loss", [vanish, break_down], ids=name_of)
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("provide", [by_container, by_ec2, by_web_identity], ids=name_of)
async def test_an_identity_is_never_exchanged(
    guarded: Maker,
    guard: Guard,
    surroundings: Surroundings,
    provide: Provide,
    loss: Callable[[Surroundings], None],
    *,
    ended: bool,
) -> None:
    """Where the source that worked is gone and other keys have appeared, calls fail rather than use those."""
    provide(surroundings)
    async with guarded() as db:
        loss(surroundings)
        surroundings.environment.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
        surroundings.environment.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
        guard.expired.update(f"AKIDISSUED{number}" for number in range(1, 9))
        if ended:
            surroundings.environment.setattr(SECONDS_LEFT, lambda _: -1.0)
        for _ in range(2):
            error = await failure_of(db.set("k", "v"))
            assert (error.code, error.outcome) == ("access_denied", "not_applied")
        assert not [key for key, _ in guard.callers if key == "AKIDOTHER"]


@pytest.fixture
def looking_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look before each call whether the keys are still good, not once a second."""
    monkeypatch.setattr("kvik_dynamodb._wire.credentials._LOOK_AGAIN", 0.0)


@pytest.fixture
async def log_and_db(guarded: Maker) -> tuple[EventLog, DynamoDB]:
    """Give a driver, not connected, and what it logs."""
    log, db = EventLog(), guarded()
    db.use_logger(log)
    return log, db


@pytest.mark.usefixtures("looking_always")
@pytest.mark.parametrize("lifetime", [300, 800])
@pytest.mark.parametrize("provide", [by_container, by_web_identity], ids=name_of)
async def test_keys_near_their_end_are_renewed_in_the_background(
    log_and_db: tuple[EventLog, DynamoDB],
    guard: Guard,
    surroundings: Surroundings,
    provide: Provide,
    lifetime: int,
) -> None:
    """While the source takes its time calls go on with the old keys; it is asked once; then the new ones serve."""
    log, db = log_and_db
    provide(surroundings)
    surroundings.issuer.lifetime = lifetime
    async with db:
        (old,) = guard.keys()
        asked = surroundings.issuer.asked
        surroundings.issuer.opened.clear()
        surroundings.issuer.lifetime = 3600
        for _ in range(3):
            await asyncio.gather(*(db.set(f"k{number}", "v") for number in range(20)))
        await eventually(lambda: surroundings.issuer.asked == asked + 1)
        assert await db.get("k0") == "v"
        assert guard.keys() == [old]
        surroundings.issuer.opened.set()
        while len(guard.keys()) == 1:
            assert await db.get("k0") == "v"
        assert await db.get("k0") == "v"
        assert guard.callers[-1] == (f"AKIDISSUED{asked + 1}", f"token-{asked + 1}")
    assert surroundings.issuer.asked == asked + 1
    assert log.warnings == []


@pytest.mark.usefixtures("looking_always")
@pytest.mark.parametrize("lifetime", [300, 800])
@pytest.mark.parametrize("provide", [by_container, by_web_identity], ids=name_of)
async def test_a_failed_early_renewal_is_told_once(
    log_and_db: tuple[EventLog, DynamoDB],
    guard: Guard,
    surroundings: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    provide: Provide,
    lifetime: int,
) -> None:
    """The old keys serve on, however often renewing fails; that is one warning; and it is tried again."""
    log, db = log_and_db
    provide(surroundings)
    surroundings.issuer.lifetime = lifetime
    async with db:
        old, asked = guard.keys(), surroundings.issuer.asked
        surroundings.issuer.status = 500
        monkeypatch.setattr("kvik_dynamodb._wire.credentials._AFTER_RENEWING", 0.0)
        while surroundings.issuer.asked < asked + 5:
            await db.set("k", "v")
        assert guard.keys() == old
        ((event, fields),) = log.warnings
        assert (event, fields["table"]) == ("dynamodb.credentials_not_renewed", table)
        assert fields["error"] in {"CredentialRetrievalError", "ClientError"}
        surroundings.issuer.status = 200
        while len(guard.keys()) == 1:
            assert await db.get("k") == "v"


@pytest.mark.usefixtures("looking_always")
async def test_short_lived_keys_are_no_failure(
    log_and_db: tuple[EventLog, DynamoDB], guard: Guard, surroundings: Surroundings
) -> None:
    """Keys that never last a quarter of an hour are renewed now and then, not at each call, in silence."""
    log, db = log_and_db
    by_container(surroundings)
    surroundings.issuer.lifetime = 600
    async with db:
        asked = surroundings.issuer.asked
        while len(guard.keys()) == 1:
            await db.set("k", "v")
        for _ in range(20):
            assert await db.get("k") == "v"
    assert surroundings.issuer.asked == asked + 1
    assert log.warnings == []


@pytest.mark.usefixtures("looking_always")
async def test_keys_that_have_ended_are_waited_for(
    guarded: Maker, guard: Guard, surroundings: Surroundings
) -> None:
    """Without good keys a call waits for the source within its own time, and is never sent with the old ones."""
    by_container(surroundings)
    async with guarded() as db:
        surroundings.issuer.opened.clear()
        guard.callers.clear()
        db.use_deadline(lambda: 0.2)
        began = time.monotonic()
        surroundings.environment.setattr(
            SECONDS_LEFT, lambda keys: -1.0 if vars(keys)["_access_key"] == "AKIDISSUED1" else 3600.0
        )
        error = await failure_of(db.set("k", "v"))
        assert time.monotonic() - began < 2
        assert (error.code, error.cause, error.outcome) == ("deadline_exceeded", "credentials", "not_applied")
        assert guard.callers == []
        db.use_deadline(lambda: None)
        surroundings.issuer.opened.set()
        await db.set("k", "v")
        assert guard.keys() == ["AKIDISSUED2"]


async def test_env_keys_are_looked_up_again(guarded: Maker, guard: Guard, surroundings: Surroundings) -> None:
    """Keys that the program itself has put into its environment anew are found after the old ones were refused."""
    by_environment(surroundings)
    async with guarded() as db:
        guard.expired.add("AKIDISSUED1")
        surroundings.environment.setenv("AWS_ACCESS_KEY_ID", "AKIDNEW")
        await db.set("k", "v")
        assert guard.keys() == ["AKIDISSUED1", "AKIDNEW"]
