"""What does a request cost in Kvik and in other frameworks? All are compared with a bare ASGI function.

Server and load have a core each, everybody has uvloop and httptools, and those who log write to a file. Every
round runs all contenders, every other one in the opposite order, for machines get faster and slower; figures are
medians over the rounds of the ratios to the bare ASGI function of the same round: requests per second (more is
better), the 99th percentile of the latency, and CPU time of the server per request (less is better, and the
steadiest). Microseconds of CPU are for orientation only. A server that was less than about 90 % busy was held up
by something else, be it the load or a neighbour.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import figures
import peers
import servers
from http_server.contenders import BASE, CONTENDERS, running
from http_server.workloads import WORKLOADS
from wrk import Load, load, need_wrk

PEERS = {"starlette": "Starlette", "fastapi-spans": "FastAPI with all"}
"""Contenders that the requests per second are compared with besides the base, and what they are called there."""

Rounds = dict[str, dict[str, list[Load]]]
Tables = list[dict[str, Any]]


def main() -> None:
    """Run the rounds, print a table for each workload, and write what the options ask for."""
    options = _options()
    need_wrk()
    peers.python()
    servers.keep_to_the_load_core()
    rounds: Rounds = {workload: {} for workload in options.workloads}
    for number in range(options.rounds):
        for name in options.contenders[:: -1 if number % 2 else 1]:
            _round(name, rounds, options.seconds)
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    tables = [_table(workload, loads) for workload, loads in rounds.items()]
    _show(tables)
    figures.write(options.json, str(__doc__), options.rounds, tables)
    if options.plot:
        plot = Path(__file__).with_name("plot.py")
        subprocess.run([peers.python(), plot, options.json, options.plot], check=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all contenders, default 7")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of each load in a round, default 2")
    for option, known in (("--contenders", CONTENDERS), ("--workloads", WORKLOADS)):
        text = f"default all: {' '.join(known)}"
        parser.add_argument(option, nargs="+", choices=known, default=list(known), help=text, metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them into this PNG; needs --json")
    options = parser.parse_args()
    if options.plot and not options.json:
        parser.error("--plot draws what --json wrote: name that file too")
    options.contenders = [BASE, *(name for name in options.contenders if name != BASE)]
    return options


def _round(name: str, rounds: Rounds, seconds: int) -> None:
    """Load one server with its workloads, one after the other; the first second of each counts for nothing."""
    contender = CONTENDERS[name]
    with running(contender) as server:
        for workload in rounds:
            if workload in contender.workloads:
                load(server, WORKLOADS[workload], 1)
                rounds[workload].setdefault(name, []).append(load(server, WORKLOADS[workload], seconds))


def _table(workload: str, loads: dict[str, list[Load]]) -> dict[str, Any]:
    rows = [
        {"name": CONTENDERS[name].name, **_ratios(own, loads[BASE]), **_requests_to_peers(own, loads)}
        for name, own in loads.items()
    ]
    return {"workload": WORKLOADS[workload].name, "contenders": rows}


def _ratios(own: list[Load], base: list[Load]) -> dict[str, float]:
    """Compare with the bare function, and give the CPU time itself as well."""
    return {
        "requests": figures.median_ratio(
            [a.requests_per_second for a in own], [b.requests_per_second for b in base]
        ),
        "p99": figures.median_ratio([a.p99_ms for a in own], [b.p99_ms for b in base]),
        "cpu": figures.median_ratio([a.cpu_us for a in own], [b.cpu_us for b in base]),
        "cpu_us": statistics.median(load.cpu_us for load in own),
        "busy": statistics.median(load.busy for load in own),
    }


def _requests_to_peers(own: list[Load], loads: dict[str, list[Load]]) -> dict[str, float]:
    """Give the ratios to those peers that took part."""
    mine = [load.requests_per_second for load in own]
    return {
        f"requests_to_{name}": figures.median_ratio(mine, [load.requests_per_second for load in loads[name]])
        for name in PEERS
        if name in loads
    }


def _show(tables: Tables) -> None:
    columns = {
        "requests": ("requests", ".2f"),
        "p99": ("p99", ".2f"),
        "CPU": ("cpu", ".2f"),
        "CPU, µs": ("cpu_us", ".1f"),
        "busy": ("busy", ".0%"),
        **{f"to {title}": (f"requests_to_{name}", ".2f") for name, title in PEERS.items()},
    }
    for table in tables:
        figures.show(table["workload"], columns, table["contenders"])


if __name__ == "__main__":
    main()
