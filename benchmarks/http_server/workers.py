"""What do two worker processes win over one? HTTP_WORKERS=2 beside HTTP_WORKERS=1, on the same two cores.

The load has a core of its own where there is a third. Where there are two only, it shares them with the workers,
which then cannot answer twice as much; the CPU time per request says what the second worker itself costs.
"""

import argparse
import os
import sys
from pathlib import Path

import figures
from http_server.contenders import CONTENDERS, running
from http_server.workloads import WORKLOADS
from wrk import Load, load, need_wrk

COUNTS = ("1", "2")


def main() -> None:
    """Run the rounds, and print the ratios of two workers to one."""
    options = _options()
    need_wrk()
    cores = sorted(os.sched_getaffinity(0))
    load_cores = cores[len(COUNTS) :][:1] or cores
    rounds: dict[str, list[Load]] = {count: [] for count in COUNTS}
    for number in range(options.rounds):
        for count, loads in rounds.items():
            variables = {"HTTP_WORKERS": count}
            with running(CONTENDERS["kvik"], cores=cores[: len(COUNTS)], environment=variables) as server:
                load(server, WORKLOADS["get"], 1, cores=load_cores)  # not counted
                loads.append(load(server, WORKLOADS["get"], options.seconds, cores=load_cores))
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    one, two = rounds.values()
    row = {
        "name": "Kvik, all on",
        "requests": figures.median_ratio(
            [a.requests_per_second for a in two], [b.requests_per_second for b in one]
        ),
        "cpu": figures.median_ratio([a.cpu_us for a in two], [b.cpu_us for b in one]),
        "p99": figures.median_ratio([a.p99_ms for a in two], [b.p99_ms for b in one]),
    }
    columns = {"requests": ("requests", ".2f"), "CPU": ("cpu", ".2f"), "p99": ("p99", ".2f")}
    shared = "the load on the same cores" if load_cores == cores else "the load on a core of its own"
    figures.show(f"two workers to one, {shared}", columns, [row])
    figures.write(options.json, str(__doc__), options.rounds, row)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of one and two workers, default 5")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of load in a round, default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
