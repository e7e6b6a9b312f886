"""Where requests go and how they are signed, by botocore's own rules for DynamoDB."""

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from botocore.endpoint_provider import EndpointProvider

from ._aws import AWSConfig

_SOME_ACCOUNT: Final = "000000000000"


class Place(NamedTuple):
    """A server and the region that requests to it are signed for."""

    url: str
    signing_region: str


class EndpointRules:
    """The rules under one configuration; they may send each account to an endpoint of its own.

    ``usual`` is the place for some account or other, ``account_matters`` whether another one has another place.
    """

    def __init__(self, config: AWSConfig) -> None:
        loader = config.session.get_component("data_loader")
        rules = loader.load_service_model("dynamodb", "endpoint-rule-set-1")
        self._provider = EndpointProvider(rules, loader.load_data("partitions"))
        self._known = frozenset(rules["parameters"])
        self._config = config
        self.usual = self.place(_SOME_ACCOUNT)
        self.account_matters = _SOME_ACCOUNT in (urlsplit(self.usual.url).hostname or "")

    def urls(self) -> list[str]:
        """Return where requests may go, before it is known which account calls, if any is."""
        may_be_without = self.account_matters and self._parameters(None)["AccountIdEndpointMode"] != "required"
        return [self.usual.url, *([self.place(None).url] if may_be_without else [])]

    def place(self, account: str | None) -> Place:
        """Return where requests on the table go. Raises EndpointProviderError for what the rules refuse."""
        given = self._parameters(account)
        endpoint = self._provider.resolve_endpoint(
            **{name: value for name, value in given.items() if name in self._known and value is not None}
        )
        schemes = endpoint.properties.get("authSchemes") or [{}]
        return Place(str(endpoint.url), str(schemes[0].get("signingRegion") or self._config.region))

    def _parameters(self, account: str | None) -> dict[str, str | bool | None]:
        config = self._config
        own = not config.endpoint  # as botocore has it: an endpoint that is given overrides both variants
        return {
            "Region": config.region,
            "Endpoint": config.endpoint or None,
            "UseFIPS": own and bool(config.get("use_fips_endpoint")),
            "UseDualStack": own and bool(config.get("use_dualstack_endpoint")),
            "AccountId": account,
            "AccountIdEndpointMode": str(config.get("account_id_endpoint_mode") or "preferred").lower(),
            "ResourceArn": config.table,
        }
