"""What the doctor is asked, and how to say the same to the AWS command line."""

import shlex
from dataclasses import dataclass

CAPABILITIES = ("expiry", "conditional", "batch", "counter", "scan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Hold the command's options: a service's own configuration of the driver."""

    table: str
    region: str | None
    endpoint: str
    profile: str | None
    partition_key_name: str
    ttl_attribute: str
    health_key: str
    capabilities: frozenset[str]
    create_table: bool

    def aws_command(self, *words: str, region: str) -> str:
        """Give a line for a shell that does something to the table."""
        place = ["--region", region] if region else []
        place += ["--endpoint-url", self.endpoint] if self.endpoint else []
        place += ["--profile", self.profile] if self.profile else []
        return shlex.join(["aws", "dynamodb", words[0], "--table-name", self.table, *words[1:], *place])
