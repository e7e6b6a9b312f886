import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvik import App, Context, KVStore, MemoryStore, from_json, to_json
from kvik_dynamodb import DynamoDB
from kvik_sqlite import SQLite

app = App()


class FolderStore:  # a driver: four methods, no base class, nothing of kvik imported
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / hashlib.sha256(key.encode()).hexdigest()

    def get(self, key: str) -> str | None:
        return self._file(key).read_bytes().decode() if self._file(key).exists() else None

    def set(self, key: str, value: str) -> None:
        self._file(key).write_bytes(value.encode())

    def delete(self, key: str) -> None:
        self._file(key).unlink(missing_ok=True)

    def health_check(self) -> dict[str, Any]:
        return {"status": "UP" if self.folder.is_dir() else "DOWN", "details": {"folder": str(self.folder)}}


STORES: dict[str, Callable[[], KVStore | FolderStore]] = {
    "memory": MemoryStore,
    "sqlite": lambda: SQLite("notes.db"),
    "dynamodb": lambda: DynamoDB(
        table="notes",
        region="us-east-1",
        endpoint=app.config.get_or_default("DYNAMODB_ENDPOINT", "http://localhost:8001"),
        create_table=True,
    ),
    "folder": lambda: FolderStore("notes"),
}

app.add_kv_store(STORES[app.config.get_or_default("STORE", "memory")]())  # the one line that differs


@app.put("/notes/{name}")
async def write(ctx: Context) -> None:
    note = await ctx.bind(dict[str, str])
    await ctx.kv_store.set(ctx.path_param("name"), to_json(note))


@app.get("/notes/{name}")
async def read(ctx: Context) -> dict[str, str]:
    return from_json(await ctx.kv_store.get(ctx.path_param("name")), dict[str, str])


@app.delete("/notes/{name}")
async def remove(ctx: Context) -> None:
    await ctx.kv_store.delete(ctx.path_param("name"))


if __name__ == "__main__":
    app.run()
