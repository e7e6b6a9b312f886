"""A host whose clock is wrong, or a server's: signatures are dated as the server wants them."""

import asyncio
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from kvik_dynamodb import DynamoDBError

from .conftest import EventLog, Maker
from .faults import Exchange, Fault, FaultProxy, answer, forward, lose_reply

pytestmark = pytest.mark.usefixtures("nothing_leaks")

MINUTES = 60.0
LONGEST_DIFFERENCE = 5 * MINUTES  # docs: "Elements of an AWS API request signature", of a request's date


def refusal(code: str, off: float) -> Fault:
    """Refuse a request with the date of a clock that is so many seconds off."""

    async def fault(exchange: Exchange) -> bytes:
        date = format_datetime(datetime.fromtimestamp(time.time() + off, UTC), usegmt=True)
        return await answer(code, headers={"date": date})(exchange)

    return fault


def clock_off(off: float, code: str = "InvalidSignatureException") -> Fault:
    """Refuse what is dated differently from a clock that is so many seconds off, as AWS does."""

    async def fault(exchange: Exchange) -> bytes:
        signed = datetime.strptime(exchange.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        difference = signed.timestamp() - time.time() - off
        right = abs(difference) < LONGEST_DIFFERENCE
        return await (forward() if right else refusal(code, off))(exchange)

    return fault


@pytest.mark.parametrize("off", [20 * MINUTES, -20 * MINUTES])
@pytest.mark.parametrize("code", ["InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"])
async def test_a_wrong_clock_is_corrected(
    wire_behind_proxy: Maker, proxy: FaultProxy, table: str, code: str, off: float
) -> None:
    """The first refusal tells the time; it is signed again at once, and later requests are right at first."""
    proxy.otherwise = clock_off(off, code)
    log, db = EventLog(), wire_behind_proxy()
    db.use_logger(log)
    async with db:
        assert len(proxy.requests) == 2
        await db.set("k", "v")
        assert await db.get("k") == "v"
        assert len(proxy.requests) == 4
    ((event, fields),) = log.warnings
    assert event == "dynamodb.clock_skew"
    assert fields.keys() == {"table", "seconds"}
    assert fields["table"] == table
    assert fields["seconds"] == pytest.approx(off, abs=30)


async def test_many_notice_a_wrong_clock_at_once(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Every call succeeds, at its second attempt at the latest, and there is one warning."""
    log, db = EventLog(), wire_behind_proxy()
    db.use_logger(log)
    async with db:
        proxy.requests.clear()
        proxy.otherwise = clock_off(20 * MINUTES)
        await asyncio.gather(*(db.set(f"k{number}", "v") for number in range(20)))
        assert len(proxy.requests) <= 40
        assert [event for event, _ in log.warnings] == ["dynamodb.clock_skew"]


async def test_a_clock_that_is_put_right(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """What was corrected is corrected back, with a warning of its own."""
    proxy.otherwise = clock_off(20 * MINUTES)
    log, db = EventLog(), wire_behind_proxy()
    db.use_logger(log)
    async with db:
        proxy.otherwise = clock_off(0)
        await db.set("k", "v")
        assert await db.get("k") == "v"
    offsets = [fields["seconds"] for _, fields in log.warnings]
    assert offsets == [pytest.approx(20 * MINUTES, abs=30), pytest.approx(0, abs=30)]


async def test_expiry_goes_by_the_hosts_clock(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """The correction is for signatures alone."""
    proxy.otherwise = clock_off(20 * MINUTES)
    async with wire_behind_proxy() as db:
        await db.set_expiring("k", "v", time.time() + 10 * MINUTES)
        assert await db.get("k") == "v"


# Where time is not the reason


@pytest.mark.parametrize(
    "fault",
    [refusal("InvalidSignatureException", 0), answer("InvalidSignatureException")],
    ids=["clocks agree", "no date"],
)
async def test_a_wrong_signature_is_not_repeated(
    wire_behind_proxy: Maker, proxy: FaultProxy, fault: Fault
) -> None:
    """With clocks that agree it is the secret that is wrong: refused, after one request, and no warning."""
    log, db = EventLog(), wire_behind_proxy()
    db.use_logger(log)
    async with db:
        proxy.requests.clear()
        proxy.script.append(fault)
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        assert (caught.value.code, caught.value.outcome) == ("access_denied", "not_applied")
        assert len(proxy.requests) == 1
        assert log.warnings == []


async def test_a_clock_is_corrected_once_for_a_request(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A server that tells another time with every refusal has one more chance, and no more."""
    async with wire_behind_proxy() as db:
        proxy.requests.clear()
        proxy.script.extend(refusal("RequestTimeTooSkewed", hours * 60 * MINUTES) for hours in (1, 2, 3))
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        proxy.script.clear()
        assert (caught.value.code, caught.value.outcome) == ("access_denied", "not_applied")
        assert len(proxy.requests) == 2


async def test_a_corrected_clock_does_not_settle_a_doubt(wire_behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A dead connection may have delivered the request before its repetition was refused for its date."""
    skewed, throttle = refusal("InvalidSignatureException", 20 * MINUTES), answer("ThrottlingException")
    async with wire_behind_proxy() as db:
        db.use_deadline(lambda: 0.5)
        for last in ([answer("AccessDeniedException")], [throttle] * 4):
            await db.set("k", "v")
            proxy.script.extend([lose_reply, skewed, *last])
            with pytest.raises(DynamoDBError) as caught:
                await db.set("k", "w")
            proxy.script.clear()
            assert caught.value.outcome == "unknown"
            assert await db.get("k") == "w"
