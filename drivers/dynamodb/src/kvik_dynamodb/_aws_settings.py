"""What becomes of each AWS setting, so that none is ignored in silence.

The driver honours a setting, leaves the requests to boto3's client, refuses it, or logs that an option of its own
stands in its place. The rest concerns other services, or operations that the driver does not use.
"""

import os
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.session import Session
from botocore.utils import get_environ_proxies

from ._aws import AWSConfig
from ._errors import misconfigured

HONOURED: Final = frozenset(
    {
        *("region_name", "region", "profile", "config_file", "credentials_file", "ca_bundle"),
        *("use_fips_endpoint", "use_dualstack_endpoint", "account_id_endpoint_mode"),
        *("ignore_configured_endpoint_urls", "retries", "max_attempts"),
        *("user_agent", "user_agent_extra", "user_agent_appid"),
        "tcp_keepalive",  # always on
        # What botocore itself reads when it looks for credentials:
        *("sts_regional_endpoints", "metadata_service_timeout", "metadata_service_num_attempts"),
        *("ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint_mode", "ec2_metadata_v1_disabled"),
        "imds_use_ipv6",
    }
)

BY_BOTO3: Final = {
    "client_cert": "a client certificate is configured",
    "signature_version": "a signature version is configured",
    "csm_enabled": "client-side monitoring is on",
    "api_versions": "a version of the API is configured",
    "endpoint_discovery_enabled": "endpoint discovery is on",
    "data_path": "botocore has data files of its own (AWS_DATA_PATH)",
    "proxies": "a proxy is configured",
}

REPLACED: Final = {
    "connect_timeout": "pass connect_timeout to the driver",
    "read_timeout": "pass read_timeout to the driver",
    "max_pool_connections": "pass max_connections to the driver",
    "retry_mode": "the driver has a retry policy of its own",
    "defaults_mode": "timeouts and retries are the driver's own",
}

WITHOUT_EFFECT: Final = frozenset(
    {
        *("s3", "s3_disable_express_session_auth", "proxies_config", "parameter_validation"),
        *("client_context_params", "sigv4a_signing_region_set", "auth_scheme_preference"),
        *("inject_host_prefix", "disable_host_prefix_injection"),
        *("request_min_compression_size_bytes", "disable_request_compression"),
        *("request_checksum_calculation", "response_checksum_validation"),
        *("csm_host", "csm_port", "csm_client_id"),
    }
)
"""Settings of other services, or such as botocore itself does not apply to any operation that the driver uses."""

_ALLOWED: Final[dict[str, set[str]]] = {
    "account_id_endpoint_mode": {"preferred", "disabled", "required"},
    "retry_mode": {"legacy", "standard", "adaptive"},
    "defaults_mode": {"legacy", "auto", "standard", "in-region", "cross-region", "mobile"},
    "sts_regional_endpoints": {"legacy", "regional"},
    "request_checksum_calculation": {"when_supported", "when_required"},
    "response_checksum_validation": {"when_supported", "when_required"},
}
_USUAL: Final[dict[str, set[str | bool]]] = {
    "signature_version": {"v4"},
    "csm_enabled": {False},
    "endpoint_discovery_enabled": {"auto", False},
    "retry_mode": {"standard"},
    "defaults_mode": {"legacy"},
}


def check_settings(config: AWSConfig) -> None:
    """Raise DynamoDBError for a setting with a value that boto3 refuses too."""
    for name, allowed in _ALLOWED.items():
        value = config.get(name)
        if value is not None and str(value).lower() not in allowed:
            raise misconfigured(f"the AWS setting {name} is {value!r}, and must be one of {sorted(allowed)}")
    max_attempts(config)
    if urlsplit(config.endpoint or "https:").scheme == "https":
        _check_ca_bundle(config.get("ca_bundle"))


def _check_ca_bundle(name: str | None) -> None:
    try:
        if name:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(name)
    except OSError as error:
        what = "holds no certificates in PEM format" if isinstance(error, ssl.SSLError) else "cannot be read"
        raise misconfigured(f"the CA bundle {name!r}, from AWS_CA_BUNDLE or the profile, {what}") from error


def max_attempts(config: AWSConfig) -> int | None:
    """Return how often a request may be sent, None where nothing says so. Raises DynamoDBError."""
    retries = config.client_option("retries") or {}
    if "total_max_attempts" in retries:
        return int(retries["total_max_attempts"])
    if "max_attempts" in retries:
        return int(retries["max_attempts"]) + 1  # botocore means those after the first one there
    try:
        configured = config.session.get_config_variable("max_attempts")
    except ValueError:
        configured = 0
    if configured is not None and configured < 1:
        raise misconfigured("the AWS setting max_attempts (AWS_MAX_ATTEMPTS) must be a whole number of at least 1")
    return configured  # type: ignore[no-any-return]


def replaced_settings(config: AWSConfig) -> Iterator[tuple[str, str]]:
    """Return the settings that are set in vain, each with what stands in its place."""
    mode = (config.client_option("retries") or {}).get("mode")
    for name, instead in REPLACED.items():
        value = (name == "retry_mode" and mode) or config.get(name)
        usual = {
            str(config.default(name)).lower(),
            *_USUAL.get(name, ()),
        }  # older versions of botocore have others
        if value is not None and str(value).lower() not in usual:
            yield name, instead


def why_not_wire(config: AWSConfig, urls: Sequence[str]) -> str | None:
    """Return what is wanted that the wire cannot do and botocore can, None if nothing."""
    return next(_reasons(config, urls), None)


def _reasons(config: AWSConfig, urls: Sequence[str]) -> Iterator[str]:
    if any(urlsplit(url).path.strip("/") for url in urls):
        yield "the endpoint has a path"
    if "fips-" in config.region or config.region.endswith("-fips"):
        yield "the region is one of botocore's names for FIPS endpoints"
    if any(_has_proxy(config, url) for url in urls):
        yield BY_BOTO3["proxies"]
    if os.environ.get("BOTOCORE_EXPERIMENTAL__PLUGINS", "DISABLED") not in {"DISABLED", ""}:
        yield "botocore has plugins"
    if _has_own_data(config.session):
        yield BY_BOTO3["data_path"]
    yield from (reason for name, reason in BY_BOTO3.items() if _is_set(name, config.get(name)))
    yield from (f"the client option {name} is set" for name in _unknown_options(config))
    if _has_hooks(config.session):
        yield "the session has event hooks for requests"


def _is_set(name: str, value: Any) -> bool:
    if name in {"proxies", "data_path"}:
        return False  # looked at more closely
    if name == "api_versions":
        return "dynamodb" in (value or {})
    if isinstance(value, str) and value.lower() in {"false", "auto"}:
        return False
    return value is not None and value not in _USUAL.get(name, ())


def _unknown_options(config: AWSConfig) -> Iterator[str]:
    """Return options that a newer botocore has, and that are set: boto3's client knows what they mean."""
    known = {*HONOURED, *BY_BOTO3, *REPLACED, *WITHOUT_EFFECT}
    options = getattr(config.session.get_default_client_config(), "OPTION_DEFAULTS", {})
    return (name for name in options if name not in known and config.client_option(name) is not None)


def _has_own_data(session: Session) -> bool:
    """Tell whether somebody has put files in the place of botocore's own, which then decide on endpoints."""
    loader = session.get_component("data_loader")
    own = (Path(path) for path in loader.search_paths if path != loader.BUILTIN_DATA_PATH)
    files = ("endpoints.json*", "partitions.json*", "dynamodb/*/endpoint-rule-set-*", "dynamodb/*/service-*")
    return any(True for path in own for name in files for _ in path.glob(name))


def _has_proxy(config: AWSConfig, endpoint: str) -> bool:
    """Tell whether botocore would send requests through a proxy; one for another scheme is not meant."""
    configured = config.client_option("proxies")
    proxies = get_environ_proxies(endpoint) if configured is None else configured
    return bool(proxies.get(urlsplit(endpoint).scheme))


# docs: botocore's "Extensibility Guide" and its client.py, args.py and endpoint.py, which emit them.
_HOOKS = (
    *("provide-client-params", "before-parameter-build", "before-call", "request-created", "choose-signer"),
    *("before-sign", "before-send", "response-received", "needs-retry", "after-call", "after-call-error"),
    *("before-endpoint-resolution", "before-parse"),
)
_OPERATIONS = (
    *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchGetItem", "BatchWriteItem", "Scan"),
    *("DescribeTable", "CreateTable", "DescribeTimeToLive", "UpdateTimeToLive"),
)
_CLIENT_HOOKS = ("creating-client-class.dynamodb", "creating-serializer.dynamodb")


def _has_hooks(session: Session) -> bool:
    """Tell whether somebody registered for events of requests: botocore calls them, and the wire does not."""
    emitter = session.get_component("event_emitter")
    handlers = getattr(getattr(emitter, "_emitter", emitter), "_handlers", None)  # there is no public way to look
    if handlers is None:
        return False
    names = (*_CLIENT_HOOKS, *(f"{event}.dynamodb.{operation}" for event in _HOOKS for operation in _OPERATIONS))
    registered = (each for name in names for each in handlers.prefix_search(name))
    return any(_package_of(each) not in {"botocore", "boto3"} for each in registered)


def _package_of(handler: object) -> str:
    return str(getattr(handler, "__module__", "")).partition(".")[0]
