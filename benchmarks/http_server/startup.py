"""How long do import and start take, and how much memory an idle server? FastAPI is measured beside.

Imports are timed inside a new process each, starts from the process's begin to an open port, memory a second after
that. All run from bytecode, as installed packages do; the starts that write it are not counted. Ratios are to
FastAPI in the same round. For these the figures themselves, medians, are goals as well; where neighbours are busy,
the CPU time of an import says more than the clock.
What an import spends its time on: python -X importtime -c "import kvik".
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import figures
import peers
from http_server.contenders import CONTENDERS, running

_MIB = 2**20
_IMPORT = """
from time import perf_counter, process_time
begun, cpu = perf_counter(), process_time()
{}
print(1e3 * (perf_counter() - begun), 1e3 * (process_time() - cpu))
"""
_BASE = "fastapi"
_IMPORTED = {
    "fastapi": "import fastapi",
    "starlette": "import starlette.applications",
    "kvik": "import kvik",
    "kvik, with an App": "import kvik; kvik.App()",
    "kvik_sqlite": "import kvik_sqlite",
    "kvik_dynamodb": "import kvik_dynamodb",
}
Measured = dict[str, list[float]]


def main() -> None:
    """Run the rounds, and print what importing costs and what a server does."""
    options = _options()
    with _bytecode():
        tables = _measure(options.rounds)
    for title, rows in tables.items():
        figures.show(title, {"median": ("median", ".1f"), "to FastAPI": ("ratio", ".2f")}, rows)
    figures.write(options.json, str(__doc__), options.rounds, tables)


@contextlib.contextmanager
def _bytecode() -> Iterator[None]:
    """Have every process that is started keep its bytecode in a directory that all of them share."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as directory:
        os.environ["PYTHONPYCACHEPREFIX"] = directory
        yield


def _measure(rounds: int) -> dict[str, list[dict[str, Any]]]:
    imports: Measured = {name: [] for name in _IMPORTED}
    cpu: Measured = {name: [] for name in imports}
    starts: Measured = {name: [] for name in ("fastapi", "fastapi-logs", "starlette", "kvik", "kvik-spans")}
    memory: Measured = {name: [] for name in starts}
    for name in imports:
        _import(name)  # writes its bytecode
    for name in starts:
        _start(name)
    for number in range(rounds):
        for name, own in imports.items():
            import_ms, cpu_ms = _import(name)
            own.append(import_ms)
            cpu[name].append(cpu_ms)
        for name in starts:
            start_ms, resident_mib = _start(name)
            starts[name].append(start_ms)
            memory[name].append(resident_mib)
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return {
        "import, ms": _rows(imports, str),
        "import, CPU ms": _rows(cpu, str),
        "start, ms": _rows(starts, _server),
        "idle, MiB": _rows(memory, _server),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all contenders, default 7")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


def _import(name: str) -> tuple[float, float]:
    python = peers.python() if name in {"fastapi", "starlette"} else sys.executable
    command = [python, "-c", _IMPORT.format(_IMPORTED[name])]
    import_ms, cpu_ms = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(import_ms), float(cpu_ms)


def _start(name: str) -> tuple[float, float]:
    begun = time.perf_counter()
    with running(CONTENDERS[name]) as server:
        start_ms = 1e3 * (time.perf_counter() - begun)
        time.sleep(1)
        return start_ms, server.resident_bytes() / _MIB


def _server(name: str) -> str:
    return CONTENDERS[name].name


def _rows(measured: Mapping[str, list[float]], named: Callable[[str], str]) -> list[dict[str, Any]]:
    return [
        {
            "name": named(name),
            "median": statistics.median(own),
            "ratio": figures.median_ratio(own, measured[_BASE]),
        }
        for name, own in measured.items()
    ]


if __name__ == "__main__":
    main()
