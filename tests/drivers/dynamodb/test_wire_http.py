"""One HTTP connection of the wire, fed by hand with what no server of the other tests sends."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from kvik_dynamodb._wire.http import ConnectionBrokenError, HTTPConnection, Reply

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Amz-Crc32: 7\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
WAIT = b"HTTP/1.1 100 Continue\r\n\r\n"


class Socket(asyncio.Transport):
    """Keep what is written, and end when told."""

    def __init__(self, connection: HTTPConnection) -> None:
        super().__init__()
        self._connection = connection
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.sent.append(data)

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, error)


def connected() -> tuple[HTTPConnection, Socket]:
    """Give a connection, and what it takes for its socket."""
    connection = HTTPConnection(asyncio.get_running_loop())
    wire = Socket(connection)
    connection.connection_made(wire)
    return connection, wire


async def exchange(connection: HTTPConnection, *parts: bytes, seconds: float = 30.0) -> Reply:
    """Send a request, and let these bytes come once it is on its way."""
    loop = asyncio.get_running_loop()
    loop.call_soon(feed, connection, parts)
    return await connection.exchange(b"request", loop.time() + seconds)


def feed(connection: HTTPConnection, parts: Iterable[bytes]) -> None:
    for part in parts:
        connection.data_received(part)


@pytest.mark.parametrize("reply", [OK, CHUNKED, LAST, WAIT + OK, WAIT + WAIT + CHUNKED])
async def test_a_reply_may_come_in_any_parts(reply: bytes) -> None:
    """Whole, in two parts cut anywhere, or a byte at a time; what only announces a reply is none."""
    cuts = [[reply[:cut], reply[cut:]] for cut in range(len(reply))]
    for parts in [*cuts, [bytes([byte]) for byte in reply]]:
        connection, _ = connected()
        answered = await exchange(connection, *parts)
        assert (answered.status, answered.body) == (200, b"{}")


@pytest.mark.parametrize("reply", [OK, CHUNKED])
async def test_a_connection_serves_again(reply: bytes) -> None:
    """One reply after the other, each with its own headers and body."""
    connection, wire = connected()
    await exchange(connection, b"HTTP/1.1 400 No\r\ncontent-length: 3\r\nfirst: 1\r\n\r\nno!")
    assert connection.is_open
    answered = await exchange(connection, reply)
    assert (answered.status, answered.body) == (200, b"{}")
    assert b"first" not in answered.headers
    assert wire.sent == [b"request"] * 2


async def test_names_of_headers_are_in_lower_case() -> None:
    """However the server writes them."""
    connection, _ = connected()
    assert (await exchange(connection, OK)).headers == {b"content-length": b"2", b"x-amz-crc32": b"7"}


@pytest.mark.parametrize("reply", [LAST, b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"])
async def test_a_last_reply_is_the_last(reply: bytes) -> None:
    """Where the server says that it will close, or speaks HTTP/1.0, the connection is not used again."""
    connection, wire = connected()
    assert (await exchange(connection, reply)).body == b"{}"
    assert not connection.is_open
    await connection.wait_closed()
    assert wire.is_closed


@pytest.mark.parametrize("more", [OK, OK[:1], WAIT, b"noise"])
async def test_a_connection_that_says_more_than_was_asked_is_not_used_again(more: bytes) -> None:
    """A second reply would be taken for the next request's: the first one counts, and the connection ends."""
    for parts in ([OK + more], [OK, more]):
        connection, _ = connected()
        answered = await exchange(connection, *parts)
        assert (answered.status, answered.body) == (200, b"{}")
        assert not connection.is_open
        await connection.wait_closed()


async def test_a_change_of_protocol_breaks_a_connection() -> None:
    """Nobody has asked for one."""
    connection, _ = connected()
    with pytest.raises(ConnectionBrokenError):
        await exchange(connection, b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    assert not connection.is_open


@pytest.mark.parametrize("unasked", [OK, OK[:1], b"noise"])
async def test_a_connection_that_speaks_unasked_is_not_used(unasked: bytes) -> None:
    """Before the first request, and at rest."""
    for served in (False, True):
        connection, _ = connected()
        if served:
            await exchange(connection, OK)
        connection.data_received(unasked)
        assert not connection.is_open
        await connection.wait_closed()


@pytest.mark.parametrize("received", [OK[:1], OK[:-1], CHUNKED[:-1], WAIT])
async def test_a_reply_cut_short_is_no_reply(received: bytes) -> None:
    """An end before the last byte breaks the connection, which was not silent."""
    connection, wire = connected()
    asyncio.get_running_loop().call_soon(wire.lose, ConnectionResetError())
    with pytest.raises(ConnectionBrokenError, match="ConnectionResetError") as caught:
        await exchange(connection, received)
    assert not caught.value.silent
    assert not connection.is_open


async def test_a_reply_without_a_length_is_no_reply() -> None:
    """Where only the end of the connection would end the body, nobody knows whether it is whole."""
    connection, wire = connected()
    asyncio.get_running_loop().call_soon(wire.lose, None)
    with pytest.raises(ConnectionBrokenError):
        await exchange(connection, b"HTTP/1.1 200 OK\r\n\r\n{}")


async def test_an_end_without_a_byte_is_silent() -> None:
    """So the pool knows that the connection had died before; also where a reply had come to another request."""
    connection, wire = connected()
    await exchange(connection, OK)
    asyncio.get_running_loop().call_soon(wire.lose, None)
    with pytest.raises(ConnectionBrokenError, match="closed by the server") as caught:
        await exchange(connection)
    assert caught.value.silent


async def test_noise_breaks_a_connection() -> None:
    """What is no HTTP ends it at once."""
    connection, _ = connected()
    with pytest.raises(ConnectionBrokenError, match="no HTTP"):
        await exchange(connection, b"SSH-2.0-OpenSSH\r\n")
    await connection.wait_closed()


# Time


async def test_a_reply_that_does_not_come_in_time() -> None:
    """The exchange ends with the connection, whatever had come of a reply."""
    for received in (b"", OK[:-1]):
        connection, wire = connected()
        with pytest.raises(TimeoutError):
            await exchange(connection, received, seconds=0.01)
        assert not connection.is_open
        assert wire.is_closed


async def test_a_shorter_time_after_a_longer_one() -> None:
    """Each exchange has its own time: one with little is not given what the one before had."""
    loop = asyncio.get_running_loop()
    connection, _ = connected()
    await exchange(connection, OK, seconds=30.0)
    began = loop.time()
    with pytest.raises(TimeoutError):
        await exchange(connection, seconds=0.01)
    assert loop.time() < began + 10


async def test_a_longer_time_after_a_shorter_one() -> None:
    """The time that one exchange did not use up does not end the next."""
    loop = asyncio.get_running_loop()
    connection, _ = connected()
    began = loop.time()
    await exchange(connection, OK, seconds=0.02)
    loop.call_later(0.05, connection.data_received, OK)
    assert (await exchange(connection)).body == b"{}"
    assert loop.time() > began + 0.04
    with pytest.raises(TimeoutError):
        await exchange(connection, seconds=0.01)


async def test_a_rest_longer_than_the_time_of_a_reply() -> None:
    """The time of an exchange ends with it: a connection at rest stays, and serves again with a time."""
    connection, _ = connected()
    await exchange(connection, OK, seconds=0.01)
    await asyncio.sleep(0.02)
    assert (await exchange(connection, OK)).body == b"{}"
    with pytest.raises(TimeoutError):
        await exchange(connection, seconds=0.01)


async def test_a_cancelled_exchange_ends_its_connection() -> None:
    """The reply that is still to come would be taken for the next request's."""
    connection, wire = connected()
    task = asyncio.create_task(exchange(connection))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    connection.data_received(OK)  # too late
    assert not connection.is_open
    assert wire.is_closed
