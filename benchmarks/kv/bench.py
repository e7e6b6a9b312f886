"""What does the key-value layer cost? Each driver, alone and behind the facade, beside the bare library call.

Time per operation in microseconds, one at a time, in alternating rounds; ratios are medians over the rounds, and
above 1 is slower than bare. The last line is group commit: 32 writers at once beside the same writes one by one.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import uvloop

import dynoxide
from kvik import KV, MemoryStore
from kvik_dynamodb import DynamoDB
from kvik_sqlite import SQLite

KEYS = [f"key-{number}" for number in range(100)]
VALUES = itertools.cycle(["v" * 100, "w" * 100])  # in turns, for SQLite writes nothing where nothing changes
WRITERS = 32

Call = Callable[[], Awaitable[object]]
Bare = dict[str, Callable[[], object]]


def main() -> None:
    """Run everything and print the tables."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory, dynoxide.running() as endpoint:
        result = uvloop.run(_measure(Path(directory), endpoint, options))
    print(f"{'store':<16} {'operation':<14} {'bare, µs':>10} {'driver':>8} {'facade':>8}")
    for (store, operation), row in result["operations"].items():
        print(f"{store:<16} {operation:<14} {row['bare_us']:>10.1f} {row['driver']:>8.2f} {row['facade']:>8.2f}")
    print(f"\nSQLite, {WRITERS} writers at once: {result['group_commit']:.1f} times the writes of one by one")
    if options.json:
        rows = {f"{store} {operation}": row for (store, operation), row in result["operations"].items()}
        text = json.dumps({"operations": rows, "group_commit": result["group_commit"]}, indent=2)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all contenders, default 7")
    parser.add_argument(
        "--seconds", type=float, default=0.2, help="seconds of one contender in a round, default 0.2"
    )
    parser.add_argument("--directory", default=".", help="where SQLite's file goes: a real disk; default here")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


async def _measure(directory: Path, endpoint: str, options: argparse.Namespace) -> dict[str, Any]:
    operations: dict[tuple[str, str], dict[str, float]] = {}
    for name, opened in (
        ("memory", _memory()),
        ("sqlite", _sqlite(directory)),
        ("sqlite, no cache", _sqlite_without_cache(directory)),
        ("dynamodb", _dynamodb(endpoint)),
    ):
        async with opened as (store, bare):
            driver, facade = _calls(store), _calls(KV(store))
            await facade["set_many(100)"]()
            for operation, call in bare.items():
                contenders = {"bare": _of_plain(call), "driver": driver[operation], "facade": facade[operation]}
                operations[name, operation] = await _compare(contenders, options)
    async with SQLite(directory / "group.db") as db:
        group_commit = await _group_commit(db, options.rounds)
    return {"operations": operations, "group_commit": group_commit}


async def _compare(contenders: dict[str, Call], options: argparse.Namespace) -> dict[str, float]:
    rounds = [
        {name: await _microseconds(call, options.seconds) for name, call in contenders.items()}
        for _ in range(options.rounds)
    ]
    ratio = {name: statistics.median(row[name] / row["bare"] for row in rounds) for name in contenders}
    return {
        "bare_us": statistics.median(row["bare"] for row in rounds),
        "driver": ratio["driver"],
        "facade": ratio["facade"],
    }


async def _microseconds(call: Call, seconds: float) -> float:
    await call()
    calls, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        await call()
        calls += 1
    return 1e6 * elapsed / calls


async def _group_commit(db: SQLite, rounds: int) -> float:
    """Give how many times faster the same writes are when they come at once."""

    async def writer(name: int) -> None:
        for number in range(10):
            await db.set(f"{name}-{number}", next(VALUES))

    ratios = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for name in range(WRITERS):
            await writer(name)
        between = time.perf_counter()
        await asyncio.gather(*(writer(name) for name in range(WRITERS)))
        ratios.append((between - begun) / (time.perf_counter() - between))
    return statistics.median(ratios)


def _calls(store: Any) -> dict[str, Call]:
    """Name the operations, of a driver or of the facade, which have the same methods."""
    return {
        "get": lambda: store.get(KEYS[0]),
        "set": lambda: store.set(KEYS[0], next(VALUES)),
        "get_many(100)": lambda: store.get_many(KEYS),
        "set_many(100)": lambda: store.set_many(dict.fromkeys(KEYS, next(VALUES))),
    }


def _of_plain(call: Callable[[], object]) -> Call:
    """Make it awaitable, so that the loop around it costs all contenders the same."""

    async def called() -> object:
        return call()

    return called


@contextlib.asynccontextmanager
async def _memory() -> AsyncIterator[tuple[MemoryStore, Bare]]:
    values: dict[str, str] = {}
    yield (
        MemoryStore(),
        {
            "get": lambda: values.get(KEYS[0]),
            "set": lambda: values.update({KEYS[0]: next(VALUES)}),
            "get_many(100)": lambda: {key: values[key] for key in KEYS if key in values},
            "set_many(100)": lambda: values.update(dict.fromkeys(KEYS, next(VALUES))),
        },
    )


@contextlib.asynccontextmanager
async def _sqlite(directory: Path) -> AsyncIterator[tuple[SQLite, Bare]]:
    with _bare_sqlite(directory / "bare.db") as bare:
        async with SQLite(directory / "kvik.db") as db:
            yield db, bare


@contextlib.asynccontextmanager
async def _sqlite_without_cache(directory: Path) -> AsyncIterator[tuple[SQLite, Bare]]:
    """Give get alone; the others never use the cache."""
    with _bare_sqlite(directory / "bare-without-cache.db") as bare:
        async with SQLite(directory / "without-cache.db", cache_bytes=0) as db:
            yield db, {"get": bare["get"]}


@contextlib.contextmanager
def _bare_sqlite(path: Path) -> Iterator[Bare]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE kv (key BLOB PRIMARY KEY, value TEXT NOT NULL)")
        keys = [key.encode() for key in KEYS]
        get = "SELECT value FROM kv WHERE key = ?"
        put = "INSERT INTO kv VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        get_many = f"SELECT key, value FROM kv WHERE key IN ({','.join('?' * len(keys))})"  # noqa: S608 - marks alone

        def set_many() -> None:
            value = next(VALUES)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(put, [(key, value) for key in keys])
            connection.execute("COMMIT")

        set_many()
        yield {
            "get": lambda: connection.execute(get, (keys[0],)).fetchone(),
            "set": lambda: connection.execute(put, (keys[0], next(VALUES))),
            "get_many(100)": lambda: dict(connection.execute(get_many, keys)),
            "set_many(100)": set_many,
        }


@contextlib.asynccontextmanager
async def _dynamodb(endpoint: str) -> AsyncIterator[tuple[DynamoDB, Bare]]:
    os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench")  # noqa: S106 - any will do
    client: Any = boto3.client("dynamodb", region_name="eu-west-1", endpoint_url=endpoint)
    async with DynamoDB("bench", "eu-west-1", endpoint, create_table=True) as db:
        key = {"pk": {"S": KEYS[0]}}
        keys = [{"pk": {"S": each}} for each in KEYS]
        request = {"bench": {"Keys": keys, "ConsistentRead": True}}

        def set_many() -> None:
            for start in range(0, len(keys), 25):
                puts = [
                    {"PutRequest": {"Item": {**each, "value": {"S": next(VALUES)}}}}
                    for each in keys[start : start + 25]
                ]
                client.batch_write_item(RequestItems={"bench": puts})

        yield (
            db,
            {
                "get": lambda: client.get_item(TableName="bench", Key=key, ConsistentRead=True),
                "set": lambda: client.put_item(TableName="bench", Item={**key, "value": {"S": next(VALUES)}}),
                "get_many(100)": lambda: client.batch_get_item(RequestItems=request),
                "set_many(100)": set_many,
            },
        )


if __name__ == "__main__":
    main()
