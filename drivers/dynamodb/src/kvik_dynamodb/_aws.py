"""The AWS configuration, read as a boto3 client reads it, without the cost of making one.

Making a client stops the event loop for about 20 ms even from a thread, since it reads large files at one go.
"""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import BotoCoreError, NoRegionError
from botocore.session import Session, get_session
from botocore.utils import validate_region_name

from ._errors import misconfigured
from ._options import Options, check_endpoint
from ._wire.data_files import PiecewiseLoader

if TYPE_CHECKING:
    import boto3

_NOT_SET: Final = Config()


@dataclass(frozen=True, slots=True)
class AWSConfig:
    """What environment, profile and session say of one table; an empty ``endpoint`` means AWS's own."""

    session: Session
    region: str
    endpoint: str
    table: str

    def get(self, name: str) -> Any:
        """Return a setting: the session's default client configuration goes before environment and profile."""
        return setting_of(self.session, name)

    def default(self, name: str) -> Any:
        """Return what botocore takes where nobody sets this, None where it has no setting of this name."""
        variables = self.session.session_var_map
        return variables[name][2] if name in variables else None

    def client_option(self, name: str) -> Any:
        """Return an option of the session's default client configuration, None where it is botocore's default."""
        return _client_option(self.session, name)


def read_config(options: Options) -> AWSConfig:
    """Read what boto3 would read for these options; this reads files, and is for a thread.

    Raises DynamoDBError for what cannot work, and botocore's own errors.
    """
    session = _session_of(options)
    try:
        region = region_of(session, options.region)
        endpoint, source = (options.endpoint, "endpoint") if options.endpoint else configured_endpoint(session)
        if endpoint:
            check_endpoint(source, endpoint)
        return AWSConfig(session, region, endpoint, options.table)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BotoCoreError):
            raise
        message = f"the AWS configuration cannot be read ({type(error).__name__}): check AWS_… and ~/.aws/config"
        raise misconfigured(message) from error


def given_session(options: Options) -> "boto3.Session | None":
    """Return the session to use, which may be boto3's default one; None where neither has been set up."""
    return options.session or getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)


def _session_of(options: Options) -> Session:
    given = given_session(options)
    if given is not None:
        return given._session  # noqa: SLF001 - boto3 shows no other way
    session = get_session()
    session.get_component("data_loader").file_loader = PiecewiseLoader()
    return session


def region_of(session: Session, given: str | None) -> str:
    """Return the region; AWS_REGION, which Lambda and ECS set, counts where boto3 finds none.

    Raises NoRegionError, InvalidRegionError, ProfileNotFound.
    """
    region = given or _client_option(session, "region_name") or session.get_config_variable("region")
    region = region or os.environ.get("AWS_REGION")
    if not region:
        raise NoRegionError
    validate_region_name(region)
    return str(region)


def configured_endpoint(session: Session) -> tuple[str, str]:
    """Return the endpoint that environment or profile name, unchecked, and its source; both empty if none does."""
    if setting_of(session, "ignore_configured_endpoint_urls"):
        return "", ""
    configured = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "dynamodb").provide()
    names = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
    source = next(
        (name for name in names if os.environ.get(name)), f"the profile {session.profile or 'default'!r}"
    )
    return (str(configured), source) if configured else ("", "")


def setting_of(session: Session, name: str) -> Any:
    """Return a setting of the session's default client configuration, else of environment or profile."""
    option = _client_option(session, name)
    if option is not None:
        return option
    return session.get_config_variable(name) if name in session.session_var_map else None


def _client_option(session: Session, name: str) -> Any:
    config = session.get_default_client_config()
    value = getattr(config, name, None)
    return None if value == getattr(_NOT_SET, name, None) else value
