"""Does a request cost more where an app has a thousand routes? They are asked for in turn.

Ratios are of the app with many routes to the app with one: requests per second (more is better), and CPU time of
the server per request (less is better).
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import figures
import servers
from http_server.exchange import GREETING
from wrk import Load, Workload, load, need_wrk

PATHS = {"static path": "/static/page-%d", "path with a parameter": "/tenants/%d/orders/7"}
Loads = dict[str, list[Load]]


def main() -> None:
    """Run the rounds, and print a row for each kind of path."""
    options = _options()
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


def _round(routes: int, loads: Loads, seconds: int) -> None:
    command = [sys.executable, "-m", "http_server.apps.routes_app"]
    environment = {"BENCH_ROUTES": str(routes), "METRICS_PORT": str(servers.free_port())}
    with (
        tempfile.TemporaryDirectory() as directory,
        servers.running(command, environment, Path(directory) / "log") as server,
    ):
        for kind, path in PATHS.items():
            workload = Workload(kind, "GET", path, 200, paths=routes, answer={"data": GREETING})
            load(server, workload, 1)  # not counted
            loads[kind].append(load(server, workload, seconds))


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
