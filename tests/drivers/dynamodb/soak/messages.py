"""DynamoDB's requests and replies as bytes: received whole, read, and changed."""

import asyncio
import random
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CRC: Final = re.compile(rb"x-amz-crc32:", re.IGNORECASE)


class Messages(asyncio.Protocol):
    """Receive whole HTTP messages on a connection."""

    def __init__(self) -> None:
        self._received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # asyncio's TCP transports are Transports

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n") + 4
        if head >= 4 and (length := _LENGTH.search(self._received, 0, head)):
            end = head + int(length[1])
            if len(self._received) >= end:
                message, self._received = self._received[:end], self._received[end:]
                self.message_received(message)

    def message_received(self, message: bytes) -> None:
        raise NotImplementedError


def body_of(message: bytes) -> dict[str, Any]:
    """Give what a message says."""
    body: dict[str, Any] = msgspec.json.decode(message.partition(b"\r\n\r\n")[2])
    return body


def message_of(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} -\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def refusal(status: int, code: str) -> bytes:
    return message_of(status, msgspec.json.encode({"__type": f"com.amazonaws.dynamodb.v20120810#{code}"}))


def halved(request: bytes) -> tuple[bytes, dict[str, Any]]:
    """Give the request for the first half of a batch, and what is left of it."""
    head, _, text = request.partition(b"\r\n\r\n")
    body, left = msgspec.json.decode(text), {}
    for table, part in body["RequestItems"].items():
        keys = part["Keys"] if isinstance(part, dict) else part
        rest = keys[(len(keys) + 1) // 2 :]
        del keys[(len(keys) + 1) // 2 :]
        if rest:
            left[table] = {**part, "Keys": rest} if isinstance(part, dict) else rest
    text = msgspec.json.encode(body)
    return _LENGTH.sub(b"content-length: %d" % len(text), head) + b"\r\n\r\n" + text, left


def with_left(operation: str, reply: bytes, left: dict[str, Any]) -> bytes:
    """Give the reply that tells what was left."""
    name = "UnprocessedItems" if operation == "BatchWriteItem" else "UnprocessedKeys"
    return message_of(200, msgspec.json.encode({**body_of(reply), name: left}))


def corrupt(reply: bytes, chance: random.Random) -> bytes:
    """Change one byte of the body, where the checksum can tell."""
    head, _, body = reply.partition(b"\r\n\r\n")
    if not body or not _CRC.search(head):
        return reply
    place = chance.randrange(len(body))
    return head + b"\r\n\r\n" + body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def writes(operation: str, request: bytes, reply: bytes) -> Iterator[tuple[str, str | None]]:
    """Give the keys that were written, each with its new value."""
    if operation not in {"PutItem", "DeleteItem", "BatchWriteItem"}:
        return
    body = body_of(request)
    if operation != "BatchWriteItem":
        yield _write(body)
        return
    left = [write for writes in body_of(reply).get("UnprocessedItems", {}).values() for write in writes]
    keys = {_write(next(iter(write.values())))[0] for write in left}
    for writes in body["RequestItems"].values():
        for write in writes:
            key, value = _write(next(iter(write.values())))
            if key not in keys:
                yield key, value


def _write(request: dict[str, Any]) -> tuple[str, str | None]:
    if "Item" in request:
        return request["Item"]["pk"]["S"], request["Item"]["value"]["S"]
    return request["Key"]["pk"]["S"], None
