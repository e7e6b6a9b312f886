"""A proxy in front of a real DynamoDB server, for the faults that no server makes on demand."""

import asyncio
import http.client
import json
import socket
import ssl
import struct
from binascii import crc32
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """What goes back: a status, headers, a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def encode(self) -> bytes:
        """Give the reply's bytes, its headers as they are, true or not."""
        lines = [f"HTTP/1.1 {self.status} -", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Exchange:
    """One request, and the ways to treat it."""

    headers: Mapping[str, str]
    body: bytes
    upstream: str
    writer: asyncio.StreamWriter
    stalled: asyncio.Semaphore
    released: asyncio.Event
    closing: asyncio.Event

    def forward(self, body: bytes | None = None) -> Reply:
        """Pass the request on to the real server, or another one with the same headers."""
        body = self.body if body is None else body
        headers = {**self.headers, "content-length": str(len(body))}
        connection = http.client.HTTPConnection(self.upstream, timeout=20)
        try:
            connection.request("POST", "/", body, headers)
            reply = connection.getresponse()
            body = reply.read()
        finally:
            connection.close()
        kept = ("x-amz-crc32", "content-type")
        headers = {name: value for name in kept if (value := reply.headers.get(name))}
        return Reply(reply.status, {**headers, "content-length": str(len(body))}, body)


Fault = Callable[[Exchange], Awaitable[bytes]]
JSON = dict[str, Any]


def forward(change: Callable[[Reply], bytes] = Reply.encode) -> Fault:
    """Apply the request for real, and answer with its reply, changed."""

    async def fault(exchange: Exchange) -> bytes:
        return change(await asyncio.to_thread(exchange.forward))

    return fault


def answer(code: str, status: int = 400, *, headers: Mapping[str, str] | None = None) -> Fault:
    """Refuse the request with a DynamoDB error, without applying it."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "hidden"}).encode()

    async def fault(_: Exchange) -> bytes:
        return Reply(status, {"content-length": str(len(body)), **(headers or {})}, body).encode()

    return fault


def rewrite(change: Callable[[JSON], JSON]) -> Fault:
    """Apply the request for real, and answer with its reply's JSON, changed, with a checksum that is right."""

    def changed(reply: Reply) -> bytes:
        return reply_of(change(json.loads(reply.body)), reply.status)

    return forward(changed)


def reply_of(reply: JSON, status: int = 200) -> bytes:
    """Give the bytes of a sound reply."""
    body = json.dumps(reply).encode()
    return Reply(status, {"content-length": str(len(body)), "x-amz-crc32": str(crc32(body))}, body).encode()


def process_only(most: int) -> Fault:
    """Do the first of a batch's keys, and report the others as unprocessed."""

    async def fault(exchange: Exchange) -> bytes:
        request = json.loads(exchange.body)
        ((table, part),) = request["RequestItems"].items()
        if isinstance(part, dict):  # BatchGetItem
            left = {table: {**part, "Keys": part["Keys"][most:]}}
            part["Keys"] = part["Keys"][:most]
            reply: JSON = {"Responses": {table: []}, "UnprocessedKeys": left}
        else:
            left = {table: part[most:]}
            del part[most:]
            reply = {"UnprocessedItems": left}
        if most:
            done = await asyncio.to_thread(exchange.forward, json.dumps(request).encode())
            reply = {**json.loads(done.body), **{name: reply[name] for name in reply if name != "Responses"}}
        return reply_of(reply)

    return fault


def lose_reply_and(act: Callable[[], object]) -> Fault:
    """Apply the request, let somebody else do something, and close the connection."""

    async def fault(exchange: Exchange) -> bytes:
        await asyncio.to_thread(exchange.forward)
        await asyncio.to_thread(act)
        return b""

    return fault


async def drop(_: Exchange) -> bytes:
    """Close the connection without applying the request."""
    return b""


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a TCP reset instead of a goodbye."""
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


async def drop_by_reset(exchange: Exchange) -> bytes:
    """Reset the connection without applying the request."""
    reset(exchange.writer)
    return b""


async def lose_reply_by_reset(exchange: Exchange) -> bytes:
    """Apply the request, and reset the connection."""
    await asyncio.to_thread(exchange.forward)
    return await drop_by_reset(exchange)


async def cut_reply_by_reset(exchange: Exchange) -> bytes:
    """Apply the request, and reset the connection in the middle of the answer."""
    reply = (await asyncio.to_thread(exchange.forward)).encode()
    exchange.writer.write(reply[: len(reply) // 2])
    return await drop_by_reset(exchange)


async def hold(exchange: Exchange) -> bytes:
    """Raise the count of stalled requests, and pass this one on only when they are released."""
    await stall(exchange)
    return await forward()(exchange)


async def stall(exchange: Exchange) -> bytes:
    """Raise the count of stalled requests, and answer nothing until they are released; then drop this one."""
    exchange.stalled.release()
    await exchange.released.wait()
    return b""


async def drip(exchange: Exchange) -> bytes:
    """Answer a byte at a time, without an end, so that no socket timeout ends it."""
    exchange.writer.write(b"HTTP/1.1 200 -\r\ncontent-length: 1000000\r\n\r\n{")
    while not exchange.closing.is_set():
        exchange.writer.write(b" ")
        await asyncio.sleep(0.05)
    return b""


async def web_page(_: Exchange) -> bytes:
    """Answer as a web server that is no DynamoDB."""
    return Reply(200, {"content-length": "6"}, b"<html>").encode()


lose_reply = forward(lambda _: b"")
cut_reply = forward(lambda reply: reply.encode()[:-1])
cut_reply_without_crc = forward(
    lambda reply: Reply(200, {"content-length": reply.headers["content-length"]}, reply.body[:-1]).encode()
)
wrong_crc = forward(lambda reply: Reply(reply.status, {**reply.headers, "x-amz-crc32": "1"}, reply.body).encode())


class FaultProxy:
    """Listen on loopback; treat each request by the next entry of the script, or as ``otherwise`` says.

    The first ``resets`` of the connections to come are reset before they are read.
    """

    def __init__(self, upstream: str, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._tls = tls
        self.port = port
        self._closing = asyncio.Event()
        self._released = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self.stalled = asyncio.Semaphore(0)
        self.script: deque[Fault] = deque()
        self.otherwise = forward()
        self.resets = 0
        self.accepted = 0
        self.most_open = 0
        self.headers: list[Mapping[str, str]] = []
        self.operations: list[str] = []
        self.requests: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def listen(self) -> None:
        """Begin, or begin again after close, on the same port."""
        self._closing.clear()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        """Refuse new connections, and serve the others."""
        self._server.close()

    async def close(self) -> None:
        """Stop listening, and end every connection."""
        self.stop_listening()
        self._closing.set()
        self.release()
        await self.hang_up()
        await self._server.wait_closed()

    async def hang_up(self) -> None:
        """End every connection, and go on listening."""
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def release(self) -> None:
        """End what is stalled; later requests may stall again."""
        self._released.set()
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        """The endpoint to give to a driver."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """The number of connections that are open."""
        return len(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.accepted += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if self.resets:
                self.resets -= 1
                reset(writer)
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._serve(reader, writer):
                    pass
        finally:
            writer.close()
            self._connections.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Treat one request; say whether the connection can go on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.operations.append(headers["x-amz-target"].partition(".")[2])
        self.requests.append(json.loads(body))
        self.headers.append(headers)
        fault = self.script.popleft() if self.script else self.otherwise
        exchange = Exchange(headers, body, self._upstream, writer, self.stalled, self._released, self._closing)
        reply = await fault(exchange)
        writer.write(reply)
        await writer.drain()
        head_sent, _, body_sent = reply.rpartition(b"\r\n\r\n")
        is_whole = f"content-length: {len(body_sent)}\r".encode() in head_sent + b"\r"
        return is_whole or reply.endswith(b"\r\n0\r\n\r\n")
