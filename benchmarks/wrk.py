"""The load: wrk on a core of its own, and before it one request that shows that the server answers rightly."""

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servers import LOAD_CORE, Server, pinned

_WRK = ["wrk", "-t1", "--timeout", "10s", "-s", str(Path(__file__).with_suffix(".lua"))]


@dataclass(frozen=True)
class Workload:
    """Describe a request and its answer; a %d in the path becomes each number below `paths` in turn."""

    name: str
    method: str
    path: str
    status: int
    paths: int = 1
    body: bytes = b""
    answer: object = None


@dataclass(frozen=True)
class Load:
    """Hold what one round of load measured."""

    requests: int
    requests_per_second: float
    p99_ms: float
    cpu_us: float

    @property
    def busy(self) -> float:
        """Give the part of one core that the server took; well below 1, something else was the limit."""
        return self.requests_per_second * self.cpu_us / 1e6


def need_wrk() -> None:
    """Exit, saying how to get it, where wrk is missing."""
    if shutil.which("wrk") is None:
        sys.exit("this benchmark needs wrk: apt-get install wrk, or https://github.com/wg/wrk")


def load(
    server: Server, workload: Workload, seconds: int, *, cores: Sequence[int] = (LOAD_CORE,), connections: int = 32
) -> Load:
    """Load a server for some seconds; exit if it answers anything else than it should."""
    _check(server, workload)
    with tempfile.NamedTemporaryFile() as body:
        body.write(workload.body)
        body.flush()
        before = server.cpu_seconds()
        wrk = [*pinned(*cores), *_WRK, f"-c{connections}", f"-d{seconds}s", server.url, "--"]
        report = _report([*wrk, *_arguments(workload, body.name)])
        cpu = server.cpu_seconds() - before
    requests = int(report["requests"])
    refused = report["not_2xx"] if workload.status < http.client.BAD_REQUEST else requests - report["not_2xx"]
    if refused or report["failed"] or not requests:
        sys.exit(f"{workload.name}: the server did not answer as it should: {report}")
    return Load(requests, requests / report["seconds"], report["p99_ms"], 1e6 * cpu / requests)


def _arguments(workload: Workload, body: str) -> list[str]:
    arguments = [workload.method, workload.path, str(workload.paths)]
    return [*arguments, "application/json", body] if workload.body else arguments


def _report(command: list[str]) -> dict[str, float]:
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    report: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return report


def _check(server: Server, workload: Workload) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    path = workload.path.replace("%d", "0")
    headers = {"Content-Type": "application/json"} if workload.body else {}
    connection.request(workload.method, path, workload.body or None, headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != workload.status:
        sys.exit(f"{workload.name}: {response.status} where {workload.status} was expected: {body[:200]!r}")
    if workload.answer is not None and json.loads(body) != workload.answer:
        sys.exit(f"{workload.name}: {body[:200]!r} where {workload.answer!r} was expected")
