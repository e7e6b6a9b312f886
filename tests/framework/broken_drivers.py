"""Drivers that are wrong in one way each, and what the conformance kit has to say of them."""

import asyncio
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvik import MemoryStore
from kvik.memory import _Item

VERBS = (
    "get", "set", "delete", "set_expiring", "get_versioned", "set_if", "delete_if", "get_many", "set_many",
    "delete_many", "increment", "scan",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A wrong driver, the tests that must fail for it, the words they fail with, and a driver that is right."""

    broken: type[Any]
    test: str
    words: str
    intact: type[Any] = MemoryStore


# Drivers that are right, on which those that need more than MemoryStore build


class Connectable(MemoryStore):
    """A store that can be connected and closed, and asks for the time left."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False
        self.remaining: Callable[[], float | None] = lambda: None

    def use_deadline(self, remaining: Callable[[], float | None]) -> None:
        self.remaining = remaining

    async def connect(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True

    def _check(self) -> None:
        if self.is_closed:
            raise RuntimeError("the store is closed")
        left = self.remaining()
        if left is not None and left <= 0:
            raise TimeoutError("no time left")


def _checked(name: str) -> Any:
    async def verb(self: Connectable, *args: Any) -> Any:
        self._check()
        return await getattr(MemoryStore, name)(self, *args)

    return verb


for _name in VERBS:
    setattr(Connectable, _name, _checked(_name))


class Locking(MemoryStore):
    """A store that does one thing at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def get(self, key: str) -> str | None:
        async with self.lock:
            await asyncio.sleep(0)
            return await super().get(key)


# What happens to keys


class TrimsKeys(MemoryStore):
    async def get(self, key: str) -> str | None:
        return await super().get(key.strip() or key)

    async def set(self, key: str, value: str) -> None:
        await super().set(key.strip() or key, value)


class NormalisesKeys(MemoryStore):
    async def get(self, key: str) -> str | None:
        return await super().get(unicodedata.normalize("NFC", key))

    async def set(self, key: str, value: str) -> None:
        await super().set(unicodedata.normalize("NFC", key), value)


class FoldsCase(MemoryStore):
    async def get(self, key: str) -> str | None:
        return await super().get(key.lower())

    async def set(self, key: str, value: str) -> None:
        await super().set(key.lower(), value)


class NulEndsKeys(MemoryStore):
    async def get(self, key: str) -> str | None:
        return await super().get(key.split("\0", maxsplit=1)[0])

    async def set(self, key: str, value: str) -> None:
        await super().set(key.split("\0", maxsplit=1)[0], value)


class CutsLongKeys(MemoryStore):
    async def get(self, key: str) -> str | None:
        return await super().get(key[:255])

    async def set(self, key: str, value: str) -> None:
        await super().set(key[:255], value)


class DeletesByPattern(MemoryStore):
    async def delete(self, key: str) -> None:
        for other in [each for each in self._items if each.casefold() == key.casefold()]:
            await super().delete(other)


class RaisesForMissingKeys(MemoryStore):
    async def delete(self, key: str) -> None:
        if key not in self._items:
            raise KeyError(key)
        await super().delete(key)


class ReportsByValue(MemoryStore):
    async def set(self, key: str, value: str) -> bool:  # type: ignore[override]  # the driver's mistake
        await super().set(key, value)
        return True


# What happens to values


class StripsValues(MemoryStore):
    async def set(self, key: str, value: str) -> None:
        await super().set(key, value.strip())


class TakesEmptyForMissing(MemoryStore):
    async def get(self, key: str) -> str | None:
        return await super().get(key) or None


class NulEndsValues(MemoryStore):
    async def set(self, key: str, value: str) -> None:
        await super().set(key, value.split("\0", maxsplit=1)[0])


class TranslatesNewlines(MemoryStore):
    async def set(self, key: str, value: str) -> None:
        await super().set(key, value.replace("\r\n", "\n"))


# Expiry


class RoundsExpiryDown(MemoryStore):
    async def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        await super().set_expiring(key, value, float(int(expires_at)))


class RoundsExpiryUp(MemoryStore):
    async def set_expiring(self, key: str, value: str, expires_at: float) -> None:
        await super().set_expiring(key, value, float(int(expires_at) + 1))


class SetKeepsExpiry(MemoryStore):
    async def set(self, key: str, value: str) -> None:
        item = self._live(key)
        self._put(key, value, None if item is None else item.expires_at)


class BatchIgnoresExpiry(MemoryStore):
    async def set_many(self, items: Mapping[str, str], expires_at: float | None = None) -> None:
        await super().set_many(items)


class SetIfKeepsExpiry(MemoryStore):
    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        item = self._live(key)
        return await super().set_if(key, value, version, expires_at or (None if item is None else item.expires_at))


class _Late(MemoryStore):
    """Sees expired keys in what `late` is around."""

    def late(self) -> None:
        now, self.clock = self.clock, lambda: 0.0
        self._now = now

    def on_time(self) -> None:
        self.clock = self._now


class ReadsExpired(_Late):
    async def get(self, key: str) -> str | None:
        self.late()
        value = await super().get(key)
        self.on_time()
        return value


class BatchReadsExpired(_Late):
    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        self.late()
        found = await super().get_many(keys)
        self.on_time()
        return found


class ScansExpired(_Late):
    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        self.late()
        page = await super().scan(prefix, cursor, limit)
        self.on_time()
        return page


class VersionsOfExpired(_Late):
    async def get_versioned(self, key: str) -> tuple[str, str, float | None] | None:
        self.late()
        found = await super().get_versioned(key)
        self.on_time()
        return found


class ExpiredIsInTheWay(_Late):
    def _check_version(self, key: str, version: str | None) -> None:
        self.late()
        try:
            super()._check_version(key, version)
        finally:
            self.on_time()


class CountsOnFromExpired(_Late):
    async def increment(self, key: str, delta: int) -> int:
        self.late()
        total = await super().increment(key, delta)
        self.on_time()
        return total


# Versions


class VersionIsHash(MemoryStore):
    def _version(self, item: _Item) -> str:
        return str(hash(item.value))


class VersionIsRevision(MemoryStore):
    def _put(self, key: str, value: str, expires_at: float | None) -> _Item:
        before = self._items.get(key)
        item = super()._put(key, value, expires_at)
        item = self._items[key] = item._replace(write=1 if before is None else before.write + 1)
        return item


class SetKeepsVersion(MemoryStore):
    async def set(self, key: str, value: str) -> None:
        before = self._items.get(key)
        item = self._put(key, value, None)
        if before is not None:
            self._items[key] = item._replace(write=before.write)


class DeletesMissingOnCondition(MemoryStore):
    async def delete_if(self, key: str, version: str) -> None:
        if key in self._items:
            await super().delete_if(key, version)


class OverwritesWhatIsThere(MemoryStore):
    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        if version is None:
            await super().delete(key)
        return await super().set_if(key, value, version, expires_at)


class ConflictWithoutCurrent(MemoryStore):
    def _check_version(self, key: str, version: str | None) -> None:
        try:
            super()._check_version(key, version)
        except Exception as error:
            error.current = None  # type: ignore[attr-defined]  # the driver's mistake
            raise


class ConflictWithoutCode(MemoryStore):
    def _check_version(self, key: str, version: str | None) -> None:
        try:
            super()._check_version(key, version)
        except Exception as error:
            raise RuntimeError("another version") from error


class ParsesVersions(MemoryStore):
    def _check_version(self, key: str, version: str | None) -> None:
        if version is not None:
            int(version.rpartition("-")[2])
        super()._check_version(key, version)


class ChecksThenWrites(MemoryStore):
    async def set_if(self, key: str, value: str, version: str | None, expires_at: float | None = None) -> str:
        self._check_version(key, version)
        await asyncio.sleep(0)
        return self._version(self._put(key, value, expires_at))


# Batches


class NoneForMisses(MemoryStore):
    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, Any] = {key: await self.get(key) for key in keys}
        return found


class ReadsOneRequestOnly(MemoryStore):
    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        return await super().get_many(keys[:100])


class WritesOneRequestOnly(MemoryStore):
    async def set_many(self, items: Mapping[str, str], expires_at: float | None = None) -> None:
        await super().set_many(dict(list(items.items())[:25]), expires_at)


class RefusesDuplicates(MemoryStore):
    async def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        if len(set(keys)) != len(keys):
            raise ValueError("duplicate keys")
        return await super().get_many(keys)


class EmptyBatchIsAll(MemoryStore):
    async def delete_many(self, keys: Sequence[str]) -> None:
        await super().delete_many(keys or list(self._items))


# Counters


class AddsInTwoSteps(MemoryStore):
    async def increment(self, key: str, delta: int) -> int:
        number = int(await self.get(key) or "0")
        await asyncio.sleep(0)
        await self.set(key, str(number + delta))
        return number + delta


class IncrementDropsExpiry(MemoryStore):
    async def increment(self, key: str, delta: int) -> int:
        total = await super().increment(key, delta)
        await self.set(key, str(total))
        return total


class ReadsAnyInteger(MemoryStore):
    async def increment(self, key: str, delta: int) -> int:
        item = self._live(key)
        if item is not None:
            try:
                text = str(int(item.value))
            except ValueError:
                text = item.value
            self._items[key] = item._replace(value=text)
        return await super().increment(key, delta)


class CountsInFloats(MemoryStore):
    async def increment(self, key: str, delta: int) -> int:
        await super().increment(key, delta)
        total = int(float(await self.get(key) or "0"))
        await self.set(key, str(total))
        return total


class CountsBeyond64Bits(MemoryStore):
    async def increment(self, key: str, delta: int) -> int:
        total = int(await self.get(key) or "0") + delta
        await self.set(key, str(total))
        return total


class IncrementKeepsVersion(MemoryStore):
    async def increment(self, key: str, delta: int) -> int:
        before = self._items.get(key)
        total = await super().increment(key, delta)
        if before is not None:
            self._items[key] = self._items[key]._replace(write=before.write)
        return total


# Scans


class ScanRepeatsAtPages(MemoryStore):
    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        page, after = await super().scan(prefix, cursor, limit)
        return ([cursor, *page[: limit - 1]] if cursor and limit > 1 else page), after


class ScanSkipsAtPages(MemoryStore):
    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        page, after = await super().scan(prefix, cursor, limit)
        return (page[1:] if cursor else page), after


class ScanTakesPercentForAnything(MemoryStore):
    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        return await super().scan(prefix.split("%", maxsplit=1)[0], cursor, limit)


class ScanIgnoresLimit(MemoryStore):
    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        return await super().scan(prefix, cursor, 10 * limit)


class ScanCountsKeys(MemoryStore):
    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        keys = sorted(key for key in self._items if key.startswith(prefix))
        start = int(cursor or "0")
        return keys[start : start + limit], str(start + limit) if start + limit < len(keys) else None


class CursorIsNumber(MemoryStore):
    async def scan(self, prefix: str, cursor: Any, limit: int) -> tuple[list[str], Any]:
        keys = sorted(key for key in self._items if key.startswith(prefix))
        start = cursor or 0
        return keys[start : start + limit], start + limit if start + limit < len(keys) else None


class RemembersCursors(Connectable):
    cursors: dict[str, str | None]

    async def connect(self) -> None:
        await super().connect()
        self.cursors = {}

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        if cursor is not None:
            cursor = self.cursors[cursor]
        page, after = await super().scan(prefix, cursor, limit)
        token = str(len(self.cursors))
        self.cursors[token] = after
        return page, None if after is None else token


# Health, lifecycle, and how it behaves under way


class HealthRaises(MemoryStore):
    async def health_check(self) -> Mapping[str, Any]:
        raise ConnectionError("nobody answers")


class HealthSaysOk(MemoryStore):
    async def health_check(self) -> Mapping[str, Any]:
        return {"status": "OK"}


class HasHalfAScan(MemoryStore):
    scan: Any = None


class AnswersWhenClosed(Connectable):
    async def get(self, key: str) -> str | None:
        return None if self.is_closed else await super().get(key)


class FailsOddlyWhenClosed(Connectable):
    def _check(self) -> None:
        if self.is_closed:
            raise AttributeError("'NoneType' object has no attribute 'execute'")


class ConnectStartsAnew(Connectable):
    async def connect(self) -> None:
        self._items.clear()


class ClosesOnce(Connectable):
    async def close(self) -> None:
        if self.is_closed:
            raise RuntimeError("already closed")
        await super().close()


class StaysClosed(Connectable):
    async def connect(self) -> None:
        """Do nothing."""


class AsksForTheTimeTwice(Connectable):
    async def get(self, key: str) -> str | None:
        self.remaining()
        return await super().get(key)


class IgnoresTheDeadline(Connectable):
    def _check(self) -> None:
        self.remaining()


class BlocksTheLoop(MemoryStore):
    async def get(self, key: str) -> str | None:
        time.sleep(0.15)  # noqa: ASYNC251 - the driver's mistake
        return await super().get(key)


class LeavesItsLock(Locking):
    async def get(self, key: str) -> str | None:
        await self.lock.acquire()
        await asyncio.sleep(0)
        self.lock.release()
        return await MemoryStore.get(self, key)


class LeavesTasks(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[asyncio.Task[None]] = []

    async def get(self, key: str) -> str | None:
        self.tasks.append(asyncio.create_task(asyncio.sleep(3600)))
        await asyncio.sleep(0)
        return await super().get(key)


class HalfWrites(MemoryStore):
    async def set(self, key: str, value: str) -> None:
        await super().set(key, "")
        await asyncio.sleep(0)
        await super().set(key, value)


_ALIKE = "test_keys_that_look_alike_are_different"
_AS_IT_IS = "test_a_value_is_kept_as_it_is"
_ROUNDING = "test_rounding_never_shortens_a_life"

CASES = [
    Case(TrimsKeys, _ALIKE, "a key is taken as it is: 'a'"),
    Case(NormalisesKeys, _ALIKE, "a key is taken as it is: 'é'"),
    Case(FoldsCase, _ALIKE, "a key is taken as it is: 'key'"),
    Case(NulEndsKeys, _ALIKE, r"a key is taken as it is: '\x00'"),
    Case(CutsLongKeys, "test_a_key_of_the_greatest_length", "a key of 2048 bytes is taken whole"),
    Case(DeletesByPattern, _ALIKE, "delete of 'key' leaves 'Key'"),
    Case(RaisesForMissingKeys, "test_delete_of_a_missing_key_is_no_error", "KVError"),
    Case(ReportsByValue, "test_verbs_give_nothing", "set returns None"),
    Case(StripsValues, _AS_IT_IS, "a value is kept as it is"),
    Case(TakesEmptyForMissing, "test_the_empty_value_is_not_missing", "the empty value is a value"),
    Case(NulEndsValues, _AS_IT_IS, "a value is kept as it is"),
    Case(TranslatesNewlines, _AS_IT_IS, "a value is kept as it is"),
    Case(RoundsExpiryDown, _ROUNDING, "rounding never shortens a life"),
    Case(RoundsExpiryUp, _ROUNDING, "longer by ttl_granularity at most"),
    Case(SetKeepsExpiry, "test_set_clears_the_expiry", "set clears the expiry"),
    Case(BatchIgnoresExpiry, "test_set_many_has_one_expiry", "set_many gives its expiry to all keys"),
    Case(SetIfKeepsExpiry, "test_set_if_clears_or_sets_the_expiry", "without expires_at clears the expiry"),
    Case(ReadsExpired, "test_an_expired_key_is_missing", "an expired key is missing for get"),
    Case(BatchReadsExpired, "test_an_expired_key_is_no_hit_of_a_batch", "missing for get_many"),
    Case(ScansExpired, "test_an_expired_key_is_not_scanned", "missing for scan"),
    Case(VersionsOfExpired, "test_an_expired_key_has_no_version", "missing for get_versioned"),
    Case(ExpiredIsInTheWay, "test_an_expired_key_counts_as_absent", "succeeds as to an absent one"),
    Case(CountsOnFromExpired, "test_an_expired_number_starts_again", "missing for increment"),
    Case(VersionIsHash, "test_every_write_makes_a_new_version", "also set back to an earlier value"),
    Case(VersionIsRevision, "test_every_conditional_write_makes_a_new_version", "also after a delete"),
    Case(SetKeepsVersion, "test_any_sequence_of_operations", "every write makes a new version"),
    Case(
        DeletesMissingOnCondition,
        "test_a_version_of_a_missing_key_is_a_conflict",
        "of a missing key is a conflict",
    ),
    Case(OverwritesWhatIsThere, "test_set_if_does_not_create_what_is_there", "set_if(None) never overwrites"),
    Case(ConflictWithoutCurrent, "test_an_old_version_is_a_conflict", "Conflict.current is what is there now"),
    Case(ConflictWithoutCode, "test_an_old_version_is_a_conflict", "wanted Conflict, got KVError"),
    Case(ParsesVersions, "test_an_unknown_version_is_a_conflict", "a version that was never issued is a conflict"),
    Case(ChecksThenWrites, "test_no_update_is_lost", "concurrent conditional writes lose no update"),
    Case(NoneForMisses, "test_get_many_gives_the_hits", "a mapping of found keys to str"),
    Case(ReadsOneRequestOnly, "test_a_batch_may_be_large", "a batch may be of any number of keys"),
    Case(WritesOneRequestOnly, "test_a_batch_may_be_large", "a batch may be of any number of keys"),
    Case(RefusesDuplicates, "test_keys_may_come_twice", "duplicate keys"),
    Case(EmptyBatchIsAll, "test_a_batch_of_no_keys", "a batch of no keys does nothing"),
    Case(AddsInTwoSteps, "test_no_increment_is_lost", "increment is atomic"),
    Case(IncrementDropsExpiry, "test_an_increment_keeps_the_expiry", "increment keeps the expiry"),
    Case(ReadsAnyInteger, "test_what_is_no_number_is_refused", "increment refuses what is no number"),
    Case(CountsInFloats, "test_all_of_64_bits_can_be_used", "is exact"),
    Case(CountsBeyond64Bits, "test_a_sum_beyond_64_bits_is_refused", "refuses a sum beyond 64 bits"),
    Case(IncrementKeepsVersion, "test_an_increment_makes_a_new_version", "increment makes a new version"),
    Case(ScanRepeatsAtPages, "test_each_key_comes_once", "a scan gives each live key once"),
    Case(ScanSkipsAtPages, "test_each_key_comes_once", "a scan gives each live key once"),
    Case(ScanTakesPercentForAnything, "test_a_prefix_is_no_pattern", "a prefix is taken as it is"),
    Case(ScanIgnoresLimit, "test_each_key_comes_once", "a page has at most `limit` keys"),
    Case(ScanCountsKeys, "test_keys_that_stay_come_while_others_are_written", "a key that stays comes once"),
    Case(CursorIsNumber, "test_a_cursor_is_text_that_can_be_used_again", "a tuple of keys and a cursor"),
    Case(RemembersCursors, "test_a_cursor_survives_a_restart", "KVError", Connectable),
    Case(HealthRaises, "test_health_never_raises_before_connect", "health_check never raises"),
    Case(HealthSaysOk, "test_health_is_up", "health is exactly UP or DOWN, not 'OK'"),
    Case(
        HasHalfAScan,
        "test_a_capability_is_declared_by_all_of_its_methods_or_none",
        "what is not declared is absent",
    ),
    Case(AnswersWhenClosed, "test_use_after_close_says_closed", "get after close raises", Connectable),
    Case(FailsOddlyWhenClosed, "test_use_after_close_says_closed", "after close says 'closed'", Connectable),
    Case(ConnectStartsAnew, "test_connect_twice_is_fine", "connect is idempotent", Connectable),
    Case(ClosesOnce, "test_close_twice_is_fine", "already closed", Connectable),
    Case(StaysClosed, "test_a_closed_store_can_be_connected_again", "the store is closed", Connectable),
    Case(AsksForTheTimeTwice, "test_a_driver_asks_for_the_time_left", "once per operation", Connectable),
    Case(IgnoresTheDeadline, "test_without_time_left_an_operation_is_given_up", "is given up", Connectable),
    Case(BlocksTheLoop, "test_a_verb_does_not_block_the_loop", "get blocks the event loop"),
    Case(LeavesItsLock, "test_a_store_is_usable_after_a_cancellation", "usable after a cancellation", Locking),
    Case(LeavesTasks, "test_cancelled_operations_leave_nothing_behind", "cancelled operations leave no task"),
    Case(HalfWrites, "test_a_cancelled_write_is_done_or_not", "a cancelled write is done or not"),
]
