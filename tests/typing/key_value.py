"""What mypy is to know of the key-value store: right uses pass, and each wrong one is refused. Never run."""

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from kvik import KEEP, KV, Context, Entry, KVStore, MemoryStore
from kvik_dynamodb import DynamoDB
from kvik_sqlite import SQLite


@dataclass
class User:
    name: str


async def right(ctx: Context, kv: KV) -> None:
    """Pass."""
    stores: list[KVStore] = [MemoryStore(), SQLite("app.db"), DynamoDB("table")]
    assert_type(ctx.kv_store, KV[str])
    assert_type(ctx.kv_stores["sessions"], KV[str])
    assert_type(await kv.get("k"), str)
    assert_type(await kv.get("k", None), str | None)
    assert_type(await kv.get("k", default=0), str | int)
    assert_type(await kv.exists("k"), bool)
    assert_type(await kv.entry("k"), Entry[str])
    assert_type(await kv.entry("k", None), Entry[str] | None)
    assert_type(await kv.set("k", "v", if_absent=True), str)
    assert_type(await kv.set("k", "v", ttl=timedelta(minutes=5), if_version="1"), str)
    assert_type(await kv.update("k", lambda old: (old or "") + "!", ttl=KEEP), Entry[str])
    assert_type(await kv.pop("k"), str)
    assert_type(await kv.pop("k", None), str | None)
    assert_type(await kv.ttl("k"), timedelta | None)
    assert_type(await kv.get_or_set("k", lambda: "v", ttl=60), str)
    assert_type(await kv.get_many(["a", "b"]), dict[str, str])
    assert_type(await kv.increment("n"), int)
    assert_type([key async for key in kv.scan("user:")], list[str])
    assert_type(kv.namespace("t7"), KV[str])
    assert_type(kv.unwrap(SQLite), SQLite)
    users = kv.namespace("users").typed(User)
    assert_type(users, KV[User])
    assert_type(await users.get("ada"), User)
    assert_type(await users.get("ada", None), User | None)
    assert_type((await users.entry("ada")).value, User)
    assert_type(await users.get_many(["ada"]), dict[str, User])
    await users.set("ada", User("Ada"))
    await users.set_many({"ada": User("Ada")}, ttl=0.5)
    with kv.deadline(0.5):
        await kv.delete("k", if_version="1")
    print(stores)  # noqa: T201 - it is used


async def wrong(kv: KV, users: KV[User]) -> None:
    """Be refused."""
    length: int = await kv.get("k")  # type: ignore[assignment]  # a str
    (await kv.get("k", None)).upper()  # type: ignore[union-attr]  # perhaps None
    kv.get("k").upper()  # type: ignore[attr-defined]  # not awaited
    await kv.get(b"k")  # type: ignore[call-overload]  # bytes
    await kv.set("k", 1)  # type: ignore[call-overload]  # a number
    await kv.set("k", "v", ttl="60")  # type: ignore[call-overload]  # no time
    await kv.set("k", "v", if_version=None)  # type: ignore[call-overload]  # no version
    await kv.set("k", "v", if_absent=True, if_version="1")  # type: ignore[call-overload]  # both
    nothing: str = await kv.set("k", "v")  # type: ignore[assignment, func-returns-value]  # only with a condition
    await kv.delete("k", if_version=None)  # type: ignore[arg-type]  # no version
    await kv.increment("n", "1")  # type: ignore[arg-type]  # text
    await users.set("ada", "Ada")  # type: ignore[call-overload]  # no User
    await users.update("ada", lambda old: old)  # type: ignore[arg-type, return-value]  # it may be None
    (await users.get("ada")).nam  # type: ignore[attr-defined]  # noqa: B018 - misspelt
    store: KVStore = {}  # type: ignore[assignment]  # a dict is no store
    driver: DynamoDB = kv.unwrap(SQLite)  # type: ignore[assignment]  # another one
    print(length, nothing, store, driver)  # noqa: T201 - all are used
