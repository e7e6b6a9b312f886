"""Does the memory of a server grow with the requests that it has served? A million, most with a new path.

Resident memory after each tenth of them; the first tenth fills caches and pools, what is added after it counts.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
import servers
from http_server.contenders import CONTENDERS, running
from http_server.exchange import GREETING
from http_server.workloads import WORKLOADS
from wrk import Workload, load, need_wrk

_MIB = 2**20
_NEW_PATHS = 50_000
"""Paths of each load: as many as it asks for, so that hardly one comes twice."""


def main() -> None:
    """Load the server until it has answered enough, and print what it occupied on the way."""
    options = _options()
    need_wrk()
    servers.keep_to_the_load_core()
    with running(CONTENDERS["kvik"]) as server:
        rows = list(_tenths(server, options.requests))
    columns = {"requests": ("requests", "d"), "resident, MiB": ("resident_mib", ".1f")}
    figures.show("Kvik, all on", columns, rows)
    added = rows[-1]["resident_mib"] - rows[0]["resident_mib"]
    served = rows[-1]["requests"] - rows[0]["requests"]
    print(f"\nadded after the first tenth: {added:.1f} MiB, {added * _MIB / max(served, 1):.1f} bytes per request")
    figures.write(options.json, str(__doc__), 1, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many to answer, default 1000000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


def _tenths(server: servers.Server, wanted: int) -> Iterator[dict[str, Any]]:
    """Load the server for a second at a time, and give a row whenever another tenth has been answered."""
    answered, due = 0, wanted // 10
    for workload in _workloads():
        answered += load(server, workload, 1).requests
        if answered >= due:
            resident = server.resident_bytes() / _MIB
            yield {"name": f"{answered / wanted:.0%}", "requests": answered, "resident_mib": resident}
            due = (10 * answered // wanted + 1) * wanted // 10
        if answered >= wanted:
            return


def _workloads() -> Iterator[Workload]:
    for turn in itertools.count():
        yield Workload("404", "GET", f"/missing/{turn}/%d", 404, paths=_NEW_PATHS)
        yield Workload(
            "query", "GET", f"/greeting?page={turn}-%d", 200, paths=_NEW_PATHS, answer={"data": GREETING}
        )
        yield Workload("key", "GET", f"/values/{turn}-%d", 404, paths=_NEW_PATHS)
        yield WORKLOADS["post"]
        yield WORKLOADS["sqlite"]


if __name__ == "__main__":
    main()
