"""The wire's pool by itself: which connection is lent, and how long one is kept."""

import asyncio

import pytest

from kvik_dynamodb._wire.http import HTTPConnection
from kvik_dynamodb._wire.pool import Pool

from .test_wire_http import connected


@pytest.fixture
async def pool() -> Pool:
    """Give a pool of three."""

    async def dial() -> HTTPConnection:
        return connected()[0]

    return Pool(dial, 3)


async def used(pool: Pool, number: int) -> list[HTTPConnection]:
    """Lend so many new connections, and give them back one after the other."""
    lent = [await pool.fresh() for _ in range(number)]
    for connection in lent:
        pool.give_back(connection)
    return lent


async def test_the_connection_used_last_is_lent_first(pool: Pool) -> None:
    """So that a few do the work when there is little, and the others can go."""
    first, second, third = await used(pool, 3)
    assert [pool.rested() for _ in range(4)] == [third, second, first, None]
    pool.give_back(second)
    pool.give_back(third)
    pool.give_back(first)
    assert pool.rested() is first
    await pool.close(0)


async def test_idle_connections_are_dropped(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has rested for too long is closed by itself; one that was used meanwhile stays until its time."""
    monkeypatch.setattr("kvik_dynamodb._wire.pool._LONGEST_IDLE", 0.1)
    idle, busy = await used(pool, 2)
    assert pool.rested() is busy
    await idle.wait_closed()
    assert busy.is_open
    pool.give_back(busy)
    await busy.wait_closed()
    assert pool.rested() is None


async def test_each_rest_counts_from_its_beginning(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that came back later is dropped later."""
    monkeypatch.setattr("kvik_dynamodb._wire.pool._LONGEST_IDLE", 0.1)
    first = await pool.fresh()
    second = await pool.fresh()
    pool.give_back(first)
    asyncio.get_running_loop().call_later(0.05, pool.give_back, second)
    await first.wait_closed()
    assert second.is_open
    await second.wait_closed()


@pytest.mark.parametrize("life", [0.0, 100.0])
async def test_old_connections_are_retired(pool: Pool, monkeypatch: pytest.MonkeyPatch, life: float) -> None:
    """One that is past its age is closed instead of being lent once more, so that new addresses are found."""
    monkeypatch.setattr("kvik_dynamodb._wire.pool._LONGEST_LIFE", life)
    (connection,) = await used(pool, 1)
    if life:
        assert pool.rested() is connection
        pool.give_back(connection)
    else:
        assert pool.rested() is None
        await connection.wait_closed()
    await pool.close(0)


async def test_connections_do_not_retire_all_at_once(pool: Pool) -> None:
    """Their ages differ by up to a fifth of five minutes."""
    now = asyncio.get_running_loop().time()
    ages = [(await pool.fresh()).retires_at - now for _ in range(50)]
    assert 270 <= min(ages) < 290
    assert 310 < max(ages) <= 331
    await pool.close(0)


async def test_dead_connections_are_not_lent(pool: Pool) -> None:
    """Neither one that died at rest, nor one that comes back dead."""
    first, second, third = await used(pool, 3)
    third.abort()
    assert pool.rested() is second
    second.abort()
    pool.give_back(second)
    assert [pool.rested(), pool.rested()] == [first, None]
    await pool.close(0)


async def test_what_was_heard_since_is_kept(pool: Pool) -> None:
    """Where one connection went silent, those go that have rested since before, and not those used meanwhile."""
    first, second = await used(pool, 2)
    assert pool.rested() is second
    since = asyncio.get_running_loop().time()
    pool.give_back(second)
    pool.forget_rested(since)
    assert not first.is_open
    assert pool.rested() is second
    pool.give_back(second)
    await pool.close(0)


async def test_places_are_given_in_order(pool: Pool) -> None:
    """First come, first served; one who gives up takes nobody's place."""
    for _ in range(3):
        await pool.places.acquire()
    assert pool.places.are_taken
    served: list[int] = []

    async def queue(number: int) -> None:
        await pool.places.acquire()
        served.append(number)

    waiting = [asyncio.create_task(queue(number)) for number in range(4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    for _ in range(3):
        pool.places.give_back()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert served == [0, 2, 3]
    assert pool.places.are_taken


@pytest.mark.parametrize("is_passed_over", [True, False])
async def test_a_place_is_not_lost_with_who_leaves(pool: Pool, *, is_passed_over: bool) -> None:
    """Whoever gives up just before or just when his turn comes, the place is the next one's."""
    places = pool.places
    for _ in range(3):
        await places.acquire()
    leaving, staying = (asyncio.create_task(places.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    for act in (leaving.cancel, places.give_back) if is_passed_over else (places.give_back, leaving.cancel):
        act()
    await asyncio.wait_for(staying, 10)
    assert leaving.cancelled()
    assert places.are_taken


async def test_close_waits_for_what_is_lent(pool: Pool) -> None:
    """A connection that comes back in time is closed then, and not before."""
    await pool.places.acquire()
    connection = await pool.fresh()
    closed = asyncio.create_task(pool.close(30.0))
    await asyncio.sleep(0)
    assert connection.is_open
    pool.give_back(connection)
    pool.places.give_back()
    await closed
    assert not connection.is_open


async def test_close_does_not_wait_for_ever(pool: Pool) -> None:
    """A connection that does not come back is closed all the same."""
    await pool.places.acquire()
    connection = await pool.fresh()
    await pool.close(0.01)
    assert not connection.is_open
