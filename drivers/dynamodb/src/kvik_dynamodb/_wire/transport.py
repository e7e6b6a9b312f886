"""The wire transport: every request goes over connections of the driver's own.

botocore is asked where DynamoDB is, who calls, and whom to trust, and only then; see place.py and credentials.py.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from botocore.httpsession import create_urllib3_context, where
from botocore.session import Session, get_session

from .._errors import closed, not_connected
from .._events import Events
from .._failures import out_of_time, translate
from .._options import Options
from .._transport import WireCannotServeError
from .credentials import CredentialSource
from .data_files import PiecewiseLoader
from .dialing import Endpoint
from .lane import Lane
from .place import endpoint_of, region_of, why_not_wire
from .requester import Requester
from .signing import Signer


@dataclass(frozen=True, slots=True)
class _Found:
    """Hold what the AWS configuration says."""

    session: Session
    region: str
    url: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class _Line:
    """Hold what carries requests, once it is known where to."""

    requester: Requester
    credentials: CredentialSource
    ordinary: Lane
    reserved: Lane


class WireTransport:
    """Send requests over pooled keep-alive connections, on the event loop that runs when it is opened."""

    def __init__(self, options: Options, events: Events) -> None:
        self._options = options
        self._events = events
        self._target = options.target
        self._line: _Line | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def region(self) -> str | None:
        return self._target.region or None

    async def open(self, deadline: float) -> None:
        """Find out where DynamoDB is. Raises WireCannotServeError where what is wanted takes botocore."""
        async with self._opening:
            found = None if self._closed or self._line else await self._find(deadline)
            if self._closed:  # before, or meanwhile
                raise closed(self._target)
            if found is not None:
                self._line = self._lay(found)

    async def call(
        self, operation: str, payload: Mapping[str, Any], deadline: float, *, reserved: bool = False
    ) -> dict[str, Any]:
        if self._line is None and reserved:
            await self.open(deadline)
        line = self._line
        if line is None:
            raise (closed if self._closed else not_connected)(self._target)
        lane = line.reserved if reserved else line.ordinary
        return await line.requester.call(lane, operation, payload, deadline)

    async def close(self) -> None:
        self._closed = True
        if self._line is not None:
            grace = self._options.connect_timeout + self._options.read_timeout
            await asyncio.gather(self._line.ordinary.close(grace), self._line.reserved.close(grace))
            self._line.credentials.close()

    async def _find(self, deadline: float) -> _Found:
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.to_thread(_find, self._options)
        except TimeoutError:
            raise out_of_time(self._target) from None
        except WireCannotServeError:
            raise
        except Exception as error:
            raise translate(error, self._target) from error

    def _lay(self, found: _Found) -> _Line:
        options, events = self._options, self._events
        target = self._target = replace(self._target, region=found.region, endpoint=found.url)
        signer = Signer(found.region, found.endpoint.authority, agent=f"kvik-dynamodb/{version('kvik-dynamodb')}")
        credentials = CredentialSource(found.session, found.region, events.credentials_not_renewed)
        ordinary, reserved = (
            Lane(
                found.endpoint,
                target,
                events,
                limit=limit,
                connect_timeout=options.connect_timeout,
                read_timeout=options.read_timeout,
            )
            for limit in (options.max_connections, 1)
        )
        return _Line(Requester(target, signer, credentials, events), credentials, ordinary, reserved)


def _find(options: Options) -> _Found:
    """Ask botocore; this reads files, and is for a thread."""
    session = _own_session() if options.session is None else options.session._session  # noqa: SLF001 - boto3 shows no other way
    region = region_of(session, options.region)
    url = endpoint_of(session, region, options.endpoint)
    if reason := why_not_wire(session, region, url):
        raise WireCannotServeError(reason)
    parts = urlsplit(url)
    tls = _trust(session) if parts.scheme == "https" else None
    return _Found(session, region, url, Endpoint(parts.hostname or "", parts.port or (443 if tls else 80), tls))


def _own_session() -> Session:
    session = get_session()
    session.get_component("data_loader").file_loader = PiecewiseLoader()
    return session


def _trust(session: Session) -> ssl.SSLContext:
    """Return a context that trusts whom boto3 trusts: AWS_CA_BUNDLE, ca_bundle, or the certificates it brings.

    It is botocore's own, for ssl.create_default_context differs: since Python 3.13 it refuses many a company's CA.
    """
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True  # which botocore leaves to urllib3
    context.load_verify_locations(session.get_config_variable("ca_bundle") or where())
    return context
