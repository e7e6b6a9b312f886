"""What an import brings along, and that nothing is left to be imported while a client waits."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import program

SERVERS = {"uvicorn", "uvloop", "httptools", "websockets", "httpx", "multiprocessing"}
SELDOM = {"starlette.staticfiles", "starlette.routing", "starlette.testclient", "starlette.templating"}
BATTERIES = {"opentelemetry", "prometheus_client", "pydantic", "sqlite3"}
OWN = {"kvik._serving.serve", "kvik._traces.spans", "kvik._metrics.exposition", "kvik.testing"}
AWS = {"boto3", "botocore", "s3transfer"}
NOBODYS = SERVERS | SELDOM | BATTERIES | OWN | AWS | {"kvik._logs.log_terminal"}
AN_APPS = {"structlog", "starlette.websockets", "kvik._container", "kvik._lifecycle", "kvik._requests.entrance"}

UNUSED = {
    "import kvik": NOBODYS | AN_APPS,
    "import kvik; kvik.App()": NOBODYS,
    "import kvik_sqlite": {"kvik", "starlette", "structlog", "msgspec"},
    "import kvik_dynamodb": {"kvik", "starlette", "structlog", "boto3", "s3transfer", "multiprocessing"},
}


@pytest.mark.parametrize(("statements", "unused"), UNUSED.items(), ids=UNUSED)
def test_an_import_brings_nothing_that_it_does_not_need(statements: str, unused: set[str]) -> None:
    """What only some services need, or only one with an app, or a running one, is imported by those."""
    listing = f"{statements}; import sys; print(*sys.modules)"
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it imports, too
    run = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True, env=own)
    assert not unused & set(run.stdout.split())


MODULES = """
import dataclasses, sys
from kvik import App, Context, KeyNotFound, MemoryStore, Response

app = App()
app.add_kv_store(MemoryStore())
at_start = set()

@app.on_start
def remember(ctx):
    at_start.update(sys.modules)

@dataclasses.dataclass
class Person:
    name: str

@app.get("/values/{key}")
async def value(ctx):
    return await ctx.kv_store.get(ctx.path_param("key"))

@app.post("/people")
async def add(ctx):
    person = await ctx.bind(Person)
    await ctx.kv_store.set(person.name, "there")
    return Response(person, headers={"X-Name": person.name})

@app.get("/threads/{number:int}")
def in_a_thread(ctx):
    ctx.logger.info("in a thread", number=ctx.path_param("number"))

@app.get("/imported")
async def imported(ctx):
    return sorted(set(sys.modules) - at_start)

app.run()
"""


def test_no_request_waits_for_an_import(tmp_path: Path) -> None:
    """All that serving JSON, forms, keys, threads and errors takes is imported when the app has started."""
    main = tmp_path / "main.py"
    main.write_text(MODULES, encoding="utf-8")
    with program(main, tmp_path) as running, running.client() as client:
        assert client.post("/people", json={"name": "joe"}).status_code == 201
        assert client.post("/people", data={"name": "ada"}).status_code == 201
        assert client.get("/values/ada?x=1").status_code == 200
        assert client.get("/values/nobody").status_code == 404
        assert client.get("/threads/1").status_code == 200
        assert client.get("/.well-known/health").status_code == 200
        assert client.options("/values/x").status_code == 200
        assert client.get("/nowhere").status_code == 404
        assert client.get("/imported").json()["data"] == []


IMPORTS_OF_THE_LOOP = """
import sys, threading
from kvik import App, File, Stream
from starlette.responses import FileResponse

app = App()
app.add_static_files("/static", ".")
imported = []

@app.on_start
async def watch(ctx):
    loop = threading.get_ident()

    def note(event, args):
        if event == "import" and threading.get_ident() == loop:
            imported.append(args[0])

    sys.addaudithook(note)

@app.get("/file")
async def file(ctx):
    return File("main.py")

@app.get("/starlettes")
async def starlettes(ctx):
    return FileResponse("main.py")

@app.get("/stream")
async def stream(ctx):
    async def pieces():
        yield "piece"
    return Stream(pieces())

@app.post("/upload")
async def upload(ctx):
    form = await ctx.bind(dict)
    return len(await form["file"].read())

@app.get("/imported")
async def names(ctx):
    return [name for name in imported if name.startswith("anyio")]

app.run()
"""

LARGE = b"x" * (2 * 1024 * 1024)
FIRST_REQUESTS: dict[str, dict[str, Any]] = {
    "a file": {"method": "GET", "url": "/file"},
    "a file of Starlette's": {"method": "GET", "url": "/starlettes"},
    "a static file": {"method": "GET", "url": "/static/main.py"},
    "a stream": {"method": "GET", "url": "/stream"},
    "a large upload": {"method": "POST", "url": "/upload", "files": {"file": LARGE}},
}


@pytest.mark.parametrize("first", FIRST_REQUESTS.values(), ids=FIRST_REQUESTS)
def test_the_first_file_keeps_no_other_request_waiting(tmp_path: Path, first: dict[str, Any]) -> None:
    """What only files, streams and uploads need is imported with the first of them, but by a thread."""
    main = tmp_path / "main.py"
    main.write_text(IMPORTS_OF_THE_LOOP, encoding="utf-8")
    with program(main, tmp_path) as running, running.client() as client:
        assert client.request(**first).is_success
        assert client.get("/imported").json()["data"] == []
