"""Conditional writes: a version names one write, and no update is lost."""
# ruff: noqa: S101 - tests assert

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from ..._kv.driver import Driver
from ...kv_errors import Conflict
from .clock import StoreClock
from .fixtures import StoreFixtures, needs, refused, skip_without, versioned

Write = Callable[[Driver, str], Awaitable[object]]


async def _set_anew(driver: Driver, value: str) -> None:
    await driver.delete("key")
    await driver.set("key", value)


WRITES: Final[dict[str, tuple[str, Write]]] = {
    "set": ("conditional", lambda driver, value: driver.set("key", value)),
    "set_expiring": ("expiry", lambda driver, value: driver.set_expiring("key", value, driver.clock() + 1000)),
    "set_many": ("batch", lambda driver, value: driver.set_many({"key": value})),
    "increment": ("counter", lambda driver, _: driver.increment("key", 0)),
    "delete and set": ("conditional", _set_anew),
}
"""The writes that are not conditional themselves, with the capability that each needs."""

_RACERS: Final = 6
_ROUNDS: Final = 5


class VersionTests(StoreFixtures):
    """get_versioned, set_if, delete_if."""

    @needs("conditional")
    async def test_a_missing_key_has_no_version(self, driver: Driver) -> None:
        """get_versioned gives None for a missing key."""
        assert await driver.get_versioned("missing") is None, "get_versioned gives None for a missing key"

    @needs("conditional")
    async def test_a_value_comes_with_its_version(self, driver: Driver) -> None:
        """What set stored is found with a version, which stays the same as long as nobody writes."""
        await driver.set("key", "")
        value, version, expires_at = await versioned(driver, "key")
        assert (value, expires_at) == ("", None), (
            "get_versioned gives the value, and no expiry where there is none"
        )
        assert await versioned(driver, "key") == (value, version, None), "reading makes no new version"

    @needs("conditional")
    async def test_set_if_creates_an_absent_key(self, driver: Driver) -> None:
        """With no version a key is created, and the version that is given back is the stored one."""
        version = await driver.set_if("key", "value", None)
        assert await versioned(driver, "key") == ("value", version, None), "set_if gives the version that it made"
        assert await driver.get("key") == "value", "get sees what set_if stored"

    @needs("conditional")
    async def test_set_if_does_not_create_what_is_there(self, driver: Driver) -> None:
        """With no version a present key is a conflict, also where its value is empty."""
        for value in ("value", ""):
            await driver.set("key", value)
            current = await versioned(driver, "key")
            error = await refused(Conflict, driver.set_if("key", "new", None), "set_if(None) never overwrites")
            assert error.current == current, "Conflict.current is what is there now"
            assert await versioned(driver, "key") == current, "a conflict changes nothing"

    @needs("conditional")
    async def test_set_if_replaces_the_version(self, driver: Driver) -> None:
        """With the current version the key is replaced, whoever wrote it."""
        await driver.set("key", "value")
        version = (await versioned(driver, "key"))[1]
        made = await driver.set_if("key", "new", version)
        assert made != version, "every write makes a new version"
        assert await versioned(driver, "key") == ("new", made, None), "set_if with the current version replaces"

    @needs("conditional")
    async def test_an_old_version_is_a_conflict(self, driver: Driver) -> None:
        """A version that has been replaced is refused, by set_if and delete_if, with what is there now."""
        old = await driver.set_if("key", "value", None)
        await driver.set_if("key", "newer", old)
        current = await versioned(driver, "key")
        for write in (lambda: driver.set_if("key", "new", old), lambda: driver.delete_if("key", old)):
            error = await refused(Conflict, write(), "an old version is a conflict")
            assert error.current == current, "Conflict.current is what is there now"
            assert error.outcome == "not_applied", "a conflict proves that nothing was written"
        assert await versioned(driver, "key") == current, "a conflict changes nothing"

    @needs("conditional", "expiry")
    async def test_a_conflict_tells_the_expiry(self, driver: Driver, clock: StoreClock) -> None:
        """What is there now comes with its expiry."""
        await driver.set_expiring("key", "value", clock.later())
        current = await versioned(driver, "key")
        error = await refused(Conflict, driver.set_if("key", "new", None), "set_if(None) never overwrites")
        assert error.current == current, "Conflict.current has the expiry"

    @needs("conditional")
    async def test_a_version_of_a_missing_key_is_a_conflict(self, driver: Driver) -> None:
        """A key that was deleted is a conflict with nothing, for set_if and delete_if."""
        version = await driver.set_if("key", "value", None)
        await driver.delete("key")
        for write in (lambda: driver.set_if("key", "new", version), lambda: driver.delete_if("key", version)):
            error = await refused(Conflict, write(), "a version of a missing key is a conflict")
            assert error.current is None, "Conflict.current of a missing key is None"
        assert await driver.get("key") is None, "a conflict changes nothing"

    @pytest.mark.parametrize(
        "version",
        ["", "0", "1", "never-issued", "None", "😀", "\0", "v" * 1000],
        ids=lambda text: ascii(text)[:12],
    )
    @needs("conditional")
    async def test_an_unknown_version_is_a_conflict(self, driver: Driver, version: str) -> None:
        """A version that the store never issued is a conflict and no other error, whatever text it is."""
        await driver.set("key", "value")
        current = await versioned(driver, "key")
        for write in (lambda: driver.set_if("key", "new", version), lambda: driver.delete_if("key", version)):
            error = await refused(Conflict, write(), "a version that was never issued is a conflict")
            assert error.current == current, "Conflict.current is what is there now"
        error = await refused(
            Conflict, driver.delete_if("missing", version), "delete_if of a missing key is a conflict"
        )
        assert error.current is None, "Conflict.current of a missing key is None"

    @needs("conditional")
    async def test_a_version_is_of_one_key(self, driver: Driver) -> None:
        """The version of one key's write is a conflict at another."""
        version = await driver.set_if("one", "value", None)
        await driver.set_if("two", "value", None)
        await refused(Conflict, driver.set_if("two", "new", version), "a version names one write, of one key")

    @pytest.mark.parametrize("write", WRITES)
    @needs("conditional")
    async def test_every_write_makes_a_new_version(self, driver: Driver, write: str) -> None:
        """Each write of any kind makes a version that was never there, also back to an earlier value."""
        capability, function = WRITES[write]
        skip_without(driver.store, capability)
        await driver.set("key", "1")
        seen = [(await versioned(driver, "key"))[1]]
        for value in ("1", "2", "1", "1"):
            await function(driver, value)
            version = (await versioned(driver, "key"))[1]
            assert version not in seen, f"every write makes a new version, also {write} back to an earlier value"
            seen.append(version)
        for old in seen[:-1]:
            await refused(Conflict, driver.set_if("key", "new", old), "an old version is a conflict")

    @needs("conditional")
    async def test_every_conditional_write_makes_a_new_version(self, driver: Driver) -> None:
        """Conditional writes of the same value, also after a delete, have versions of their own."""
        seen = [await driver.set_if("key", "value", None)]
        for _ in range(3):
            seen.append(await driver.set_if("key", "value", seen[-1]))
        for _ in range(3):
            await driver.delete_if("key", seen[-1])
            seen.append(await driver.set_if("key", "value", None))
        assert len(set(seen)) == len(seen), "a version names one write, also after a delete"

    @needs("conditional")
    async def test_delete_if_removes_the_version(self, driver: Driver) -> None:
        """With the current version the key is deleted, once."""
        version = await driver.set_if("key", "value", None)
        await driver.delete_if("key", version)
        assert await driver.get("key") is None, "delete_if with the current version deletes"
        await refused(Conflict, driver.delete_if("key", version), "delete_if of a missing key is a conflict")

    @needs("conditional")
    async def test_no_update_is_lost(self, driver: Driver) -> None:
        """Of concurrent read-modify-writes each counts."""
        await driver.set("key", "0")

        async def add_one() -> None:
            while True:
                value, version, _ = await versioned(driver, "key")
                await asyncio.sleep(0)
                try:
                    await driver.set_if("key", str(int(value) + 1), version)
                except Conflict:
                    continue
                return

        async def racer() -> None:
            for _ in range(_ROUNDS):
                await add_one()

        await asyncio.gather(*(racer() for _ in range(_RACERS)))
        assert await driver.get("key") == str(_RACERS * _ROUNDS), "concurrent conditional writes lose no update"

    @needs("conditional")
    async def test_one_of_many_creates_a_key(self, driver: Driver) -> None:
        """Of concurrent writes to an absent key one succeeds, and its value stays."""
        answers = await asyncio.gather(
            *(driver.set_if("key", str(number), None) for number in range(_RACERS)), return_exceptions=True
        )
        won = [number for number, answer in enumerate(answers) if isinstance(answer, str)]
        assert len(won) == 1, "one of many concurrent writers creates the key"
        assert all(isinstance(answer, str | Conflict) for answer in answers), "the others have a conflict"
        assert await driver.get("key") == str(won[0]), "the winner's value stays"

    @needs("conditional")
    async def test_one_of_many_deletes_a_version(self, driver: Driver) -> None:
        """Of concurrent deletes of a version one succeeds."""
        version = await driver.set_if("key", "value", None)
        answers = await asyncio.gather(
            *(driver.delete_if("key", version) for _ in range(_RACERS)), return_exceptions=True
        )
        assert answers.count(None) == 1, "one of many concurrent deletes of a version succeeds"
