"""A quick proxy in front of a DynamoDB server that makes faults at random, and tells which writes were done."""

import asyncio
import random
import re
import socket
import struct
from collections import Counter
from typing import Any, Final, Self
from urllib.parse import urlsplit

from .history import Applied, History
from .messages import Messages, body_of, corrupt, halved, message_of, refusal, with_left, writes

FAULTS: Final = {
    "drop before": 6,
    "drop after": 6,
    "reset before": 5,
    "reset after": 5,
    "cut": 6,
    "wrong body": 5,
    "throttle": 3,
    "error before": 6,
    "error after": 6,
    "slow": 10,
    "late reply": 2,
    "late request": 3,
    "nothing": 2,
    "unprocessed": 8,
    "half": 8,
}
"""The kinds of fault, each with how often it is chosen in a thousand requests."""

_LATE: Final = 0.45
"""Seconds; more than the clients' read timeout."""

_TARGET: Final = re.compile(rb"x-amz-target: *DynamoDB_20120810\.(\w+)", re.IGNORECASE)


_INSTEAD: Final = {
    "drop before": b"",
    "reset before": b"",
    "nothing": b"",
    "throttle": refusal(400, "ProvisionedThroughputExceededException"),
    "error before": refusal(500, "InternalServerError"),
}
_NOTHING: Final = message_of(200, b'{"Responses":{}}')


class _Upstream(Messages):
    """Ask the server, one thing at a time."""

    reply: asyncio.Future[bytes]

    def message_received(self, message: bytes) -> None:
        self.reply.set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.reply.done():
            self.reply.set_exception(error or ConnectionError("the server closed the connection"))


class _Client(Messages):
    """Serve a client, one request at a time."""

    def __init__(self, proxy: "SoakProxy") -> None:
        super().__init__()
        self._proxy = proxy
        self.is_idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.clients.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy.clients.discard(self)

    def message_received(self, message: bytes) -> None:
        self.is_idle = False
        self._proxy.begin(self, message)

    def answer(self, reply: bytes) -> None:
        self.is_idle = True
        if not self.transport.is_closing():
            self.transport.write(reply)

    def reset(self) -> None:
        """Close as a machine does that has lost its memory of the connection."""
        peer: socket.socket | None = self.transport.get_extra_info("socket")
        if peer is not None and not self.transport.is_closing():
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class SoakProxy:
    """Listen on loopback; ``histories`` gets the writes that were done, ``faults`` counts what was made."""

    def __init__(self, upstream: str, seed: int) -> None:
        self._upstream = urlsplit(upstream)
        self._random = random.Random(seed)  # noqa: S311 - the same faults for the same seed
        self._kinds = [*FAULTS, ""]
        self._weights = [*FAULTS.values(), 1000 - sum(FAULTS.values())]
        self._idle: list[_Upstream] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.clients: set[_Client] = set()
        self.faults: Counter[str] = Counter()
        self.histories: dict[str, History] = {}
        self.failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._killer = asyncio.create_task(self._kill_idle_connections())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._killer.cancel()
        await asyncio.wait({self._killer})
        self._server.close()
        await self.finish()
        for connection in [*self.clients, *self._idle]:
            connection.transport.abort()

    async def finish(self) -> None:
        """Wait until everything that is late has been done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def begin(self, client: _Client, request: bytes) -> None:
        task = asyncio.create_task(self._treat(client, request, self._loop.time()))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if (failure := task.exception()) is not None:
            self.failures.append(failure)

    async def _treat(self, client: _Client, request: bytes, received: float) -> None:
        (kind,) = self._random.choices(self._kinds, self._weights)
        target = _TARGET.search(request)
        operation = target[1].decode() if target else ""
        if kind in {"unprocessed", "half"} and not operation.startswith("Batch"):
            kind = ""
        if kind:
            self.faults[kind] += 1
        reply = await self._reply(kind, operation, request, received)
        match kind:
            case "drop before" | "drop after" | "nothing":
                client.transport.close()
            case "reset before" | "reset after":
                client.reset()
            case "cut":
                client.transport.write(reply[: self._random.randrange(1, len(reply))])
                client.transport.close()
            case _:
                client.answer(reply)

    async def _reply(self, kind: str, operation: str, request: bytes, received: float) -> bytes:
        """Give what the fault makes of the server's reply, or what is there instead of it."""
        if kind in _INSTEAD:
            await asyncio.sleep(_LATE if kind == "nothing" else 0)
            return _INSTEAD[kind]
        if kind == "unprocessed":
            return with_left(operation, _NOTHING, body_of(request)["RequestItems"])
        left: dict[str, Any] = {}
        if kind == "half":
            request, left = halved(request)
        if kind in {"slow", "late request"}:
            await asyncio.sleep(_LATE if kind == "late request" else self._random.uniform(0, _LATE / 4))
        sent = self._loop.time()
        reply = await self._forward(request)
        if reply.startswith(b"200", 9):
            self._note(operation, request, reply, (received, sent, self._loop.time()))
            reply = with_left(operation, reply, left) if left else reply
        return await self._changed(kind, reply)

    async def _changed(self, kind: str, reply: bytes) -> bytes:
        if kind == "late reply":
            await asyncio.sleep(_LATE)
        if kind == "error after":
            return refusal(500, "InternalServerError")
        return corrupt(reply, self._random) if kind == "wrong body" else reply

    async def _forward(self, request: bytes) -> bytes:
        upstream = self._idle.pop() if self._idle else None
        while upstream is not None and upstream.transport.is_closing():
            upstream = self._idle.pop() if self._idle else None
        if upstream is None:
            place = self._upstream
            _, upstream = await self._loop.create_connection(_Upstream, place.hostname or "", place.port or 80)
        upstream.reply = self._loop.create_future()
        upstream.transport.write(request)
        reply = await upstream.reply
        if reply.startswith(b"HTTP/1.1") and b"onnection: close" not in reply.partition(b"\r\n\r\n")[0]:
            self._idle.append(upstream)
        else:
            upstream.transport.close()
        return reply

    def _note(self, operation: str, request: bytes, reply: bytes, times: tuple[float, float, float]) -> None:
        for key, value in writes(operation, request, reply):
            history = self.histories.setdefault(key, History(key))
            history.applied.append(Applied(value, *times))

    async def _kill_idle_connections(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            for client in [client for client in self.clients if client.is_idle]:
                if self._random.random() < 0.3:
                    self.faults["idle closed"] += 1
                    client.transport.close()
