"""What do two worker processes win over one? HTTP_WORKERS=2 beside HTTP_WORKERS=1, on the same two cores.

The load has a core of its own where there is a third. Where there are two only, it shares them with the workers.
The plain GET then takes it a good part of what the answer takes them, so that two cannot answer twice as many; a
handler that works for a millisecond leaves it next to nothing to do. The CPU time per request says what the second
worker itself costs, and the cores that one and two of them had, whether neighbours took a part.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import figures
from http_server.contenders import CONTENDERS, running
from http_server.exchange import digest
from http_server.workloads import WORKLOADS
from wrk import Load, Workload, load, need_wrk

COUNTS = ("1", "2")
LOADS = (
    WORKLOADS["get"],
    Workload("GET that works for 1 ms", "GET", "/digest", 200, answer={"data": digest()}),
)
Loads = dict[str, list[Load]]


def main() -> None:
    """Run the rounds, and print the ratios of two workers to one."""
    options = _options()
    need_wrk()
    cores = sorted(os.sched_getaffinity(0))
    load_cores = cores[len(COUNTS) :][:1] or cores
    one: Loads = {workload.name: [] for workload in LOADS}
    two: Loads = {workload.name: [] for workload in LOADS}
    for number in range(options.rounds):
        for count, loads in zip(COUNTS, (one, two), strict=True):
            variables = {"HTTP_WORKERS": count}
            with running(CONTENDERS["kvik"], cores=cores[: len(COUNTS)], environment=variables) as server:
                for workload in LOADS:
                    load(server, workload, 1, cores=load_cores)  # not counted
                    loads[workload.name].append(load(server, workload, options.seconds, cores=load_cores))
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    rows = [_row(workload.name, two[workload.name], one[workload.name]) for workload in LOADS]
    columns = {"requests": ("requests", ".2f"), "CPU": ("cpu", ".2f"), "p99": ("p99", ".2f")}
    columns |= {"one, cores": ("one_busy", ".2f"), "two, cores": ("two_busy", ".2f")}
    shared = "the load on the same cores" if load_cores == cores else "the load on a core of its own"
    figures.show(f"two workers to one, {shared}", columns, rows)
    figures.write(options.json, str(__doc__), options.rounds, rows)


def _row(name: str, two: list[Load], one: list[Load]) -> dict[str, Any]:
    return {
        "name": name,
        "requests": figures.median_ratio(
            [a.requests_per_second for a in two], [b.requests_per_second for b in one]
        ),
        "cpu": figures.median_ratio([a.cpu_us for a in two], [b.cpu_us for b in one]),
        "one_busy": statistics.median(load.busy for load in one),
        "two_busy": statistics.median(load.busy for load in two),
        "p99": figures.median_ratio([a.p99_ms for a in two], [b.p99_ms for b in one]),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of one and two workers, default 5")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of load in a round, default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
