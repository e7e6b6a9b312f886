"""Large bodies, worked on piece by piece, so that the event loop has its turns: one go would stop it for 30 ms.

A thread would not help, for msgspec keeps the interpreter's lock while it decodes. Nor is a body ever joined:
a new place for 16 MB alone takes 10 ms to be filled.
"""

import asyncio
import re
from binascii import crc32
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

PIECE: Final = 256 * 1024
"""Bytes that are decoded at once, in about half a millisecond."""

_BEFORE_ITEMS: Final = re.compile(rb'"Responses": ?{ ?"[^"]*": ?\[')
"""In no text, where each quote has a backslash before it."""

_BETWEEN_ITEMS: Final = re.compile(rb'}}(,) ?{"(?=[^,:\]}\s])')
"""Neither in a text nor at its end. It may be within an item that holds a list of others: decoding tells."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_items = msgspec.json.Decoder(list[Any]).decode


async def checksum_of(body: Iterable[bytes]) -> int:
    """Give the CRC-32 of a body in parts."""
    found = 0
    for piece in _pieces(body):
        found = crc32(piece, found)
        await asyncio.sleep(0)
    return found


async def decode_batch(body: Sequence[bytes]) -> dict[str, Any]:
    """Decode what BatchGetItem answers: items as their pieces come, the last ones with all that is around them.

    Raises msgspec.DecodeError.
    """
    pieces = _pieces(body)
    first = next(pieces)
    before = _BEFORE_ITEMS.search(first)
    if before is None:
        return _decode(b"".join(body))
    items = _Items(first[before.end() :])
    for piece in pieces:
        items.add(piece)
        await asyncio.sleep(0)
    answer = _decode(first[: before.end()] + items.rest)
    (last_ones,) = answer["Responses"].values()
    last_ones[:0] = items.decoded
    return answer


class _Items:
    """Decode whole items of what is added, of which ``rest`` is left."""

    def __init__(self, first: bytes) -> None:
        self.decoded: list[Any] = []
        self.rest = bytearray(first)
        self._size = PIECE

    def add(self, piece: bytes) -> None:
        self.rest += piece
        while between := _BETWEEN_ITEMS.search(self.rest, self._size):
            comma = between.start(1)
            try:
                self.decoded += _decode_items(b"".join((b"[", memoryview(self.rest)[:comma], b"]")))
            except msgspec.DecodeError:  # an item goes on there
                self._size = 2 * comma
            else:
                del self.rest[: comma + 1]
                self._size = PIECE


def _pieces(body: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts, which may be short, to pieces that are about as long as is good."""
    parts: list[bytes] = []
    size = 0
    for part in body:
        parts.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)
