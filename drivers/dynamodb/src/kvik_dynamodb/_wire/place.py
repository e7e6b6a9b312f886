"""Where the AWS configuration says that DynamoDB is: region and endpoint, without the cost of a botocore client.

Making a client stops the event loop for about 20 ms even from a thread, since it reads large files at one go.
"""

from urllib.parse import urlsplit

from botocore.configprovider import ConfiguredEndpointProvider
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import NoRegionError
from botocore.session import Session
from botocore.utils import get_environ_proxies, validate_region_name


def region_of(session: Session, given: str | None) -> str:
    """Give the region. Raises NoRegionError, InvalidRegionError, ProfileNotFound."""
    region = given or session.get_config_variable("region")
    if not region:
        raise NoRegionError
    validate_region_name(region)
    return str(region)


def endpoint_of(session: Session, region: str, given: str) -> str:
    """Give the URL: the given one, the configured one, or AWS's own for the region."""
    return given or _configured_endpoint(session) or _aws_endpoint(session, region)


def why_not_wire(session: Session, region: str, endpoint: str) -> str | None:
    """Say what is wanted that the wire cannot do and botocore can, None if nothing."""
    if urlsplit(endpoint).path.strip("/"):
        return "the endpoint has a path"
    if "fips-" in region or region.endswith("-fips"):
        return "the region is one of botocore's names for FIPS endpoints"
    if _has_proxy(session, endpoint):
        return "a proxy is configured"
    return "the session has event hooks for requests" if _has_hooks(session) else None


def _configured_endpoint(session: Session) -> str | None:
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    configured = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "dynamodb").provide()
    return None if configured is None else str(configured)


def _aws_endpoint(session: Session, region: str) -> str:
    loader = session.get_component("data_loader")
    rules = loader.load_service_model("dynamodb", "endpoint-rule-set-1")
    provider = EndpointProvider(rules, loader.load_data("partitions"))
    endpoint = provider.resolve_endpoint(
        Region=region,
        UseFIPS=session.get_config_variable("use_fips_endpoint") or False,
        UseDualStack=session.get_config_variable("use_dualstack_endpoint") or False,
    )
    return str(endpoint.url)


def _has_proxy(session: Session, endpoint: str) -> bool:
    """Tell whether botocore would send requests through a proxy; one for another scheme is none."""
    configured = getattr(session.get_default_client_config(), "proxies", None)
    proxies = get_environ_proxies(endpoint) if configured is None else configured
    return bool(proxies.get(urlsplit(endpoint).scheme))


# docs: botocore's "Extensibility Guide" and its client.py and endpoint.py, which emit them.
_HOOKS = (
    *("provide-client-params", "before-parameter-build", "before-call", "request-created", "choose-signer"),
    *("before-sign", "before-send", "response-received", "needs-retry", "after-call", "after-call-error"),
)
_OPERATIONS = (
    *("GetItem", "PutItem", "DeleteItem", "BatchGetItem", "BatchWriteItem", "Scan"),
    *("DescribeTable", "CreateTable", "DescribeTimeToLive", "UpdateTimeToLive"),
)


def _has_hooks(session: Session) -> bool:
    """Tell whether somebody registered for events of requests: botocore calls them, and the wire does not."""
    emitter = session.get_component("event_emitter")
    handlers = getattr(getattr(emitter, "_emitter", emitter), "_handlers", None)  # there is no public way to look
    if handlers is None:
        return False
    names = (f"{event}.dynamodb.{operation}" for event in _HOOKS for operation in _OPERATIONS)
    registered = (each for name in names for each in handlers.prefix_search(name))
    return any(_package_of(each) not in {"botocore", "boto3"} for each in registered)


def _package_of(handler: object) -> str:
    return str(getattr(handler, "__module__", "")).partition(".")[0]
