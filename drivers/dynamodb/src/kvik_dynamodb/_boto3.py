"""The boto3 transport: blocking calls in threads of the driver's own."""

import asyncio
import traceback
from binascii import crc32
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config

from ._aws import AWSConfig, given_session, read_config
from ._aws_settings import check_settings, max_attempts, replaced_settings
from ._errors import BrokenReplyError, DynamoDBError, Target, closed, not_connected, timed_out
from ._events import Events
from ._failures import broken, presentable, translate
from ._headers import sendable
from ._options import Options
from ._replies import is_well_formed
from ._threads import DaemonThreads

if TYPE_CHECKING:
    from concurrent.futures import Future

    from types_boto3_dynamodb import DynamoDBClient

_decode = msgspec.json.Decoder(dict[str, Any]).decode

T = TypeVar("T")
P = ParamSpec("P")


class Boto3Transport:
    """Send requests through one boto3 client, each in a worker thread.

    A thread cannot be interrupted: a call that is cancelled or out of time leaves its thread to finish, and
    the thread keeps its place in the pool until then. The socket timeouts bound that. Clients are made on the
    reserved threads only, of which the second is for health while the first still waits.
    """

    def __init__(self, options: Options, events: Events) -> None:
        self._options = options
        self._events = events
        self._target = options.target
        self._client: DynamoDBClient | None = None
        self._credentials_missing = False
        self._closed = False
        self.max_attempts: int | None = None
        self._replaced: list[tuple[str, str]] = []
        self._running: set[Future[Any]] = set()
        self._workers = DaemonThreads(options.max_connections, "kvik-dynamodb")
        self._reserved = DaemonThreads(2, "kvik-dynamodb-reserved")
        self._making = Lock()

    @property
    def region(self) -> str | None:
        return self._target.region or None

    async def open(self, deadline: float) -> None:
        await self._run(self._reserved, deadline, self._ensure_client)
        replaced, self._replaced = self._replaced, []
        for setting, instead in replaced:
            self._events.setting_replaced(setting, instead)

    async def call(
        self, operation: str, payload: Mapping[str, Any], deadline: float, *, reserved: bool = False
    ) -> dict[str, Any]:
        if reserved:
            try:
                return await self._run(self._reserved, deadline, self._ensure_client_and_send, operation, payload)
            except DynamoDBError as error:
                if error.cause == "timeout" and self._client is not None:
                    self._client.close()  # what rests may be as dead; boto3 makes new connections
                raise
        if self._client is None and not self._closed:
            raise not_connected(self._target)
        return await self._run(self._workers, deadline, self._send, operation, payload)

    async def close(self) -> None:
        self._refuse()
        if running := list(self._running):  # a copy, since threads that end shrink the set
            grace = self._options.connect_timeout + self._options.read_timeout
            ending = asyncio.gather(*map(asyncio.wrap_future, running), return_exceptions=True)
            await asyncio.wait([ending], timeout=grace)
            ending.cancel()
        if self._client is not None:
            self._client.close()

    def abandon(self) -> None:
        self._refuse()
        if self._client is not None:
            self._client.close()

    def _refuse(self) -> None:
        self._closed = True
        for executor in (self._workers, self._reserved):
            executor.shutdown(wait=False, cancel_futures=True)

    async def _run(
        self,
        executor: DaemonThreads,
        deadline: float,
        work: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self._closed:
            raise closed(self._target)
        within = deadline - asyncio.get_running_loop().time()
        job = executor.submit(work, *args, **kwargs)
        self._running.add(job)
        job.add_done_callback(self._running.discard)
        done = asyncio.wrap_future(job)
        try:
            await asyncio.wait([done], timeout=within)
            if not done.done():
                raise timed_out(self._target, within, started=not job.cancel())
            if done.cancelled():  # still queued when the transport was closed
                raise closed(self._target)
            return done.result()
        finally:
            job.cancel()
            done.cancel()

    def _send(self, operation: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = getattr(self._client, xform_name(operation))(**payload)
        except BaseException as error:  # noqa: BLE001 - a hook's, whatever it raises: a future does not carry it
            unreadable = _is_of_the_parser(error)
            failure = broken(self._target, "no answer") if unreadable else translate(error, self._target)
            self._credentials_missing |= failure.cause == "credentials"
            raise failure from presentable(error)
        reply.pop("ResponseMetadata", None)
        return reply

    def _ensure_client_and_send(self, operation: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        self._ensure_client()
        return self._send(operation, payload)

    def _ensure_client(self) -> None:
        with self._making:
            self._make_client_if_needed()

    def _make_client_if_needed(self) -> None:
        # A client looks for credentials once, when it is made. If it found none, a new one looks again.
        if self._client is not None and not self._credentials_missing:
            return
        try:
            config = read_config(self._options)
            check_settings(config)
            client = _make_client(self._options, config)
        except DynamoDBError:
            raise
        except BaseException as error:  # noqa: BLE001 - the same
            raise translate(error, self._target) from presentable(error)
        if self._client is None:
            self.max_attempts = max_attempts(config)
            self._replaced = list(replaced_settings(config))
        self._client, old = client, self._client
        self._credentials_missing = False
        self._target = Target(
            self._options.table,
            client.meta.region_name,
            client.meta.endpoint_url,
            self._options.partition_key_name,
        )
        if old is not None:
            old.close()


def _make_client(options: Options, config: AWSConfig) -> "DynamoDBClient":
    import boto3  # noqa: PLC0415 - the wire does without, and this runs in a thread

    session = given_session(options) or boto3.Session(botocore_session=config.session)
    agents = (config.client_option("user_agent_extra"), "kvik-dynamodb")
    client = session.client(
        "dynamodb",
        region_name=config.region,
        endpoint_url=options.endpoint or None,
        config=Config(
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            retries={"total_max_attempts": 1},  # the retry policy stands above the seam, for every transport
            max_pool_connections=options.max_connections + 1,  # one for the reserved thread
            tcp_keepalive=True,
            parameter_validation=False,  # payloads are the driver's own, and a validation error quotes values
            user_agent_extra=" ".join(filter(None, agents)),
        ),
    )
    client.meta.events.register("before-send.dynamodb", _verify_request)
    client.meta.events.register("response-received.dynamodb", partial(_verify_reply, options.partition_key_name))
    return client


def _verify_request(request: AWSPreparedRequest, **_: object) -> None:
    """Refuse a header with a newline, for Python's client quotes it in its error, a session's token too."""
    for name, value in request.headers.items():
        sendable(name.lower(), value.decode("latin-1") if isinstance(value, bytes) else str(value))


def _is_of_the_parser(error: BaseException) -> bool:
    """Tell whether botocore stumbled over an answer of a shape that it had not expected."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    is_plain = isinstance(error, LookupError | TypeError | ValueError | AttributeError | RecursionError)
    return is_plain and str(frame.f_globals.get("__name__")).startswith(("botocore.", "json."))


def _verify_reply(
    partition_key_name: str, response_dict: Mapping[str, Any] | None, event_name: str, **_: object
) -> None:
    """Refuse a damaged reply, which botocore would parse as an empty one: a miss that is none.

    botocore takes a reply that was cut short, even within its headers, and its own checksum test does nothing
    after the last attempt.
    """
    if response_dict is None:  # the request failed before a response; botocore raises by itself
        return
    headers, body, status = response_dict["headers"], response_dict["body"], response_dict["status_code"]
    if "transfer-encoding" not in headers and not _is_whole(headers.get("content-length"), body, status):
        raise BrokenReplyError("the reply was cut short")
    if headers.get("x-amz-crc32", str(crc32(body))) != str(crc32(body)):
        raise BrokenReplyError("x-amz-crc32 differs")
    if status == 200 and not _makes_sense(event_name, body, partition_key_name):  # noqa: PLR2004 - HTTP's OK
        raise BrokenReplyError("the body is not an answer of DynamoDB's")


def _is_whole(length: str | None, body: bytes, status: int) -> bool:
    """Judge a length where one is declared, else the body; of a server's failure the status says enough."""
    if length is not None:
        return length == str(len(body))
    return status >= 500 or body.rstrip().endswith(b"}")  # noqa: PLR2004 - HTTP's own class of statuses


def _makes_sense(event_name: str, body: bytes, partition_key_name: str) -> bool:
    try:
        reply = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return is_well_formed(event_name.rpartition(".")[2], reply, partition_key_name)
