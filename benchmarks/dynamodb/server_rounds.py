"""End to end: a GET handler that reads one key, served by Kvik and by FastAPI."""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import figures
import peers
import servers
from dynamodb.contender import Contender
from dynamodb.items import KEYS, VALUE
from wrk import Load, Workload, load

WORKLOAD = Workload("GET", "GET", "/values/key-%d", 200, paths=KEYS, answer={"data": json.loads(VALUE)})


BOTO3, AIODYNAMO = "fastapi-boto3", "fastapi-aiodynamo"
CONTENDERS = {
    BOTO3: Contender("FastAPI, boto3 in threads", "dynamodb.apps.fastapi_boto3_app", peers.python),
    AIODYNAMO: Contender("FastAPI, aiodynamo on aiohttp", "dynamodb.apps.fastapi_aiodynamo_app", peers.python),
    "kvik-boto3": Contender("Kvik, transport boto3", "dynamodb.apps.kvik_app", transport="boto3"),
    "kvik-wire": Contender("Kvik, transport wire", "dynamodb.apps.kvik_app", transport="wire"),
}
COMPARED_WITH = (BOTO3, AIODYNAMO)
"""Those that run in any case, for the others are compared with them."""


def measure(endpoint: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the rounds, and give a row for each server."""
    rounds: dict[str, list[Load]] = {name: [] for name in CONTENDERS if name in {*COMPARED_WITH, *options.servers}}
    for number in range(options.rounds):
        for name, own in rounds.items():
            own.append(_round(CONTENDERS[name], endpoint, options.load_seconds))
        print(f"servers: round {number + 1} of {options.rounds} done", file=sys.stderr)
    return [_row(name, rounds) for name in rounds]


def _round(contender: Contender, endpoint: str, seconds: int) -> Load:
    ports = {"METRICS_PORT": str(servers.free_port())}
    environment = {"BENCH_ENDPOINT": endpoint, **ports, **contender.environment}
    with (
        tempfile.TemporaryDirectory() as directory,
        servers.running(contender.command, environment, Path(directory) / "log") as server,
    ):
        load(server, WORKLOAD, 1)  # opens the connections; counts for nothing
        return load(server, WORKLOAD, seconds)


def _row(name: str, rounds: dict[str, list[Load]]) -> dict[str, Any]:
    answered = {name: [load.requests_per_second for load in own] for name, own in rounds.items()}
    cpu = {name: [load.cpu_us for load in own] for name, own in rounds.items()}
    return {
        "name": CONTENDERS[name].name,
        "requests_to_boto3": figures.median_ratio(answered[name], answered[BOTO3]),
        "requests_to_aiodynamo": figures.median_ratio(answered[name], answered[AIODYNAMO]),
        "cpu_to_boto3": figures.median_ratio(cpu[name], cpu[BOTO3]),
        "cpu_us": statistics.median(cpu[name]),
        "busy": statistics.median(load.busy for load in rounds[name]),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table; where a server is not busy, Dynoxide and the load, on their core, are the limit."""
    columns = {
        "to boto3": ("requests_to_boto3", ".2f"),
        "to aiodynamo": ("requests_to_aiodynamo", ".2f"),
        "CPU to boto3": ("cpu_to_boto3", ".2f"),
        "CPU, µs": ("cpu_us", ".1f"),
        "busy": ("busy", ".0%"),
    }
    figures.show("GET of one key, end to end", columns, rows)
