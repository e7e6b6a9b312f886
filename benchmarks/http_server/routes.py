"""Does a request cost more where an app has a thousand routes? They are asked for in turn.

Ratios are of the app with many routes to the app with one: requests per second (more is better), and CPU time of
the server per request (less is better). --instructions counts what a request takes under valgrind instead; that is
a matter of minutes, and shows what is lost in the noise of a clock.
"""

import argparse
import contextlib
import functools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import figures
import servers
from http_server.exchange import GREETING
from http_server.instructions import need_valgrind, per_request
from wrk import Load, Workload, load, need_wrk

PATHS = {"static path": "/static/page-%d", "path with a parameter": "/tenants/%d/orders/7"}
Loads = dict[str, list[Load]]


def main() -> None:
    """Run the rounds, and print a row for each kind of path."""
    options = _options()
    if options.instructions:
        _count_instructions(options)
    else:
        _load(options)


def _count_instructions(options: argparse.Namespace) -> None:
    need_valgrind()
    rows = []
    for kind in PATHS:
        one, many = (
            per_request(functools.partial(_serving, routes), _workload(kind, routes), options.instructions)
            for routes in (1, options.routes)
        )
        rows.append({"name": kind, "one": one, "many": many, "growth": many / one - 1})
        print(f"{kind} done", file=sys.stderr)
    columns = {"1": ("one", ",.0f"), str(options.routes): ("many", ",.0f"), "growth": ("growth", "+.2%")}
    figures.show("instructions of a request, by routes", columns, rows)
    figures.write(options.json, str(__doc__), 1, rows)


def _load(options: argparse.Namespace) -> None:
    need_wrk()
    servers.keep_to_the_load_core()
    one: Loads = {kind: [] for kind in PATHS}
    many: Loads = {kind: [] for kind in PATHS}
    for number in range(options.rounds):
        _round(1, one, options.seconds)
        _round(options.routes, many, options.seconds)
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    rows = [_row(kind, many[kind], one[kind]) for kind in PATHS]
    columns = {"requests": ("requests", ".2f"), "CPU": ("cpu", ".2f")}
    figures.show(f"{options.routes} routes to one", columns, rows)
    figures.write(options.json, str(__doc__), options.rounds, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both apps, default 5")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of each load in a round, default 2")
    parser.add_argument("--routes", type=int, default=1000, help="routes of each kind, default 1000")
    parser.add_argument(
        "--instructions", type=int, metavar="N", help="count the instructions of N requests instead"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


def _round(routes: int, loads: Loads, seconds: int) -> None:
    with _serving(routes) as server:
        for kind in PATHS:
            load(server, _workload(kind, routes), 1)  # not counted
            loads[kind].append(load(server, _workload(kind, routes), seconds))


def _workload(kind: str, routes: int) -> Workload:
    return Workload(kind, "GET", PATHS[kind], 200, paths=routes, answer={"data": GREETING})


@contextlib.contextmanager
def _serving(
    routes: int, *, environment: Mapping[str, str] | None = None, under: Sequence[str] = (), patience: float = 10
) -> Iterator[servers.Server]:
    command = [*under, sys.executable, "-m", "http_server.apps.routes_app"]
    variables = {"BENCH_ROUTES": str(routes), "METRICS_PORT": str(servers.free_port()), **(environment or {})}
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with servers.running(command, variables, log, patience=patience) as server:
            yield server


def _row(kind: str, many: list[Load], one: list[Load]) -> dict[str, Any]:
    return {
        "name": kind,
        "requests": figures.median_ratio(
            [a.requests_per_second for a in many], [b.requests_per_second for b in one]
        ),
        "cpu": figures.median_ratio([a.cpu_us for a in many], [b.cpu_us for b in one]),
    }


if __name__ == "__main__":
    main()
