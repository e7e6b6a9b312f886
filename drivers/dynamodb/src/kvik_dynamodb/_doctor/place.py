"""Where the calls go: region and endpoint, and what decided on them."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError
from botocore.session import Session

from .._aws import AWSConfig, configured_endpoint, region_of
from .._aws_settings import check_settings
from .._endpoint_rules import EndpointRules
from .._errors import DynamoDBError, Target
from .._failures import translate
from .._options import check_endpoint
from . import budget
from .findings import Finding, not_checked
from .identity import Identity
from .question import Question

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_STAND_IN = "us-east-1"  # a region for the checks of a server whose URL is given, when the user has none


@dataclass(frozen=True, slots=True)
class Place:
    """Hold the client and where it goes; no client if that is not known."""

    region: Finding
    endpoint: Finding
    target: Target
    client: "DynamoDBClient | None" = field(default=None, repr=False)
    url: str = field(default="", repr=False)


def locate(question: Question, identity: Identity) -> Place:
    """Make the client that the checks use, as the driver would make its own."""
    region = _find_region(question, identity.session)
    name = region.details["region"]
    target = Target(question.table, name, question.endpoint, question.partition_key_name)
    if not name and not question.endpoint:
        return Place(region, not_checked("endpoint", "it follows from the region"), target)
    endpoint, url = None, ""
    try:
        endpoint, url = _find_endpoint(question, identity, name or _STAND_IN)
        client = _client(question, identity, name or _STAND_IN)
    except Exception as error:  # noqa: BLE001 - wrong configuration shows itself in many kinds of exceptions
        return Place(region, endpoint or _failed(str(translate(error, target))), target)
    url = url or client.meta.endpoint_url
    target = Target(target.table, name, _without_secrets(url), target.partition_key_name)
    return Place(region, endpoint, target, client, url)


def _find_region(question: Question, session: Session) -> Finding:
    try:
        region = region_of(session, question.region)
    except NoRegionError:
        return Finding(
            name="region",
            status="failed",
            message="there is none",
            advice="pass region=, or set AWS_DEFAULT_REGION, AWS_REGION or the profile's region",
            details={"region": "", "source": None},
        )
    except BotoCoreError as error:
        target = Target(question.table, "", question.endpoint, question.partition_key_name)
        details = {"region": "", "source": None}
        return Finding(name="region", status="failed", message=str(translate(error, target)), details=details)
    source = _source_of_region(question, session, region)
    details = {"region": region, "source": source}
    return Finding(name="region", status="ok", message=f"{region}, from {source}", details=details)


def _source_of_region(question: Question, session: Session, region: str) -> str:
    if question.region:
        return "--region"
    if os.environ.get("AWS_DEFAULT_REGION") == region:
        return "AWS_DEFAULT_REGION"
    if session.get_scoped_config().get("region") == region:
        return f"the profile {session.profile or 'default'!r}"
    return "AWS_REGION"


def _client(question: Question, identity: Identity, region: str) -> "DynamoDBClient":
    config = Config(
        connect_timeout=budget.TIMES.connect,
        read_timeout=budget.TIMES.read,
        retries={"total_max_attempts": 1},
        parameter_validation=False,  # as in the driver: the server is the judge
        user_agent_extra="kvik-dynamodb-doctor",
    )
    session = boto3.Session(botocore_session=identity.session)
    # Without credentials a call is refused, which still shows the way, the time and the clock. It is signed
    # all the same, since servers of many services find the one that is meant in the signature.
    stand_in = None if identity.usable else "none"
    return session.client(
        "dynamodb",
        region_name=region,
        endpoint_url=question.endpoint or None,
        config=config,
        aws_access_key_id=stand_in,
        aws_secret_access_key=stand_in,
    )


def _find_endpoint(question: Question, identity: Identity, region: str) -> tuple[Finding, str]:
    """Return what there is to say of the endpoint, and its URL where nothing is wrong with it."""
    session = identity.session
    given, source = (question.endpoint, "--endpoint") if question.endpoint else configured_endpoint(session)
    config = AWSConfig(session, region, given, question.table)
    details = {"endpoint": _without_secrets(given), "source": source}
    try:
        if given:
            check_endpoint(source, given)
        check_settings(config)
        url = EndpointRules(config).place(identity.account or None).url
    except DynamoDBError as error:
        return _failed(str(error), details), ""
    shown, source = _without_secrets(url), source or "AWS's own for the region"
    details = {"endpoint": shown, "source": source}
    return Finding(name="endpoint", status="ok", message=f"{shown}, from {source}", details=details), url


def _failed(message: str, details: dict[str, Any] | None = None) -> Finding:
    return Finding(name="endpoint", status="failed", message=message, details=details or {})


def _without_secrets(url: str) -> str:
    """Return the URL without user, password and query; nothing at all of what cannot be read as one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if not parts.netloc:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
