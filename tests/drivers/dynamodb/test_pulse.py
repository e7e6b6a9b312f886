"""However many keys a batch has, and however large its values are, the event loop goes on."""

import asyncio
import json
import time
from binascii import crc32
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvik_dynamodb import DynamoDB, DynamoDBError
from kvik_dynamodb._wire.pieces import checksum_of, decode_batch

from .conftest import Maker
from .faults import FaultProxy, cut_reply, forward, wrong_crc
from .sources import wire_alone

LARGE = {f"k{number}": str(number % 10) * 390_000 for number in range(40)}
"""As much as one BatchGetItem gives."""

LIMIT = 0.005


Call = Callable[[], Awaitable[object]]


async def longest_turn(call: Call) -> float:
    """Give the CPU time of the event loop's longest turn meanwhile; what other processes do is none of it."""
    turns: list[float] = []

    async def count() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - before)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    try:
        await call()
        await asyncio.sleep(0)
    finally:
        counting.cancel()
    return max(turns)


async def check_turns(call: Call) -> None:
    """Demand that no turn takes more than 5 ms, at the best of five tries."""
    tries: list[float] = []
    while min(tries, default=1.0) > LIMIT:
        assert len(tries) < 5, tries
        tries.append(await longest_turn(call))


@wire_alone
async def test_large_values_do_not_block_the_loop(db: DynamoDB) -> None:
    """Neither where they are written nor where they are read."""
    await check_turns(lambda: db.set_many(LARGE))
    assert await db.get_many(list(LARGE)) == LARGE
    await check_turns(lambda: db.get_many(list(LARGE)))


@wire_alone
async def test_many_keys_do_not_block_the_loop(db: DynamoDB) -> None:
    """Fifty thousand are looked at before anything is sent, up to the wrong one at their end."""
    keys = [*(f"k{number}" for number in range(50_000)), ""]
    items = dict.fromkeys(keys, "v")

    async def refused(call: Awaitable[object]) -> None:
        with pytest.raises(DynamoDBError, match="a key has"):
            await call

    await check_turns(lambda: refused(db.get_many(keys)))
    await check_turns(lambda: refused(db.set_many(items)))
    await check_turns(lambda: refused(db.delete_many(keys)))


@wire_alone
async def test_many_items_do_not_block_the_loop(db: DynamoDB) -> None:
    """Nor do thousands while they are made, sent, read and deleted."""
    items = {f"k{number}": "v" for number in range(3000)}
    await check_turns(lambda: db.set_many(items))
    await check_turns(lambda: db.get_many(list(items)))
    await check_turns(lambda: db.delete_many(list(items)))


@wire_alone
async def test_a_large_answer_that_was_damaged_is_asked_for_again(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """As a small one is."""
    no_json = forward(lambda reply: reply_with(reply.body[:-1] + b"]"))
    async with behind_proxy() as db:
        items = dict(list(LARGE.items())[:3])
        await db.set_many(items)
        for fault in (wrong_crc, cut_reply, no_json):
            proxy.operations.clear()
            proxy.script.append(fault)
            assert await db.get_many(list(items)) == items
            assert proxy.operations == ["BatchGetItem"] * 2


def reply_with(body: bytes) -> bytes:
    """Give the bytes of a reply whose checksum is right, whatever its body is."""
    return b"HTTP/1.1 200 -\r\ncontent-length: %d\r\nx-amz-crc32: %d\r\n\r\n%b" % (len(body), crc32(body), body)


texts = st.text() | st.sampled_from(['"', "\\", '\\"', "}},{", '}},{"', '}}, {"a', '"Responses":{"t":[', "]}"])
values = st.recursive(
    st.builds(lambda text: {"S": text}, texts) | st.just({"N": "1"}) | st.just({"NULL": True}),
    lambda inner: (
        st.builds(lambda each: {"L": each}, st.lists(inner))
        | st.builds(lambda each: {"M": each}, st.dictionaries(texts, inner))
    ),
    max_leaves=3,
)
items = st.dictionaries(texts, values, min_size=1)
keys = st.builds(lambda text: {"pk": {"S": text}}, texts)
answers = st.builds(
    lambda responses, left, order: {name: {**responses, **left}[name] for name in order},
    st.builds(lambda each: {"Responses": {"t": each}}, st.lists(items)),
    st.builds(lambda each: {"UnprocessedKeys": {"t": {"Keys": each}}}, st.lists(keys)),
    st.permutations(["Responses", "UnprocessedKeys"]),
)


@settings(deadline=None)
@given(
    reply=answers,
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    ensure_ascii=st.booleans(),
    places=st.lists(st.floats(0, 1), max_size=9),
    piece=st.integers(1, 60),
)
def test_an_answer_decoded_in_pieces_is_the_same(
    reply: dict[str, Any], places: list[float], piece: int, **form: Any
) -> None:
    """Whatever is in the items, around them and between, and wherever it was cut on its way."""
    body = json.dumps(reply, **form).encode()
    cuts = sorted(int(place * len(body)) for place in places)
    parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    with patch("kvik_dynamodb._wire.pieces.PIECE", piece):
        assert asyncio.run(decode_batch(parts)) == reply
        assert asyncio.run(checksum_of(parts)) == crc32(body)
