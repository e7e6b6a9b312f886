"""Any sequence of operations gives what a dict would: a Hypothesis state machine."""
# ruff: noqa: S101 - tests assert

import asyncio
import itertools
from collections.abc import Awaitable
from typing import ClassVar, Final, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from ..._kv.driver import Driver
from ...kv_errors import Conflict, InvalidValue
from .clock import StoreClock
from .fixtures import StoreFixtures

T = TypeVar("T")

PHASES: tuple[Phase, ...] = (Phase.generate, Phase.shrink)
"""What is done: find a sequence that fails, and then the shortest."""

_KEYS: Final = st.sampled_from(["a", "A", "a ", "a:b", "%", "_", "é", "e\u0301", "\0", "\U0010ffff"])
_VALUES: Final = st.one_of(
    st.sampled_from(["", "0", "-1", "9223372036854775807", "01", "\0", "a\nb", "😀"]),
    # of a few characters only: for all of Unicode, Hypothesis makes tables that take seconds in a new project
    st.text("0a é\u0301\0\n😀", max_size=4),
)
_SECONDS: Final = st.sampled_from([0.5, 1.0, 10.0, 60.0])
_NEVER_ISSUED: Final = "never-issued"
_INTEGERS: Final = range(-(2**63), 2**63)


class StateMachineTests(StoreFixtures):
    """Compare the store with a model of it."""

    examples: ClassVar[int] = 25
    """How many sequences are tried; a driver whose operations take long may want fewer, its nightly run more."""

    steps: ClassVar[int] = 25
    """The most operations of a sequence."""

    async def test_any_sequence_of_operations(self, driver: Driver, clock: StoreClock) -> None:
        """After any operations, in any order, the store holds what a dict would."""
        loop, examples = asyncio.get_running_loop(), itertools.count()

        class Bound(StoreMachine):
            def __init__(self) -> None:
                super().__init__(driver, clock, loop, f"{next(examples)}:")

        plan = settings(
            max_examples=self.examples,
            stateful_step_count=self.steps,
            derandomize=True,
            database=None,
            deadline=None,
            print_blob=False,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        )
        await asyncio.to_thread(run_state_machine_as_test, Bound, settings=plan)


class StoreMachine(RuleBasedStateMachine):
    """Do things to a part of the store that is this sequence's own, and to a dict, and compare.

    It runs in a thread, while the store's loop goes on in its own.
    """

    def __init__(self, driver: Driver, clock: StoreClock, loop: asyncio.AbstractEventLoop, prefix: str) -> None:
        super().__init__()
        self.driver, self.clock, self.loop, self.prefix = driver, clock, loop, prefix
        self.values: dict[str, tuple[str, float | None]] = {}
        self.versions: dict[str, str] = {}

    def teardown(self) -> None:
        """Compare everything, at the end of a sequence."""
        for key in self.versions.keys() | self.values.keys():
            self.compare(key)

    @rule(key=_KEYS, value=_VALUES)
    def set(self, key: str, value: str) -> None:
        """Write without an expiry."""
        self.wait(self.driver.set(self.prefix + key, value))
        self.wrote(key, value, None)

    @rule(key=_KEYS)
    def delete(self, key: str) -> None:
        """Delete, there or not."""
        self.wait(self.driver.delete(self.prefix + key))
        self.values.pop(key, None)

    @rule(key=_KEYS)
    def compare(self, key: str) -> None:
        """Read."""
        assert self.wait(self.driver.get(self.prefix + key)) == self.live(key), "get gives what was written last"

    @precondition(lambda self: self.has("expiry"))
    @rule(key=_KEYS, value=_VALUES, seconds=_SECONDS)
    def set_expiring(self, key: str, value: str, seconds: float) -> None:
        """Write with an expiry, one that no test will see where time cannot be set."""
        expires_at = self.clock.now() + seconds + (0 if self.clock.is_set_by_hand else 3600)
        self.wait(self.driver.set_expiring(self.prefix + key, value, expires_at))
        self.wrote(key, value, expires_at)

    @precondition(lambda self: self.has("expiry") and self.clock.is_set_by_hand)
    @rule(seconds=_SECONDS)
    def let_time_pass(self, seconds: float) -> None:
        """Let keys expire, and let those go that may have lived a little longer."""
        self.clock.set(self.clock.now() + seconds + self.clock.granularity)
        for key, (_, expires_at) in list(self.values.items()):
            if expires_at is not None and expires_at <= self.clock.now() < expires_at + self.clock.granularity:
                self.delete(key)

    @precondition(lambda self: self.has("conditional"))
    @rule(key=_KEYS, value=_VALUES, condition=st.sampled_from(["absent", "current", "old", _NEVER_ISSUED]))
    def set_if(self, key: str, value: str, condition: str) -> None:
        """Write on a condition that holds or does not."""
        version, holds = self.condition(key, condition)
        made = self.wait(self.unless_conflict(self.driver.set_if(self.prefix + key, value, version)))
        assert (made is not None) == holds, f"set_if succeeds where its condition holds: {condition}"
        if made is not None:
            self.wrote(key, value, None)
            assert self.current(key) == made, "set_if gives the version that it made"

    @precondition(lambda self: self.has("conditional"))
    @rule(key=_KEYS, condition=st.sampled_from(["current", "old", _NEVER_ISSUED]))
    def delete_if(self, key: str, condition: str) -> None:
        """Delete on a condition that holds or does not."""
        version, holds = self.condition(key, condition)

        async def delete() -> bool:
            await self.driver.delete_if(self.prefix + key, version or _NEVER_ISSUED)
            return True

        is_deleted = self.wait(self.unless_conflict(delete()))
        assert bool(is_deleted) == holds, f"delete_if succeeds where its condition holds: {condition}"
        if is_deleted:
            self.values.pop(key, None)

    @precondition(lambda self: self.has("counter"))
    @rule(key=_KEYS, delta=st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)]))
    def increment(self, key: str, delta: int) -> None:
        """Add to what is a number, and be refused where it is none."""
        text = self.live(key)
        number = 0 if text is None else _number(text)
        total = None if number is None or number + delta not in _INTEGERS else number + delta

        async def increment() -> int | None:
            try:
                return await self.driver.increment(self.prefix + key, delta)
            except InvalidValue:
                return None

        assert self.wait(increment()) == total, "increment adds to numbers, and refuses what is none"
        if total is not None:
            self.wrote(key, str(total), None if text is None else self.values[key][1])

    @precondition(lambda self: self.has("batch"))
    @rule(keys=st.lists(_KEYS, max_size=4))
    def get_many(self, keys: list[str]) -> None:
        """Read several."""
        found = self.wait(self.driver.get_many([self.prefix + key for key in keys]))
        expected = {self.prefix + key: self.live(key) for key in keys if self.live(key) is not None}
        assert found == expected, "get_many gives what get gives"

    @precondition(lambda self: self.has("batch"))
    @rule(items=st.dictionaries(_KEYS, _VALUES, max_size=4))
    def set_many(self, items: dict[str, str]) -> None:
        """Write several."""
        self.wait(self.driver.set_many({self.prefix + key: value for key, value in items.items()}))
        for key, value in items.items():
            self.wrote(key, value, None)

    @precondition(lambda self: self.has("batch"))
    @rule(keys=st.lists(_KEYS, max_size=4))
    def delete_many(self, keys: list[str]) -> None:
        """Delete several."""
        self.wait(self.driver.delete_many([self.prefix + key for key in keys]))
        for key in keys:
            self.values.pop(key, None)

    @precondition(lambda self: self.has("scan"))
    @rule(limit=st.sampled_from([1, 3, 100]))
    def scan(self, limit: int) -> None:
        """Go through this sequence's keys."""
        found: list[str] = []
        cursor: str | None = None
        for _ in range(100):
            page, cursor = self.wait(self.driver.scan(self.prefix, cursor, limit))
            found += page
            if cursor is None:
                break
        expected = sorted(self.prefix + key for key in self.values if self.live(key) is not None)
        assert sorted(found) == expected, "a scan gives each live key once"

    def has(self, capability: str) -> bool:
        """Tell whether the driver has it."""
        return capability in self.driver.capabilities

    def live(self, key: str) -> str | None:
        """Give the model's value."""
        value, expires_at = self.values.get(key, (None, None))
        return None if expires_at is not None and expires_at <= self.clock.now() else value

    def wrote(self, key: str, value: str, expires_at: float | None) -> None:
        """Note a write, and that its version is none that the key had."""
        self.values[key] = (value, expires_at)
        if self.has("conditional") and self.live(key) is not None:
            version = self.current(key)
            assert version != self.versions.get(key), "every write makes a new version"
            self.versions[key] = version or ""

    def current(self, key: str) -> str | None:
        """Give the version that the key has now."""
        found = self.wait(self.driver.get_versioned(self.prefix + key))
        return None if found is None else found[1]

    def condition(self, key: str, word: str) -> tuple[str | None, bool]:
        """Give the version that a word stands for, and whether a write with it must succeed."""
        is_there = self.live(key) is not None
        if word == "absent":
            return None, not is_there
        if word == "current":
            return self.current(key) or _NEVER_ISSUED, is_there
        version = self.versions.get(key, _NEVER_ISSUED) if word == "old" else _NEVER_ISSUED
        return version, is_there and version == self.current(key)

    def wait(self, operation: Awaitable[T]) -> T:
        """Run an operation on the store's loop."""

        async def run() -> T:
            return await operation

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result()

    @staticmethod
    async def unless_conflict(operation: Awaitable[T]) -> T | None:
        """Give None where the operation is refused."""
        try:
            return await operation
        except Conflict:
            return None


def _number(text: str) -> int | None:
    """Read canonical decimal of 64 bits."""
    try:
        number = int(text)
    except ValueError:
        return None
    is_canonical = text == str(number) and number in _INTEGERS
    return number if is_canonical else None
