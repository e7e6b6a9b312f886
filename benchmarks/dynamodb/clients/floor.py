"""The floor: requests that were signed before, sent and received by asyncio.Protocol and httptools.

It has no credentials to refresh, no timeouts, retries or checks: nothing in Python that does these can cost less.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dynamodb.clients.measured import Client, main
from dynamodb.items import CONNECTIONS, CREDENTIALS, KEYS, REGION, TABLE, VALUE, key


class Connection(asyncio.Protocol):
    """Carry one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> "asyncio.Future[bytes]":
        """Send a request; the future is the body of its answer."""
        self._body = b""
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Collect the answer."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        if self._parser.get_status_code() == 200:  # noqa: PLR2004 - HTTP's OK
            self._answer.set_result(self._body)
        else:
            self._answer.set_exception(RuntimeError(self._body.decode()))


@contextlib.asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    """Sign all requests there will be, and open the connections."""
    place = urlsplit(endpoint)
    address = str(place.hostname), place.port or 80
    gets = [_signed(endpoint, "GetItem", {"Key": _key(n), "ConsistentRead": True}) for n in range(KEYS)]
    puts = [_signed(endpoint, "PutItem", {"Item": _item(n)}) for n in range(KEYS)]
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Connection, *address) for _ in range(CONNECTIONS)]
    idle = [connection for _, connection in made]

    async def call(request: bytes) -> bytes:
        connection = idle.pop()
        body = await connection.send(request)
        idle.append(connection)
        return body

    async def get(number: int) -> object:
        return msgspec.json.decode(await call(gets[number % KEYS]))["Item"]["value"]["S"]

    yield Client(get, put=lambda number: call(puts[number % KEYS]))
    for transport, _ in made:
        transport.close()


def _key(number: int) -> dict[str, dict[str, str]]:
    return {"pk": {"S": key(number)}}


def _item(number: int) -> dict[str, dict[str, str]]:
    """Give what the driver writes, with a token of the same length, so that both send as many bytes."""
    return {**_key(number), "value": {"S": VALUE}, "kvik_w": {"S": "-" * 22}}


def _signed(endpoint: str, operation: str, payload: dict[str, object]) -> bytes:
    body = msgspec.json.encode({"TableName": TABLE, **payload})
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    request = AWSRequest("POST", endpoint + "/", headers, body)
    SigV4Auth(Credentials(*CREDENTIALS.values()), "dynamodb", REGION).add_auth(request)
    fields = {"Host": urlsplit(endpoint).netloc, **request.headers, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


if __name__ == "__main__":
    main(opened)
