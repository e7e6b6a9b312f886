"""Where the calls go: region and endpoint, and what decided on them."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import boto3
from botocore.config import Config
from botocore.session import Session

from .._errors import Target
from .._failures import translate
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
    target = Target(question.table, region.details["region"], question.endpoint, question.partition_key_name)
    try:
        client = _client(question, identity, target.region)
        url = client.meta.endpoint_url
        endpoint = _find_endpoint(question, identity, url, target.region)
    except Exception as error:  # noqa: BLE001 - wrong configuration shows itself in many kinds of exceptions
        return Place(region, _no_endpoint(region, error, target), target)
    target = Target(target.table, target.region, endpoint.details["endpoint"], target.partition_key_name)
    return Place(region, endpoint, target, client, url)


def _find_region(question: Question, session: Session) -> Finding:
    region = question.region or session.get_config_variable("region")
    if not region:
        advice = "pass region=, or set AWS_DEFAULT_REGION or the profile's region"
        if "AWS_REGION" in os.environ:
            advice += "; AWS_REGION is set, but boto3 does not read it"
        return Finding(
            name="region",
            status="failed",
            message="there is none",
            advice=advice,
            details={"region": "", "source": None},
        )
    if question.region:
        source = "--region"
    elif os.environ.get("AWS_DEFAULT_REGION") == region:
        source = "AWS_DEFAULT_REGION"
    else:
        source = f"the profile {session.profile or 'default'!r}"
    details = {"region": region, "source": source}
    return Finding(name="region", status="ok", message=f"{region}, from {source}", details=details)


def _client(
    question: Question, identity: Identity, region: str, *, ignore_configured: bool = False
) -> "DynamoDBClient":
    config = Config(  # type: ignore[call-arg]  # the stubs lack ignore_configured_endpoint_urls
        ignore_configured_endpoint_urls=ignore_configured or None,
        connect_timeout=budget.TIMES.connect,
        read_timeout=budget.TIMES.read,
        retries={"total_max_attempts": 1},
        parameter_validation=False,  # as in the driver: the server is the judge
        user_agent_extra="kvik-dynamodb-doctor",
    )
    session = boto3.Session(botocore_session=identity.session)
    region_name = region or (_STAND_IN if question.endpoint else None)
    # Without credentials a call is refused, which still shows the way, the time and the clock. It is signed
    # all the same, since servers of many services find the one that is meant in the signature.
    stand_in = None if identity.usable else "none"
    return session.client(
        "dynamodb",
        region_name=region_name,
        endpoint_url=question.endpoint or None,
        config=config,
        aws_access_key_id=stand_in,
        aws_secret_access_key=stand_in,
    )


def _find_endpoint(question: Question, identity: Identity, url: str, region: str) -> Finding:
    source = _source(question, identity, url, region)
    shown = _without_secrets(url)
    details = {"endpoint": shown, "source": source}
    return Finding(name="endpoint", status="ok", message=f"{shown}, from {source}", details=details)


def _source(question: Question, identity: Identity, url: str, region: str) -> str:
    if question.endpoint:
        return "--endpoint"
    if _client(question, identity, region, ignore_configured=True).meta.endpoint_url == url:
        return "AWS's own for the region"
    for name in ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return name
    return f"the profile {identity.session.profile or 'default'!r}"


def _no_endpoint(region: Finding, error: Exception, target: Target) -> Finding:
    if region.status == "failed":
        return not_checked("endpoint", "it follows from the region")
    message, advice = str(translate(error, target)), ""
    if type(error) is ValueError:
        message = "the configured endpoint is no URL"
        advice = "correct AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL or the profile's endpoint_url"
    return Finding(name="endpoint", status="failed", message=message, advice=advice)


def _without_secrets(url: str) -> str:
    """Give the URL without user, password and query."""
    parts = urlsplit(url)
    if parts.port == 0:  # reading it also raises ValueError for a number that is none
        raise ValueError
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
