"""Arguments of a wrong type or value: each is refused as a SQLiteError, and nothing is written."""

import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from kvik_sqlite import SQLite, SQLiteError

Call: TypeAlias = Callable[[SQLite, Any], Coroutine[Any, Any, object]]


async def refused(db: SQLite, call: Call, given: object) -> SQLiteError:
    """Return the error, after a look at what is there."""
    with pytest.raises(SQLiteError) as caught:
        await call(db, given)
    assert caught.value.outcome == "not_applied"
    assert await db.scan("", None, 10) == ([], None)
    return caught.value


EXPIRIES: list[Call] = [
    lambda db, given: db.set_expiring("k", "value", given),
    lambda db, given: db.set_if("k", "value", None, given),
    lambda db, given: db.set_many({"k": "value"}, given),
]


@pytest.mark.parametrize("call", EXPIRIES, ids=["set_expiring", "set_if", "set_many"])
async def test_an_expiry_is_a_finite_number(db: SQLite, call: Call) -> None:
    """NaN, which SQLite would keep as no expiry, infinity and what is not a number are `invalid_value`."""
    for given in (math.nan, math.inf, -math.inf, 10**400, "60", b"60", True, [60], 60j):
        assert (await refused(db, call, given)).code == "invalid_value"
    assert isinstance(await refused(db, call, "60"), TypeError)


async def test_set_expiring_needs_an_expiry(db: SQLite) -> None:
    """None would be a key that never expires."""
    assert (await refused(db, EXPIRIES[0], None)).code == "invalid_value"


async def test_a_moment_that_is_past_is_an_expiry(db: SQLite, outside: Any) -> None:
    """A duration given as a moment, say 60, is a key that is gone at once, and leaves the file with that write."""
    for call in EXPIRIES:
        await call(db, 60)
        assert await db.get("k") is None
    await db.set("other", "value")
    assert outside.execute("SELECT count(*) FROM kv").fetchone() == (1,)


VERSIONS: list[Call] = [
    lambda db, given: db.set_if("k", "value", given),
    lambda db, given: db.delete_if("k", given),
]


@pytest.mark.parametrize("call", VERSIONS, ids=["set_if", "delete_if"])
async def test_a_version_is_a_str(db: SQLite, call: Call) -> None:
    """A version that is not text is `invalid_value`: it cannot have come from this store."""
    for given in (7, 1.5, b"version", True, ["version"]):
        error = await refused(db, call, given)
        assert (error.code, isinstance(error, TypeError)) == ("invalid_value", True)


async def test_delete_if_needs_a_version(db: SQLite) -> None:
    """A forgotten version never deletes, nor does it succeed where nothing is there."""
    assert (await refused(db, VERSIONS[1], None)).code == "invalid_value"


async def test_a_limit_is_an_int_above_0(db: SQLite) -> None:
    """A limit that is None or not a whole number is `invalid_value`."""
    for given in (None, "10", 2.5, True, [10], 0, -1, -(10**30)):
        assert (await refused(db, lambda db, given: db.scan("", None, given), given)).code == "invalid_value"
    assert await db.scan("", None, 10**30) == ([], None)


BATCHES: list[Call] = [lambda db, given: db.get_many(given), lambda db, given: db.delete_many(given)]


@pytest.mark.parametrize("call", BATCHES, ids=["get_many", "delete_many"])
@pytest.mark.parametrize("given", ["us", b"us", 7, None], ids=repr)
async def test_one_str_is_not_a_list_of_keys(db: SQLite, call: Call, given: object) -> None:
    """`delete_many("us")` would delete u and s: it is a TypeError."""
    await db.set_many({"u": "value", "s": "value"})
    with pytest.raises(TypeError, match="list of str") as caught:
        await call(db, given)
    assert isinstance(caught.value, SQLiteError)
    assert await db.get_many(["u", "s"]) == {"u": "value", "s": "value"}


async def test_items_are_a_mapping(db: SQLite) -> None:
    """Pairs, keys alone and None are no items."""
    for given in ([("k", "value")], ["k"], "us", None):
        error = await refused(db, lambda db, given: db.set_many(given), given)
        assert (error.code, isinstance(error, TypeError)) == ("invalid_value", True)


@pytest.mark.parametrize("given", [b"store.db", None, 7], ids=repr)
def test_a_path_is_a_str_or_a_path(given: Any) -> None:
    """A path of another type is refused when the store is made."""
    with pytest.raises(TypeError):
        SQLite(given)


@pytest.mark.parametrize("name", ["nul\0.db", "nul\0/store.db", "lone \ud800.db"], ids=ascii)
async def test_a_path_that_no_file_can_have_is_misconfigured(tmp_path: Any, name: str) -> None:
    """A path with NUL, or that cannot be encoded, is refused at connect; health is DOWN, and does not raise."""
    db = SQLite(tmp_path / name)
    with pytest.raises(SQLiteError) as caught:
        await db.connect()
    assert caught.value.code == "misconfigured"
    assert (await db.health_check())["status"] == "DOWN"
    str(caught.value).encode()  # can be logged
