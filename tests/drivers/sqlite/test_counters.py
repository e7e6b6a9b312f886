"""Counters: what counts, and what is refused."""

import asyncio
import sqlite3
from typing import Any

import pytest

from kvik_sqlite import SQLite, SQLiteError

LARGEST = 2**63 - 1
SMALLEST = -(2**63)


async def test_a_counter_is_an_ordinary_value(db: SQLite) -> None:
    """Counting begins at 0, goes on from what set has written, and get reads decimal text."""
    assert [await db.increment("k", 5), await db.increment("k", -7)] == [5, -2]
    assert await db.get("k") == "-2"
    await db.set("k", "40")
    assert await db.increment("k", 2) == 42


@pytest.mark.parametrize(
    ("stored", "delta", "total"),
    [
        (str(LARGEST), 0, LARGEST),
        (str(SMALLEST), 0, SMALLEST),
        (str(SMALLEST), LARGEST, -1),
        (str(LARGEST), SMALLEST, -1),
    ],
)
async def test_all_of_64_bits_count(db: SQLite, stored: str, delta: int, total: int) -> None:
    """Sums are exact to the last bit at both ends."""
    await db.set("k", stored)
    assert await db.increment("k", delta) == total
    assert await db.get("k") == str(total)


NO_NUMBERS = [
    "",
    "abc",
    "1.5",
    "1e3",
    "01",
    "+1",
    "-0",
    " 1",
    "1\n",
    "1_000",
    "0x1",
    "٣",
    "12\0",
    "1" * 20,
    "-" + "9" * 20,
]
TOO_LARGE = [str(LARGEST + 1), str(SMALLEST - 1)]


async def test_what_is_no_number_is_refused(db: SQLite) -> None:
    """Text that is not canonical, or needs more than 64 bits, is `invalid_value`, and stays as it was."""
    for stored in [*NO_NUMBERS, *TOO_LARGE, "x" * 100_000]:
        await db.set("k", stored)
        before = await db.get_versioned("k")
        with pytest.raises(SQLiteError) as caught:
            await db.increment("k", 1)
        assert (caught.value.code, caught.value.outcome) == ("invalid_value", "not_applied"), stored[:20]
        assert await db.get_versioned("k") == before


@pytest.mark.parametrize(("stored", "delta"), [(LARGEST, 1), (SMALLEST, -1)])
async def test_an_overflow_is_refused(db: SQLite, stored: int, delta: int) -> None:
    """A sum beyond 64 bits is `invalid_value`, and the number stays."""
    await db.set("k", str(stored))
    with pytest.raises(SQLiteError, match="64 bits") as caught:
        await db.increment("k", delta)
    assert caught.value.code == "invalid_value"
    assert await db.get("k") == str(stored)


async def test_a_wrong_delta_is_refused(db: SQLite) -> None:
    """A delta that is no int of 64 bits is `invalid_value`."""
    wrong: list[Any] = [LARGEST + 1, SMALLEST - 1, 1.0, "1", True, None]
    for delta in wrong:
        with pytest.raises(SQLiteError) as caught:
            await db.increment("k", delta)
        assert caught.value.code == "invalid_value"
    assert await db.get("k") is None


async def test_counting_keeps_the_expiry(db: SQLite, clock: Any) -> None:
    """A counter that expires still does when it has counted, and is back at 0 then."""
    await db.set_expiring("k", "1", clock.now + 5)
    await db.increment("k", 1)
    entry = await db.get_versioned("k")
    assert entry is not None
    assert (entry[0], entry[2]) == ("2", clock.now + 5)
    clock.now += 5
    assert await db.increment("k", 1) == 1


async def test_counting_is_atomic(db: SQLite) -> None:
    """Of many increments at once none is lost."""
    totals = await asyncio.gather(*[db.increment("k", 1) for _ in range(200)])
    assert sorted(totals) == list(range(1, 201))


async def test_a_damaged_value_does_not_count(db: SQLite, outside: sqlite3.Connection) -> None:
    """Bytes that look like a number are `corrupt`, as for get."""
    await db.set("k", "1")
    outside.execute("UPDATE kv SET value = cast('12' AS BLOB)")
    with pytest.raises(SQLiteError) as caught:
        await db.increment("k", 1)
    assert caught.value.code == "corrupt"
