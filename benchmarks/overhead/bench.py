"""What do Kvik's batteries cost a request? Bare Starlette, Kvik with everything off, Kvik with everything on.

GET of one small JSON value, 32 connections, server and load pinned to a core each, in alternating rounds.
Prints a table of ratios, and writes them as JSON where `--json FILE` says so.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import servers

HERE = Path(__file__).parent
SERVER_CORE, LOAD_CORE = "0", "1"


@dataclass(frozen=True)
class Contender:
    """Name a server and the way to start it; its environment is added to the benchmark's."""

    name: str
    program: str
    environment: dict[str, str]


OFF = {"LOG_LEVEL": "ERROR", "METRICS_PORT": "0", "ACCESS_CONTROL_ALLOW_ORIGIN": ""}
CONTENDERS = [
    Contender("bare Starlette", "starlette_app.py", {}),
    Contender("Kvik, all off", "kvik_app.py", OFF),
    Contender("Kvik, all on", "kvik_app.py", {"METRICS_PORT": "0"}),
]


@dataclass(frozen=True)
class Round:
    """Hold what one round of load measured."""

    requests_per_second: float
    p99_ms: float


def main() -> None:
    """Run the rounds and print the table."""
    options = _options()
    if shutil.which("wrk") is None:
        sys.exit("this benchmark needs wrk: apt-get install wrk")
    rounds: dict[str, list[Round]] = {contender.name: [] for contender in CONTENDERS}
    for number in range(options.rounds):
        for contender in CONTENDERS:
            with _running(contender) as url:
                _load(url, 1)  # a warm-up, not counted
                rounds[contender.name].append(_load(url, options.seconds))
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    base = rounds[CONTENDERS[0].name]
    result = {name: _ratios(base, own) for name, own in rounds.items()}
    print(f"{'server':<16} {'requests, ratio':>16} {'p99, ratio':>12}")
    for name, ratios in result.items():
        print(f"{name:<16} {ratios['requests']:>16.2f} {ratios['p99']:>12.2f}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all contenders, default 5")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of load in a round, default 3")
    parser.add_argument("--json", metavar="FILE", help="write the ratios to this file")
    return parser.parse_args()


def _ratios(base: list[Round], own: list[Round]) -> dict[str, float]:
    """Give the medians of the ratios, round by round, to the first contender."""
    pairs = list(zip(own, base, strict=True))
    return {
        "requests": statistics.median(a.requests_per_second / b.requests_per_second for a, b in pairs),
        "p99": statistics.median(a.p99_ms / b.p99_ms for a, b in pairs),
    }


@contextlib.contextmanager
def _running(contender: Contender) -> Iterator[str]:
    port = servers.free_port()
    command = ["taskset", "-c", SERVER_CORE, sys.executable, str(HERE / contender.program)]
    environment = {**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port), **contender.environment}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, cwd=HERE) as server:
        try:
            servers.wait_for(port)
            yield f"http://127.0.0.1:{port}/greeting"
        finally:
            server.terminate()


def _load(url: str, seconds: int) -> Round:
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", url]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in report or "Socket errors" in report:
        sys.exit(f"the server did not answer as it should:\n{report}")
    requests = re.search(r"Requests/sec:\s+([\d.]+)", report)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", report)
    if requests is None or p99 is None:
        sys.exit(f"wrk said something unexpected:\n{report}")
    return Round(float(requests[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]])


if __name__ == "__main__":
    main()
