"""The metrics of all workers, served by their supervisor: asked for, summed up, kept beyond a worker's death.

The supervisor has no event loop, so this is a server in its selector's: nothing here waits, and each connection
has its end in time.
"""

import contextlib
import functools
import selectors
import socket
import time
from collections.abc import Iterable
from http import HTTPStatus

import httptools

from .exposition import Exposition
from .families import Family, from_line, merged

ASK = b"metrics\n"
"""What a worker is sent when its metrics are wanted."""

_ANSWER_TIMEOUT = 1.0
"""Seconds after which a worker's last known metrics stand in for its answer."""

_CLIENT_TIMEOUT = 5.0
_MOST_CLIENTS = 16
_MOST_HEAD = 16 * 1024
_READ = 64 * 1024


class WorkersMetrics:
    """Serve `/metrics` on the listener, if there is one, for all the workers that have joined.

    A worker has, as its label, the smallest number that no other living one has.
    """

    def __init__(self, listener: socket.socket | None, selector: selectors.BaseSelector) -> None:
        self._listener = listener
        self._selector = selector
        self._channels: dict[str, socket.socket] = {}
        self._last: dict[str, list[Family]] = {}
        self._of_the_dead: list[Family] = []
        self._clients: list[_Client] = []
        self._exposition = Exposition(self._families)

    def open(self) -> None:
        """Listen; a port that another program has begun to listen on meanwhile raises OSError."""
        if self._listener is not None:
            self._listener.settimeout(0)
            self._listener.listen()
            self._selector.register(
                self._listener, selectors.EVENT_READ, functools.partial(self._accept, self._listener)
            )

    def close(self) -> None:
        """Close the port and all connections."""
        for client in self._clients[:]:
            self._drop(client)
        if self._listener is not None:
            self._listener.close()

    # Workers

    def joined(self, channel: socket.socket) -> str:
        """Take in a worker, and give its label."""
        worker = next(label for label in map(str, range(len(self._channels) + 1)) if label not in self._channels)
        self._channels[worker] = channel
        return worker

    def heard(self, worker: str, line: bytes) -> None:
        """Take a worker's metrics."""
        self._last[worker] = from_line(line)
        self._answered(worker)

    def left(self, worker: str) -> None:
        """Keep what a worker has counted, so that no counter goes back."""
        del self._channels[worker]
        self._of_the_dead = merged([(None, self._of_the_dead), (None, self._last.pop(worker, []))])
        self._answered(worker)

    def _families(self) -> list[Family]:
        return merged([*sorted(self._last.items()), (None, self._of_the_dead)])

    def _ask(self) -> set[str]:
        """Ask every worker, and give those of whom an answer can be expected."""
        asked = set()
        for worker, channel in self._channels.items():
            with contextlib.suppress(OSError):  # it is gone, or has not read for a long time
                channel.send(ASK)
                asked.add(worker)
        return asked

    def _answered(self, worker: str) -> None:
        for client in self._clients[:]:
            if client.awaited is not None:
                client.awaited.discard(worker)
                self._answer_if_complete(client)

    # Time

    @property
    def deadlines(self) -> Iterable[float]:
        """Give the times at which `keep_time` has something to do."""
        return [client.deadline for client in self._clients]

    def keep_time(self, now: float) -> None:
        """Answer who has waited for long enough, and drop who takes too long."""
        for client in [client for client in self._clients if client.deadline <= now]:
            if client.awaited:
                client.awaited.clear()
                self._answer_if_complete(client)
            else:
                self._drop(client)

    # Connections

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it has gone again; or there are too many open files, and the next turn may have room
        if len(self._clients) >= _MOST_CLIENTS:
            connection.close()
            return
        connection.settimeout(0)
        client = _Client(connection)
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, functools.partial(self._read, client))

    def _read(self, client: "_Client") -> None:
        try:
            client.read()
        except (OSError, EOFError):
            self._drop(client)
            return
        if client.refusal is not None:
            self._send(client, _reply(client.refusal, with_body=client.method != b"HEAD"))
        elif client.is_complete:
            self._selector.unregister(client.connection)
            client.awaited = self._ask()
            client.deadline = time.monotonic() + _ANSWER_TIMEOUT
            self._answer_if_complete(client)

    def _answer_if_complete(self, client: "_Client") -> None:
        if client.awaited:
            return
        text, content_type = self._exposition.render(client.accept)
        client.awaited = None
        self._send(client, _reply(HTTPStatus.OK, text, content_type, with_body=client.method != b"HEAD"))

    def _send(self, client: "_Client", reply: bytes) -> None:
        client.unsent = memoryview(reply)
        client.deadline = time.monotonic() + _CLIENT_TIMEOUT
        with contextlib.suppress(KeyError):
            self._selector.unregister(client.connection)
        self._selector.register(client.connection, selectors.EVENT_WRITE, functools.partial(self._write, client))

    def _write(self, client: "_Client") -> None:
        try:
            client.unsent = client.unsent[client.connection.send(client.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            client.unsent = memoryview(b"")
        if not client.unsent:
            self._drop(client)

    def _drop(self, client: "_Client") -> None:
        with contextlib.suppress(KeyError):  # it waits for workers
            self._selector.unregister(client.connection)
        client.connection.close()
        self._clients.remove(client)


class _Client:
    """Hold one connection: its request, what it waits for, and its answer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + _CLIENT_TIMEOUT
        self.accept = ""
        self.is_complete = False
        self.refusal: HTTPStatus | None = None
        self.awaited: set[str] | None = None  # the workers that have not answered, once they were asked
        self.unsent = memoryview(b"")
        self._target = b""
        self._size = 0
        self._parser = httptools.HttpRequestParser(self)

    @property
    def method(self) -> bytes:
        """Give the request's method."""
        return bytes(self._parser.get_method())

    def read(self) -> None:
        """Read what there is of the request; EOFError where the client has gone."""
        data = self.connection.recv(_READ)
        if not data:
            raise EOFError
        self._size += len(data)
        try:
            with contextlib.suppress(httptools.HttpParserUpgrade):  # to be ignored (RFC 9110, 7.8)
                self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.refusal = HTTPStatus.BAD_REQUEST
        if self._size > _MOST_HEAD and not self.is_complete:
            self.refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    # What the parser finds

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take the format that is asked for."""
        if name.lower() == b"accept":
            self.accept = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Decide about the request: nothing that can be asked for has a body."""
        self.is_complete = True
        if self._parser.get_http_version() not in {"1.0", "1.1"}:
            self.refusal = HTTPStatus.BAD_REQUEST
        elif self._target.partition(b"?")[0] != b"/metrics":
            self.refusal = HTTPStatus.NOT_FOUND
        elif self.method not in {b"GET", b"HEAD"}:
            self.refusal = HTTPStatus.METHOD_NOT_ALLOWED


def _reply(
    status: HTTPStatus,
    text: bytes | None = None,
    content_type: str = "text/plain; charset=utf-8",
    *,
    with_body: bool = True,
) -> bytes:
    body = f"{status.phrase}\n".encode() if text is None else text
    allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n{allow}Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body * with_body
