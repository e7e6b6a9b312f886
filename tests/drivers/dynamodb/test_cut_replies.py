"""A reply that ends anywhere before its end is none."""

import pytest

from kvik_dynamodb import DynamoDBError

from .conftest import Maker
from .faults import Fault, FaultProxy, forward

HEAD = b"HTTP/1.1 200 -\r\nx-amz-crc32: 2745614147\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: "
ENDS = sorted(
    {*range(0, len(HEAD), 9), *(place for place in range(len(HEAD)) if HEAD[:place].endswith((b" ", b"\n")))}
)
"""Where replies are cut: here and there in the head, and where each part of it begins."""


def cut_after(size: int) -> Fault:
    """Apply the request for real, and answer with so many bytes."""
    return forward(lambda reply: reply.encode()[:size])


async def test_an_answer_cut_anywhere_is_asked_for_again(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """However little is missing of a reply, the value comes, from another one."""
    async with behind_proxy() as db:
        await db.set("k", "v")
        for size in ENDS:
            proxy.script.append(cut_after(size))
            assert await db.get("k") == "v", size


async def test_a_refusal_cut_anywhere_is_asked_for_again(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """However little is missing of an error, it is not taken for another error."""
    async with behind_proxy() as db:
        await db.set("k", "v")
        for size in ENDS:
            proxy.script.append(cut_after(size))
            with pytest.raises(DynamoDBError) as caught:
                await db.set_if("k", "w", "another-version")
            assert caught.value.code == "conflict", size
