"""The wire transport: every request goes over connections of the driver's own.

botocore is asked where DynamoDB is, who calls, and whom to trust, and only then; see _aws.py, _endpoint_rules.py
and credentials.py.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from botocore.httpsession import create_urllib3_context, where
from botocore.session import Session
from botocore.useragent import sanitize_user_agent_string_component

from .._aws import AWSConfig, read_config
from .._aws_settings import check_settings, max_attempts, replaced_settings, why_not_wire
from .._endpoint_rules import EndpointRules, Place
from .._errors import DynamoDBError, closed, credentials_too_slow, misconfigured, not_connected
from .._events import Events
from .._failures import out_of_time, presentable, translate
from .._options import Options
from .._threads import DaemonThreads
from .._transport import WireCannotServeError
from .credentials import CredentialSource
from .dialing import Endpoint
from .lane import Lane
from .requester import Requester, find_credentials
from .signing import Signer

_Configured: TypeAlias = tuple[AWSConfig, EndpointRules, ssl.SSLContext | None]


@dataclass(frozen=True, slots=True)
class _Found:
    """What the AWS configuration says, and where the credentials come from."""

    config: AWSConfig
    rules: EndpointRules
    tls: ssl.SSLContext | None
    credentials: CredentialSource


@dataclass(frozen=True, slots=True)
class _Line:
    """Hold what carries requests, once it is known where to."""

    requester: Requester
    ordinary: Lane
    reserved: Lane


async def _closed_with_loop(transport: "WireTransport") -> AsyncGenerator[None]:
    """Close a transport when its loop ends, which asyncio.run tells asynchronous generators and nobody else."""
    try:
        yield
    finally:
        await transport.give_back(0)


class WireTransport:
    """Send requests over pooled keep-alive connections, on the event loop that runs when it is opened."""

    def __init__(self, options: Options, events: Events) -> None:
        self._options = options
        self._events = events
        self._target = options.target
        self._found: _Found | None = None
        self._line: _Line | None = None
        self._finding: asyncio.Future[_Configured] | None = None
        self._guard: AsyncGenerator[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._opening = asyncio.Lock()
        self._closed = False
        self.max_attempts: int | None = None

    @property
    def region(self) -> str | None:
        return self._target.region or None

    async def open(self, deadline: float) -> None:
        """Find out where DynamoDB is. Raises WireCannotServeError where what is wanted takes botocore."""
        await self._wait_to_open(deadline)
        try:
            if self._line is None and not self._closed:
                await self._open(deadline)
        except DynamoDBError:
            raise
        except Exception as error:  # noqa: BLE001 - botocore's, and a file system's
            raise translate(error, self._target) from presentable(error)
        finally:
            self._opening.release()
        if self._closed:  # before, or meanwhile
            raise closed(self._target)

    async def call(
        self, operation: str, payload: Mapping[str, Any], deadline: float, *, reserved: bool = False
    ) -> dict[str, Any]:
        if self._line is None and (reserved or self._found):  # what connect could not find may be there now
            await self.open(deadline)
        line = self._line
        if line is None:
            raise (closed if self._closed else not_connected)(self._target)
        lane = line.reserved if reserved else line.ordinary
        return await line.requester.call(lane, operation, payload, deadline)

    async def close(self) -> None:
        self._closed = True
        await self.give_back(self._options.connect_timeout + self._options.read_timeout)
        if self._guard is not None:
            await self._guard.aclose()

    async def give_back(self, grace: float) -> None:
        """Wait so many seconds for what is under way, then close everything."""
        if self._line is not None:
            await asyncio.gather(self._line.ordinary.close(grace), self._line.reserved.close(grace))
        if self._found is not None:
            self._found.credentials.close()

    def abandon(self) -> None:
        self._closed = True
        if self._guard is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._close_soon, self._guard)

    def _close_soon(self, guard: AsyncGenerator[None]) -> None:
        self._closing = self._loop.create_task(guard.aclose())

    async def _wait_to_open(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._opening.acquire()
        except TimeoutError:
            raise (out_of_time if self._found is None else credentials_too_slow)(self._target) from None

    async def _open(self, deadline: float) -> None:
        if self._found is None:
            found = await self._find(deadline)
            if self._closed:
                return
            self._found = found
            self._guard = _closed_with_loop(self)
            await anext(self._guard)
        place = await self._place(self._found, deadline)
        if not self._closed:
            self._line = self._lay(self._found, place)

    async def _find(self, deadline: float) -> _Found:
        """Return what a thread finds; when its time is over for one caller, it goes on for the next."""
        finding = self._finding = self._finding or self._begin_finding()
        await asyncio.wait({finding}, timeout=deadline - self._loop.time())
        if not finding.done():
            raise out_of_time(self._target)
        self._finding = None
        config, rules, tls = finding.result()
        self.max_attempts = max_attempts(config)
        for setting, instead in replaced_settings(config):
            self._events.setting_replaced(setting, instead)
        credentials = CredentialSource(config.session, config.region, self._events.credentials_not_renewed)
        return _Found(config, rules, tls, credentials)

    def _begin_finding(self) -> asyncio.Future[_Configured]:
        thread = DaemonThreads(1, "kvik-dynamodb-configuration")
        finding = self._loop.run_in_executor(thread, _find, self._options)
        finding.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, in any case
        thread.shutdown(wait=False)
        return finding

    async def _place(self, found: _Found, deadline: float) -> Place:
        """Return where requests go, which may depend on the account that the credentials belong to."""
        self._target = replace(self._target, region=found.config.region)
        if not found.rules.account_matters:
            return found.rules.place(None)
        credentials = await find_credentials(found.credentials, self._target, deadline)
        return found.rules.place(credentials.account)

    def _lay(self, found: _Found, place: Place) -> _Line:
        options, events = self._options, self._events
        target = self._target = replace(self._target, endpoint=place.url)
        parts = urlsplit(place.url)
        endpoint = Endpoint(parts.hostname or "", parts.port or (443 if found.tls else 80), found.tls)
        signer = Signer(place.signing_region, endpoint.authority, agent=_agent(found.config))
        ordinary, reserved = (
            Lane(
                endpoint,
                target,
                events,
                limit=limit,
                connect_timeout=options.connect_timeout,
                read_timeout=options.read_timeout,
            )
            for limit in (options.max_connections, 1)
        )
        return _Line(Requester(target, signer, found.credentials, events), ordinary, reserved)


def _find(options: Options) -> _Configured:
    """Ask botocore; this reads files, and is for a thread."""
    config = read_config(options)
    check_settings(config)
    rules = EndpointRules(config)
    if reason := why_not_wire(config, rules.urls()):
        raise WireCannotServeError(reason)
    is_tls = urlsplit(rules.usual.url).scheme == "https"
    return config, rules, _trust(config.session) if is_tls else None


def _agent(config: AWSConfig) -> str:
    """Return what requests call themselves, with the names that the application has configured."""
    own = config.client_option("user_agent") or f"kvik-dynamodb/{version('kvik-dynamodb')}"
    app = config.get("user_agent_appid")
    named = f"app/{sanitize_user_agent_string_component(app, allow_hash=False)}" if app else ""
    agent = " ".join(filter(None, (own, named, config.client_option("user_agent_extra"))))
    if not agent.isascii() or not agent.isprintable():
        raise misconfigured("the configured user agent must consist of printable ASCII characters")
    return agent


def _trust(session: Session) -> ssl.SSLContext:
    """Return a context that trusts whom boto3 trusts: AWS_CA_BUNDLE, ca_bundle, or the certificates it brings.

    It is botocore's own, for ssl.create_default_context differs: since Python 3.13 it refuses many a company's CA.
    """
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True  # which botocore leaves to urllib3
    context.load_verify_locations(session.get_config_variable("ca_bundle") or where())
    return context
