"""Who the calls are made as: the session, and where its credentials come from."""

import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.session import Session

from .._errors import Target
from .._failures import translate
from . import budget
from .budget import Budget
from .findings import Finding
from .question import Question

NAME = "credentials"

_PLACES = {
    "env": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "assume-role": "role_arn of the profile",
    "assume-role-with-web-identity": "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or the profile's",
    "sso": "sso_session or sso_start_url of the profile (aws sso login)",
    "login": "login_session of the profile (aws login)",
    "shared-credentials-file": "the profile in ~/.aws/credentials",
    "custom-process": "credential_process of the profile",
    "config-file": "keys of the profile in ~/.aws/config",
    "ec2-credentials-file": "AWS_CREDENTIAL_FILE",
    "boto-config": "/etc/boto.cfg and ~/.boto",
    "container-role": "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "iam-role": "the instance's metadata service",
}
_RENEWED = frozenset(_PLACES) - {"env", "shared-credentials-file", "config-file", "boto-config"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Hold what is known of the credentials, which stay with the session."""

    session: Session = field(repr=False)
    finding: Finding
    account: str = ""

    @property
    def usable(self) -> bool:
        """Whether there is anything to sign with."""
        return self.finding.status != "failed"


def identify(question: Question, time_left: Budget) -> Identity:
    """Find the credentials as the driver would, refreshed if they must be."""
    target = Target(question.table, question.region or "", question.endpoint, question.partition_key_name)
    try:
        session = Session(profile=question.profile)
        session.get_scoped_config()  # fails for a profile that is not there, and for a broken file
    except ProfileNotFound:
        name = question.profile or os.environ.get("AWS_DEFAULT_PROFILE") or os.environ.get("AWS_PROFILE")
        message = f"there is no profile {name!r} in ~/.aws/config or ~/.aws/credentials"
        return Identity(_bare_session(), _failed(message, "see aws configure list-profiles", profile=name))
    except BotoCoreError as error:
        return Identity(_bare_session(), _failed(str(translate(error, target))))
    region = question.region or (None if session.get_config_variable("region") else os.environ.get("AWS_REGION"))
    if region:  # where botocore asks for roles
        session.set_config_variable("region", region)
    try:
        return time_left.run(budget.TIMES.credentials, lambda: _look(session))
    except TimeoutError:
        advice = "see that STS, SSO or the metadata service can be reached, or that credential_process ends"
        finding = _failed("looking for credentials took too long", advice)
    except RuntimeError:  # botocore's for credentials that are expired still after a refresh
        finding = _failed("the credentials that were found have expired", "renew them, and try again")
    except Exception as error:  # noqa: BLE001 - credential_process and its kin may raise anything
        finding = _failed(str(translate(error, target)), reason=type(error).__name__)
    return Identity(session, finding)


def _bare_session() -> Session:
    """Make a session that reads no configuration, so that the checks without credentials go on."""
    nothing = (None, None, os.devnull, None)
    session = Session()
    session.session_var_map["profile"] = (None, None, None, None)
    session.session_var_map["config_file"] = session.session_var_map["credentials_file"] = nothing
    return session


def _failed(message: str, advice: str = "", **details: Any) -> Finding:
    return Finding(name=NAME, status="failed", message=message, advice=advice, details=details)


def _look(session: Session) -> Identity:
    credentials = session.get_credentials()
    if credentials is None:
        return Identity(session, _none_found(session))
    frozen = credentials.get_frozen_credentials()  # refreshes, which may take a call over the network
    method = str(credentials.method)
    # botocore has no public way to ask when refreshable credentials end.
    expires = getattr(credentials, "_expiry_time", None)
    details = {
        "method": method,
        "profile": session.profile,
        "temporary": bool(frozen.token),
        "expires_at": expires.isoformat() if isinstance(expires, datetime) else None,
    }
    message = f"from {method} ({_PLACES.get(method, 'a provider of its own')}), {_lifetime(details)}"
    advice = ""
    if method == "env" and session.profile:
        advice = f"the profile {session.profile!r} is not used: keys in the environment go before AWS_PROFILE"
    finding = Finding(name=NAME, status="ok", message=message, advice=advice, details=details)
    return Identity(session, finding, str(getattr(frozen, "account_id", None) or ""))


def _lifetime(details: dict[str, Any]) -> str:
    if not details["temporary"]:
        return "not temporary"
    until = f" until {details['expires_at']}" if details["expires_at"] else ""
    renewed = "renewed by itself" if details["method"] in _RENEWED else "not renewed by itself"
    return f"temporary{until}, {renewed}"


def _none_found(session: Session) -> Finding:
    methods = [str(provider.METHOD) for provider in session.get_component("credential_provider").providers]
    looked_at = [{"method": method, "place": _place(method)} for method in methods]
    advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role; local servers take dummy ones"
    return Finding(
        name=NAME,
        status="failed",
        message=f"none found in the {len(looked_at)} places where boto3 looks",
        advice=advice,
        places=tuple(f"{each['method']}: {each['place']}" for each in looked_at),
        details={"looked_at": looked_at},
    )


def _place(method: str) -> str:
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    off = " (off by AWS_EC2_METADATA_DISABLED)" if method == "iam-role" and disabled else ""
    return _PLACES.get(method, "a provider of its own") + off
