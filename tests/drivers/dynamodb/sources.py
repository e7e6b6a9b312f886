"""Where credentials come from: fakes of the services of AWS's machines, and a guard that sees who calls."""

import json
import re
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import parse_qs

import boto3
import pytest

from kvik_dynamodb import DynamoDBError

from .faults import Exchange, FaultProxy, answer, forward

Caller = tuple[str, str]
"""The access key and the token that a request came with."""


class Guard:
    """Stand in front of the server: note who calls, refuse those whose keys have expired, let the others in."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.url = proxy.url
        self.callers: list[Caller] = []
        self.expired: set[str] = set()
        proxy.script = deque(repeat(self.admit, 10_000))

    async def admit(self, exchange: Exchange) -> bytes:
        found = re.search("Credential=([^/]+)/", exchange.headers["authorization"])
        key = found[1] if found else ""
        self.callers.append((key, exchange.headers.get("x-amz-security-token", "")))
        if key in self.expired or "everybody" in self.expired:
            return await answer("ExpiredTokenException")(exchange)
        # Under the tests' own key: DynamoDB Local has tables for each.
        owner = exchange.headers["authorization"].replace(f"{key}/", "test/")
        return await forward()(replace(exchange, headers={**exchange.headers, "authorization": owner}))

    def keys(self) -> list[str]:
        """Give the access keys that came, each once, in the order of their first call."""
        return list(dict.fromkeys(key for key, _ in self.callers))


class Issuer:
    """Issue credentials as STS, a container's agent and EC2's metadata service do, under a new key each time.

    ``lifetime`` is in seconds. Answers wait while ``opened`` is not set; with a ``status`` they are failures.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.lifetime = 3600.0
        self.status = 200
        self.opened = Event()
        self.opened.set()
        self._gone = False
        handler = type("Handler", (_Handler,), {"issuer": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Be gone: connections are refused from now on."""
        self.opened.set()
        if not self._gone:
            self._gone = True
            self._server.shutdown()
            self._server.server_close()

    def issue(self) -> dict[str, str]:
        self.asked += 1
        self.opened.wait(30)
        ends = datetime.now(UTC) + timedelta(seconds=self.lifetime)
        return {
            "AccessKeyId": f"AKIDISSUED{self.asked}",
            "SecretAccessKey": "hidden",
            "Token": f"token-{self.asked}",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class _Server(ThreadingHTTPServer):
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Leave it: a client that gave up is no fault of the server's."""


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def do_PUT(self) -> None:
        """Begin a session with EC2's metadata service."""
        self._answer("a-session")

    def do_GET(self) -> None:
        """Answer as EC2's metadata service, or a container's agent."""
        if self.path.endswith("/security-credentials/"):
            self._answer("a-role")
        else:
            self._answer(json.dumps({"Code": "Success", **self.issuer.issue()}))

    def do_POST(self) -> None:
        """Answer as STS."""
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        action, issued = form["Action"][0], self.issuer.issue()
        issued["SessionToken"] = issued.pop("Token")
        fields = "".join(f"<{name}>{value}</{name}>" for name, value in issued.items())
        result = f"<{action}Result><Credentials>{fields}</Credentials></{action}Result>"
        failure = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>-</Message></Error></ErrorResponse>"
        self._answer(f"<{action}Response>{result}</{action}Response>" if self.issuer.status == 200 else failure)

    def _answer(self, text: str) -> None:
        self.send_response(self.issuer.status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Surroundings:
    """Hold what a process finds of AWS: its environment, its files, and the services of its machine."""

    environment: pytest.MonkeyPatch
    directory: Path
    issuer: Issuer

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path


Provide = Callable[[Surroundings], "boto3.Session | None"]


def by_environment(here: Surroundings) -> None:
    here.environment.setenv("AWS_ACCESS_KEY_ID", "AKIDISSUED1")
    here.environment.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    here.environment.setenv("AWS_SESSION_TOKEN", "token-1")


def by_shared_file(here: Surroundings) -> None:
    here.issuer.asked += 1
    number = here.issuer.asked
    here.write(
        "credentials",
        f"[default]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = hidden\n"
        f"[mine]\naws_access_key_id = AKIDISSUED{number}\naws_secret_access_key = hidden\n"
        f"aws_session_token = token-{number}\n",
    )
    here.environment.setenv("AWS_PROFILE", "mine")


def by_config_file(here: Surroundings) -> None:
    keys = "aws_access_key_id = AKIDISSUED1\naws_secret_access_key = hidden\naws_session_token = token-1\n"
    here.write("config", f"[profile mine]\n{keys}")
    here.environment.setenv("AWS_PROFILE", "mine")


def by_process(here: Surroundings) -> None:
    program = here.write(
        "program.py",
        "import json, urllib.request\n"
        f"issued = json.load(urllib.request.urlopen('{here.issuer.url}/process'))\n"
        "print(json.dumps({'Version': 1, 'SessionToken': issued.pop('Token'), **issued}))\n",
    )
    here.write("config", f"[default]\ncredential_process = {sys.executable} {program}\n")


def by_web_identity(here: Surroundings) -> None:
    here.environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(here.write("token", "an-identity")))
    here.environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/mine")
    here.environment.setenv("AWS_ENDPOINT_URL_STS", here.issuer.url)


def by_assumed_role(here: Surroundings) -> None:
    here.write("credentials", "[base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = hidden\n")
    here.write(
        "config",
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/mine\nsource_profile = base\n"
        f"services = local\n[services local]\nsts =\n  endpoint_url = {here.issuer.url}\n",
    )


def by_container(here: Surroundings) -> None:
    here.environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{here.issuer.url}/container")


def by_ec2(here: Surroundings) -> None:
    here.environment.delenv("AWS_EC2_METADATA_DISABLED")
    here.environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", here.issuer.url)


def by_session(_: Surroundings) -> boto3.Session:
    return boto3.Session("AKIDISSUED1", "hidden", "token-1")


FIXED: list[Provide] = [by_environment, by_config_file, by_session]
"""What gives the same keys as long as the process runs."""

RENEWING: list[Provide] = [by_shared_file, by_process, by_web_identity, by_assumed_role, by_container, by_ec2]
"""What gives others when it is asked again."""


def name_of(value: Any) -> str | None:
    """Name a source in a test's identifier."""
    return getattr(value, "__name__", None)


async def failure_of(call: Awaitable[object]) -> DynamoDBError:
    """Give the error that a call fails with."""
    with pytest.raises(DynamoDBError) as caught:
        await call
    return caught.value


wire_alone = pytest.mark.parametrize("transport", ["wire"], scope="session")
"""For what the other transport leaves to botocore, whose ways are its own."""
