"""Answers that are slow, stop midway, come in pieces, or ask for patience; and how many requests it takes."""

import asyncio

import pytest

from kvik_dynamodb import DynamoDBError

from .conftest import EventLog, Maker
from .faults import Exchange, Fault, FaultProxy, Reply, answer, forward, hold, process_only, stall

pytestmark = pytest.mark.usefixtures("nothing_leaks")

THROTTLED = "ProvisionedThroughputExceededException"


async def stop_midway(exchange: Exchange) -> bytes:
    """Apply the request, and stall in the middle of the answer."""
    reply = (await asyncio.to_thread(exchange.forward)).encode()
    exchange.writer.write(reply[: len(reply) // 2])
    return await stall(exchange)


def chunked(reply: Reply) -> bytes:
    """Tell the length of each part instead of that of the whole."""
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (reply.body[:1], reply.body[1:], b""))
    return Reply(reply.status, {**headers, "transfer-encoding": "chunked"}, chunks).encode()


def last(reply: Reply) -> bytes:
    """Say goodbye with the answer."""
    return Reply(reply.status, {**reply.headers, "connection": "close"}, reply.body).encode()


def announced(reply: Reply) -> bytes:
    """Announce the answer first."""
    return b"HTTP/1.1 100 Continue\r\n\r\n" + reply.encode()


@pytest.mark.parametrize(
    "fault", [forward(chunked), forward(last), forward(announced)], ids=["chunked", "last", "announced"]
)
async def test_any_form_of_an_answer(behind_proxy: Maker, proxy: FaultProxy, fault: Fault) -> None:
    """Without a length, the last of its connection, or announced: it is the answer, and nothing is sent twice."""
    async with behind_proxy() as db:
        proxy.requests.clear()
        proxy.script.extend([fault] * 4)
        await db.set("k", "v")
        assert await db.get("k") == "v"
        assert await db.get("missing") is None
        with pytest.raises(DynamoDBError) as caught:
            await db.set_if("k", "w", None)
        assert (caught.value.code, caught.value.outcome) == ("conflict", "not_applied")
        assert len(proxy.requests) == 4


def refusal(status: int, body: bytes, **headers: str) -> Fault:
    """Refuse without a length: the end of the connection is that of the body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def fault(_: Exchange) -> bytes:
        return Reply(status, {**named, "connection": "close"}, body).encode()

    return fault


REFUSALS = {
    "503": refusal(503, b"<html>Service Unavailable</html>"),
    "503 without a body": refusal(503, b""),
    "500": refusal(500, b'{"__type":"InternalServerError"}'),
    "408": refusal(408, b"{}"),
    "a code with an address": refusal(400, b'{"__type":"a#ThrottlingException:http://internal/"}'),
    "a code in a header": refusal(400, b"{}", x_amzn_errortype="ThrottlingException:"),
    "SlowDown": refusal(400, b'{"__type":"SlowDown"}'),
    "RequestTimeoutException": refusal(400, b'{"__type":"com.amazonaws#RequestTimeoutException"}'),
    "cut": refusal(400, b'{"__type":"ValidationExc'),
}


@pytest.mark.usefixtures("quick_throttling")
@pytest.mark.parametrize("name", REFUSALS)
async def test_what_boto3_would_send_again_is_sent_again(
    behind_proxy: Maker, proxy: FaultProxy, name: str
) -> None:
    """However a passing failure is worded and framed."""
    log, db = EventLog(), behind_proxy()
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        proxy.script.append(REFUSALS[name])
        assert await db.get("k") == "v"
        (retry,) = [fields for _, fields in log.warnings]
        assert (retry["reason"] == "503") == ("503" in name)


async def test_a_final_refusal_without_a_length(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """One that is whole says what it says."""
    async with behind_proxy() as db:
        proxy.script.append(refusal(400, b'{"__type":"a#ResourceNotFoundException","message":"hidden"}'))
        with pytest.raises(DynamoDBError) as caught:
            await db.get("k")
        assert caught.value.cause == "no such table"


# Slow answers


async def test_a_slow_answer_is_waited_for(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Within the time of an attempt nothing is sent twice."""
    async with behind_proxy() as db:
        proxy.requests.clear()
        proxy.script.append(hold)
        writing = asyncio.create_task(db.set("k", "v"))
        await proxy.stalled.acquire()
        proxy.release()
        await writing
        assert len(proxy.requests) == 1
        assert await db.get("k") == "v"


@pytest.mark.parametrize("fault", [stall, hold, stop_midway])
async def test_an_answer_too_slow_is_given_up(behind_proxy: Maker, proxy: FaultProxy, fault: Fault) -> None:
    """An attempt has its own time, and the next one a connection of its own: no late answer reaches it."""
    async with behind_proxy(read_timeout=0.3) as db:
        for value in ("1", "2"):
            proxy.script.append(fault)
            await db.set("k", value)
            proxy.release()
            assert await db.get("k") == value


@pytest.mark.parametrize("fault", [stall, stop_midway])
async def test_answers_that_never_come_are_bounded(behind_proxy: Maker, proxy: FaultProxy, fault: Fault) -> None:
    """Four attempts, each with its time, and nobody knows whether one was applied."""
    async with behind_proxy(read_timeout=0.1) as db:
        proxy.requests.clear()
        proxy.otherwise = fault
        with pytest.raises(DynamoDBError) as caught:
            await db.set("k", "v")
        assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "unknown")
        assert len(proxy.requests) == 4
        proxy.release()
        proxy.otherwise = forward()
        await db.set("k", "w")
        assert await db.get("k") == "w"


# Refusals that pass


@pytest.mark.usefixtures("quick_throttling")
@pytest.mark.parametrize("times", [3, 4])
@pytest.mark.parametrize("wish", [{}, {"x-amz-retry-after": "20"}])
@pytest.mark.parametrize(("code", "status"), [(THROTTLED, 400), ("InternalServerError", 500), ("", 503)])
async def test_refused_some_times(
    behind_proxy: Maker, proxy: FaultProxy, code: str, status: int, wish: dict[str, str], times: int
) -> None:
    """Three refusals are survived, with pauses at least as long as was asked for; the fourth is the error."""
    log, db = EventLog(), behind_proxy()
    db.use_logger(log)
    async with db:
        proxy.requests.clear()
        proxy.script.extend([answer(code, status, headers=wish)] * times)
        if times < 4:
            await db.set("k", "v")
        else:
            with pytest.raises(DynamoDBError) as caught:
                await db.set("k", "v")
            expected = ("throttled", "not_applied") if code == THROTTLED else ("unavailable", "unknown")
            assert (caught.value.code, caught.value.outcome) == expected
            assert caught.value.retry_after == (0.02 if wish else None)
        assert len(proxy.requests) == min(times + 1, 4)
        assert await db.get("k") == ("v" if times < 4 else None)
    pauses = [fields["pause_ms"] for event, fields in log.warnings if event == "dynamodb.retry"]
    assert len(pauses) == min(times, 3)
    assert all(pause >= 20 for pause in pauses) or not wish


@pytest.mark.usefixtures("quick_throttling")
async def test_what_is_never_processed_is_bounded(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """A server that gets to none of a batch, for ever, is asked until the time is over, with pauses."""
    async with behind_proxy() as db:
        db.use_deadline(lambda: 0.4)
        proxy.otherwise = process_only(0)
        for call in (db.set_many({"a": "1", "b": "2"}), db.get_many(["a", "b"]), db.delete_many(["a", "b"])):
            proxy.requests.clear()
            with pytest.raises(DynamoDBError) as caught:
                await call
            assert (caught.value.code, caught.value.reason) == ("throttled", "unprocessed")
            assert 4 < len(proxy.requests) < 40
        proxy.otherwise = forward()


@pytest.mark.usefixtures("quick_throttling")
async def test_what_is_processed_one_by_one_gets_done(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """As long as there is progress, one item at a time takes as many requests as there are items."""
    items = {f"k{number}": str(number) for number in range(9)}
    async with behind_proxy() as db:
        proxy.otherwise = process_only(1)
        proxy.requests.clear()
        await db.set_many(items)
        assert await db.get_many(list(items)) == items
        assert len(proxy.requests) == 18
