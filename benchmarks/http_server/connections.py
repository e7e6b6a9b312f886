"""Does a request cost more where a thousand connections are open? All of them ask all the time.

CPU time of the server per request, as ratios to the same server with one connection (less is better); the bare
ASGI function beside Kvik shows what uvicorn and the kernel have to do with it.
"""

import argparse
import resource
import sys
from pathlib import Path
from typing import Any

import figures
import servers
from http_server.contenders import CONTENDERS, running
from http_server.workloads import WORKLOADS
from wrk import load, need_wrk

_NAMES = ("asgi", "kvik")
_SPARE_FILES = 100
Rounds = dict[int, list[float]]


def main() -> None:
    """Run the rounds, and print a row for each server."""
    options = _options()
    need_wrk()
    servers.keep_to_the_load_core()
    _allow_files(max(options.connections) + _SPARE_FILES)
    counts = [1, *options.connections]
    rounds: dict[str, Rounds] = {name: {count: [] for count in counts} for name in _NAMES}
    for number in range(options.rounds):
        for name, own in rounds.items():
            _round(name, own, options.seconds)
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    rows = [_row(name, own) for name, own in rounds.items()]
    columns = {str(count): (str(count), ".2f") for count in counts}
    figures.show("CPU by connections, to one", columns, rows)
    figures.write(options.json, str(__doc__), options.rounds, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both servers, default 5")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of each load in a round, default 2")
    text = "how many, default 32 1000"
    parser.add_argument("--connections", type=int, nargs="+", default=[32, 1000], help=text, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


def _allow_files(wanted: int) -> None:
    """Let this process and what it starts have so many files open, for a connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"this benchmark opens {wanted} files, and only {hard} are allowed: see ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _round(name: str, rounds: Rounds, seconds: int) -> None:
    with running(CONTENDERS[name]) as server:
        for count, own in rounds.items():
            load(server, WORKLOADS["get"], 1, connections=count)  # opens them; counts for nothing
            own.append(load(server, WORKLOADS["get"], seconds, connections=count).cpu_us)


def _row(name: str, rounds: Rounds) -> dict[str, Any]:
    ratios = {str(count): figures.median_ratio(own, rounds[1]) for count, own in rounds.items()}
    return {"name": CONTENDERS[name].name, **ratios}


if __name__ == "__main__":
    main()
