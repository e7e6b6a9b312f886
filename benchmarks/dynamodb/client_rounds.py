"""The clients alone: CPU time of the client's process per operation."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

import figures
import peers
import servers
from dynamodb.contender import Contender

IN_FLIGHT = (1, 32)


FLOOR, BOTO3, AIODYNAMO = "floor", "boto3", "aiodynamo"
CONTENDERS = {
    FLOOR: Contender("floor: asyncio.Protocol, signed before", "dynamodb.clients.floor"),
    BOTO3: Contender("boto3 in threads", "dynamodb.clients.boto3_threads", peers.python),
    "aioboto3": Contender("aioboto3", "dynamodb.clients.aioboto3_client", peers.aiobotocore_python),
    AIODYNAMO: Contender("aiodynamo on aiohttp", "dynamodb.clients.aiodynamo_client", peers.python),
    "py-key-value": Contender(
        "py-key-value's DynamoDBStore", "dynamodb.clients.py_key_value", peers.aiobotocore_python
    ),
    "kvik-boto3": Contender("Kvik, transport boto3", "dynamodb.clients.kvik_driver", transport="boto3"),
    "kvik-wire": Contender("Kvik, transport wire", "dynamodb.clients.kvik_driver", transport="wire"),
}
COMPARED_WITH = (FLOOR, BOTO3, AIODYNAMO)
"""Those that run in any case, for all others are compared with them."""

Tables = list[dict[str, Any]]
Measurements = list[dict[str, Any]]
Rounds = dict[str, list[Measurements]]


def measure(endpoint: str, options: argparse.Namespace) -> Tables:
    """Run the rounds, and give a table for each operation and number in flight."""
    rounds: Rounds = {name: [] for name in CONTENDERS if name in {*COMPARED_WITH, *options.clients}}
    for number in range(options.rounds):
        for name, own in rounds.items():
            own.append(_run(CONTENDERS[name], endpoint, options.seconds))
        print(f"clients: round {number + 1} of {options.rounds} done", file=sys.stderr)
    return [_table(rounds, index) for index in range(len(rounds[FLOOR][0]))]


def _run(contender: Contender, endpoint: str, seconds: float) -> Measurements:
    load = ["--endpoint", endpoint, "--seconds", str(seconds), "--in-flight", *map(str, IN_FLIGHT)]
    command = [*servers.pinned(servers.SERVER_CORE), *contender.command, *load]
    environment = {**os.environ, **contender.environment}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if run.returncode:
        sys.exit(f"{contender.name} failed; it says why above")
    measurements: Measurements = json.loads(run.stdout)
    return measurements


def _table(rounds: Rounds, index: int) -> dict[str, Any]:
    """Compare the measurement of this index between all clients."""
    cpu = {name: [measurements[index]["cpu_us"] for measurements in own] for name, own in rounds.items()}
    measured = rounds[FLOOR][0][index]
    rows = [
        {
            "name": CONTENDERS[name].name,
            "cpu_us": statistics.median(own),
            "to_floor": figures.median_ratio(own, cpu[FLOOR]),
            "boto3_to_it": figures.median_ratio(cpu[BOTO3], own),
            "aiodynamo_to_it": figures.median_ratio(cpu[AIODYNAMO], own),
        }
        for name, own in cpu.items()
    ]
    return {"operation": measured["operation"], "in_flight": measured["in_flight"], "contenders": rows}


def show(tables: Tables) -> None:
    """Print the tables."""
    columns = {
        "CPU, µs": ("cpu_us", ".1f"),
        "to floor": ("to_floor", ".2f"),
        "boto3 to it": ("boto3_to_it", ".2f"),
        "aiodynamo to it": ("aiodynamo_to_it", ".2f"),
    }
    for table in tables:
        figures.show(f"{table['operation']}, {table['in_flight']} in flight", columns, table["contenders"])
