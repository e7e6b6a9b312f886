"""What was acknowledged stays, whatever moment a process is killed at: a few rounds here, a hundred by request."""

import asyncio
import random
import signal
import sqlite3
import subprocess  # noqa: TC003 - as everywhere here: imports are not split by use
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from kvik_sqlite import SQLite

Process: TypeAlias = "subprocess.Popen[str]"
Start: TypeAlias = Callable[..., Process]

TASKS = 8

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")

WRITE_UNTIL_KILLED = """
import asyncio, os, sys
from kvik_sqlite import SQLite

async def step(db, task, number):
    kind, cycle = number % 5, number // 5
    text = str(number)
    if kind == 0:
        await db.set(f"{task}:set", text)
    elif kind == 1:
        entry = await db.get_versioned(f"{task}:if")
        await db.set_if(f"{task}:if", text, entry and entry[1])
    elif kind == 2:
        await db.increment(f"{task}:count", 1)
    elif kind == 3:
        await db.set_many({f"{task}:many{each}": text for each in range(3)})
    elif cycle % 2:
        await db.set(f"{task}:gone", text)
    else:
        await db.delete(f"{task}:gone")

async def write(db, task, number):
    while True:
        await step(db, task, number)
        os.write(1, f"{task} {number}\\n".encode())  # acknowledged
        number += 1

async def main(path, *numbers):
    async with SQLite(path) as db:
        await asyncio.gather(*[write(db, task, int(number)) for task, number in enumerate(numbers)])

asyncio.run(main(*sys.argv[1:]))
"""


def expected(number: int) -> dict[str, str]:
    """Tell what a task has in the file after its step of this number; before the first it is -1."""
    last = [number - (number - kind) % 5 for kind in range(5)]  # of each kind of step; negative: none yet
    kinds = {"set": 0, "if": 1, "count": 2, "many0": 3, "many1": 3, "many2": 3, "gone": 4}
    state = {key: str(last[kind]) for key, kind in kinds.items() if last[kind] >= 0}
    if "count" in state:
        state["count"] = str(last[2] // 5 + 1)
    if last[4] // 5 % 2 == 0:  # it was deleted
        state.pop("gone", None)
    return state


async def stored(path: Path) -> dict[int, dict[str, str]]:
    """Tell what each task has in the file, and that the file is sound without a repair."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    state: dict[int, dict[str, str]] = defaultdict(dict)
    async with SQLite(path) as db:
        keys, cursor = await db.scan("", None, 1000)
        assert cursor is None
        for name, value in (await db.get_many(keys)).items():
            task, _, key = name.partition(":")
            state[int(task)][key] = value
    return state


async def killed(process: Process) -> list[str]:
    """Kill the process at a random moment after its first write, and return the lines it has acknowledged."""
    assert process.stdout is not None
    first = process.stdout.readline()
    await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - a random moment
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()  # not communicate(), which would miss what came together with the first line
    process.wait()
    return [first, *rest.split("\n")[:-1]]  # what follows the last newline is torn


# A hundred rounds in four tests: each alone is short enough for the limit that ends a test that hangs.
ROUNDS = [5, *[pytest.param(25, marks=pytest.mark.durability, id=f"25, part {part}") for part in range(1, 5)]]


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_what_was_acknowledged_survives_kill_9(path: Path, start: Start, rounds: int) -> None:
    """What was acknowledged is there, any other write wholly or not at all, and the file needs no repair."""
    done = dict.fromkeys(range(TASKS), -1)
    for _ in range(rounds):
        process = start(WRITE_UNTIL_KILLED, path, *[number + 1 for number in done.values()])
        for line in await killed(process):
            task, number = map(int, line.split())
            done[task] = number
        state = await stored(path)
        for task, number in done.items():
            assert state[task] in (expected(number), expected(number + 1))
            if state[task] == expected(number + 1):  # written, but killed before it could say so
                done[task] = number + 1
    assert min(done.values()) > 0
