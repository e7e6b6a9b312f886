"""How many instructions does a request take? For changes that are too small for a clock on a noisy machine.

The server runs under valgrind's cachegrind, which counts what the processor executes outside of the kernel: once
with some requests, once with more of them, and the difference is what these took. Two runs of the same code differ
by a few tenths of a percent, with more --requests by less. --against compares with the JSON of an earlier run, say
of the code before a change. Where the processor's own counters can be had, which most virtual machines hide,
`perf stat -e instructions:u -p PID` counts them in a server under load at full speed.
"""

import argparse
import functools
import http.client
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import figures
from http_server.contenders import CONTENDERS, running
from http_server.workloads import WORKLOADS
from servers import Server
from wrk import Workload

_WARM_UP = 200
_PATIENCE = 120  # seconds: a start takes fifty times as long as without valgrind

Serve = Callable[..., AbstractContextManager[Server]]
"""Starts a server with `environment`, `under` a command, within `patience`, as `servers.running` does."""


def main() -> None:
    """Count for each contender and workload, and print the figures."""
    options = _options()
    need_valgrind()
    earlier = _earlier(options.against)
    rows = []
    for name in options.contenders:
        for workload in options.workloads:
            if workload not in CONTENDERS[name].workloads:
                continue
            rows.append(_row(name, workload, options.requests, earlier))
            print(f"{rows[-1]['name']} done", file=sys.stderr)
    columns = {"instructions": ("instructions", ",.0f"), "change": ("change", "+.2%")}
    figures.show(f"per request, of {options.requests}", columns, rows)
    figures.write(options.json, str(__doc__), 1, rows)


def need_valgrind() -> None:
    """Exit, saying how to get it, where valgrind is missing."""
    if shutil.which("valgrind") is None:
        sys.exit("this benchmark needs valgrind: apt-get install valgrind")


def per_request(serve: Serve, workload: Workload, requests: int) -> float:
    """Give the instructions of one request, of so many."""
    warm_up = max(_WARM_UP, workload.paths)
    few, more = (_count(serve, workload, number) for number in (warm_up, warm_up + requests))
    return (more - few) / requests


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000, help="requests that count, default 3000")
    for option, known, default in (
        ("--contenders", CONTENDERS, ["asgi", "kvik"]),
        ("--workloads", WORKLOADS, ["get"]),
    ):
        text = f"default {' '.join(default)}; of {' '.join(known)}"
        parser.add_argument(option, nargs="+", choices=known, default=default, help=text, metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show the change since the run that wrote it")
    return parser.parse_args()


def _earlier(file: Path | None) -> dict[str, float]:
    if file is None:
        return {}
    rows = json.loads(file.read_text(encoding="utf-8"))["figures"]
    return {row["name"]: row["instructions"] for row in rows}


def _row(name: str, workload: str, requests: int, earlier: dict[str, float]) -> dict[str, Any]:
    title = f"{CONTENDERS[name].name}: {WORKLOADS[workload].name}"
    instructions = per_request(functools.partial(running, CONTENDERS[name]), WORKLOADS[workload], requests)
    change = {"change": instructions / earlier[title] - 1} if title in earlier else {}
    return {"name": title, "instructions": instructions, **change}


def _count(serve: Serve, workload: Workload, requests: int) -> int:
    """Give the instructions of a server from its start to its end."""
    with tempfile.NamedTemporaryFile("r") as report:
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        under = [*valgrind, f"--log-file={report.name}"]
        # What goes by the clock, not by requests, would count for more on a busier machine.
        variables = {"PYTHONHASHSEED": "0", "LOOP_BLOCKED_AFTER": "0"}
        with serve(environment=variables, under=under, patience=_PATIENCE) as server:
            _ask(server.port, workload, requests)
        counted = re.search(r"I +refs: +([\d,]+)", report.read())
    if counted is None:
        sys.exit(f"{workload.name}: valgrind counted nothing")
    return int(counted[1].replace(",", ""))


def _ask(port: int, workload: Workload, requests: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    headers = {"Content-Type": "application/json"} if workload.body else {}
    for number in range(requests):
        path = workload.path.replace("%d", str(number % workload.paths))
        connection.request(workload.method, path, workload.body or None, headers)
        response = connection.getresponse()
        response.read()
        if response.status != workload.status:
            sys.exit(f"{workload.name}: {response.status} where {workload.status} was expected")
    connection.close()


if __name__ == "__main__":
    main()
