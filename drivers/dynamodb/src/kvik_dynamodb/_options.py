"""What a user configures, checked once, where the mistake is made."""

import math
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from ._errors import DynamoDBError, Target, misconfigured
from ._item import OWN_ATTRIBUTES
from ._limits import check_key

if TYPE_CHECKING:
    import boto3

# docs: "Naming rules": 3 to 255 of these characters; an ARN names a table of another account.
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}|arn:\S{1,1020}")
TransportName: TypeAlias = Literal["auto", "wire", "boto3"]

_MAX_NAME_BYTES = 255  # docs: "Supported data types and naming rules", and UpdateTimeToLive's AttributeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Hold the driver's configuration; every timeout is in seconds.

    Raises DynamoDBError with code ``misconfigured`` for what cannot work.
    """

    table: str
    region: str | None
    endpoint: str
    partition_key_name: str
    ttl_attribute: str
    create_table: bool
    consistent_reads: bool
    health_key: str
    max_connections: int
    connect_timeout: float
    read_timeout: float
    total_timeout: float
    transport: TransportName
    batch_reads: bool
    report_capacity: bool
    session: "boto3.Session | None" = field(repr=False)

    def __post_init__(self) -> None:
        _check_text_types(self)
        _check_table(self.table)
        _check_attribute_names(self)
        _check_endpoint(self.endpoint)
        _check_health_key(self.health_key)
        for name in ("connect_timeout", "read_timeout", "total_timeout"):
            _check_seconds(name, getattr(self, name))
        if type(self.max_connections) is not int or self.max_connections < 1:
            raise misconfigured(f"max_connections must be an int of at least 1, not {self.max_connections!r}")
        if self.transport not in get_args(TransportName):
            raise misconfigured(f"transport must be one of {get_args(TransportName)}, not {self.transport!r}")

    @property
    def target(self) -> Target:
        """Say what is known of the table's place before the AWS configuration has been read."""
        return Target(self.table, self.region or "", self.endpoint, self.partition_key_name)

    def summary(self) -> str:
        """Give the options for a repr; a session may hold secrets and is left out."""
        return ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)


def _check_text_types(options: Options) -> None:
    for name in ("table", "endpoint", "partition_key_name", "ttl_attribute"):
        value = getattr(options, name)
        if not isinstance(value, str):
            raise misconfigured(f"{name} must be a str, not {type(value).__name__}")
    if options.region is not None and not isinstance(options.region, str):
        raise misconfigured(f"region must be a str or None, not {type(options.region).__name__}")


def _check_table(table: str) -> None:
    if not table:
        raise misconfigured("table is required: the name of the DynamoDB table")
    if not _TABLE.fullmatch(table):
        raise misconfigured(f"table {table!r} is no table name: 3 to 255 of letters, digits, '_', '.', '-'")


def _check_attribute_names(options: Options) -> None:
    taken = set(OWN_ATTRIBUTES)
    for option in ("partition_key_name", "ttl_attribute"):
        name = getattr(options, option)
        if not 0 < _utf8_size(name) <= _MAX_NAME_BYTES:
            raise misconfigured(f"{option} must have 1 to {_MAX_NAME_BYTES} bytes of UTF-8")
        if name in taken:
            raise misconfigured(f"{option} {name!r} is the name of another attribute of the items")
        taken.add(name)


def _utf8_size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # a lone surrogate: no server takes such a name
        return 0


def check_endpoint(name: str, endpoint: str) -> None:
    """Raise DynamoDBError unless this is a URL of a server; it is not repeated, since it may hold a secret."""
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an impossible port, an unclosed bracket
        valid = False
    if not valid or not endpoint.isprintable() or " " in endpoint:
        raise misconfigured(f"{name} must be a URL such as http://localhost:8001, or empty for AWS")
    if "@" in parts.netloc or "?" in endpoint or "#" in endpoint:
        raise misconfigured(f"{name} must hold no user, password or query; credentials come from AWS's chain")


def _check_endpoint(endpoint: str) -> None:
    if not endpoint:
        return
    check_endpoint("endpoint", endpoint)
    try:
        (urlsplit(endpoint).hostname or "").encode("idna")
    except UnicodeError:
        raise misconfigured("endpoint must be a URL with a host's name") from None


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise misconfigured(f"{name} must be a finite number of seconds above 0, not {value!r}")


def _check_health_key(key: str) -> None:
    try:
        check_key(key)
    except DynamoDBError as error:
        raise misconfigured(f"health_key: {error}") from error
