"""The page's program, over each store, through the README's own curl lines."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import httpx
import pytest

from moto_server import moto_server
from support import Program, answers_as_shown, calls_in, curl, free_port, program, until

from .main import app

HERE = Path(__file__).parent
CALLS = calls_in(HERE / "README.md")


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("on_sqlite")
    with program(HERE / "main.py", folder, SQLITE_PATH=str(folder / "kvik.db")) as running:
        yield running


@pytest.fixture
def on_dynamodb(tmp_path: Path, dynamodb_endpoint: str, table_name: str) -> Iterator[Program]:
    settings = {"DYNAMODB_TABLE": table_name, "DYNAMODB_ENDPOINT": dynamodb_endpoint}
    with program(HERE / "main.py", tmp_path, **settings) as running:
        yield running


def test_the_readmes_lines_on_sqlite(on_sqlite: Program) -> None:
    """Each curl line of the README answers on SQLite what the README shows."""
    assert CALLS
    with on_sqlite.client() as client:
        for words, shown in CALLS:
            assert answers_as_shown(curl(client, words), shown), words


def test_the_readmes_lines_on_dynamodb(on_dynamodb: Program, dynamodb_endpoint: str, table_name: str) -> None:
    """Each curl line answers the same on DynamoDB, and health tells table and region."""
    with on_dynamodb.client() as client:
        for words, shown in CALLS:
            assert answers_as_shown(curl(client, words), shown), words
        details = {"region": "us-east-1", "table": table_name}
        assert client.get("/health").json() == {"data": {"status": "UP", "details": details}}
        client.post("/dynamodb?key=k")
    raw = boto3.client("dynamodb", endpoint_url=dynamodb_endpoint, region_name="us-east-1")
    (item,) = raw.scan(
        TableName=table_name, FilterExpression="pk = :k", ExpressionAttributeValues={":k": {"S": "k"}}
    )["Items"]
    raw.close()
    assert {name: [*value] for name, value in item.items()} == {"pk": ["S"], "value": ["S"], "kvik_w": ["S"]}
    stored = json.loads(item["value"]["S"])
    assert [*stored] == ["name", "email", "created", "timestamp"]
    assert (stored["name"], stored["email"]) == ("John Doe", "john@example.com")


def test_the_handlers_in_memory() -> None:
    """The handlers do not know their store: in memory, without a server, they answer the same."""
    with app.testing() as client:
        stored = client.post("/dynamodb?key=k")
        read = client.get("/dynamodb/k")
        deleted = client.delete("/dynamodb/k")
        missing = client.get("/dynamodb/k")
    assert (stored.status_code, stored.json()) == (201, {"data": {"status": "data stored", "key": "k"}})
    assert (read.status_code, read.json()["data"]["email"]) == (200, "john@example.com")
    assert deleted.json() == {"data": {"status": "data deleted", "key": "k"}}
    assert (missing.status_code, missing.json()) == (404, {"error": {"message": "key not found"}})


@pytest.mark.parametrize("key", ["a/b", "a b", "😀", "%2F", "x" * 2048])
def test_any_key_works_when_percent_encoded(key: str, on_sqlite: Program) -> None:
    """Slash, space and emoji are part of the key."""
    path = httpx.URL("/dynamodb/").raw_path.decode() + "".join(f"%{byte:02X}" for byte in key.encode())
    with on_sqlite.client() as client:
        stored = client.post("/dynamodb", params={"key": key})
        assert (stored.status_code, stored.json()["data"]["key"]) == (201, key)
        assert client.get(path).json()["data"]["name"] == "John Doe"
        assert client.delete(path).json() == {"data": {"status": "data deleted", "key": key}}
        assert client.get(path).status_code == 404


def test_an_over_long_key_is_refused(on_sqlite: Program) -> None:
    """A key of more than 2048 bytes is a 400 that tells the limit."""
    with on_sqlite.client() as client:
        answer = client.post("/dynamodb", params={"key": "x" * 2049})
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": {"message": "key is 2049 bytes of UTF-8; at most 2048 are possible"}},
    )


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """SIGKILL in the middle of 1000 POSTs: after the restart every acknowledged key is there."""
    database = str(tmp_path / "kvik.db")
    acknowledged: list[str] = []
    enough = threading.Event()

    with program(HERE / "main.py", tmp_path, SQLITE_PATH=database) as running, running.client() as client:

        def post(number: int) -> None:
            try:
                if client.post(f"/dynamodb?key=key-{number}").status_code == 201:
                    acknowledged.append(f"key-{number}")
            except httpx.TransportError:
                return  # the process is gone
            if len(acknowledged) >= 100:
                enough.set()

        with ThreadPoolExecutor(16) as threads:
            threads.map(post, range(1000))
            assert enough.wait(60)
            running.kill()
    assert 100 <= len(acknowledged) < 1000
    with program(HERE / "main.py", tmp_path, SQLITE_PATH=database) as running, running.client() as client:
        missing = [key for key in acknowledged if client.get(f"/dynamodb/{key}").status_code != 200]
    assert missing == []


def test_it_recovers_by_itself_when_dynamodb_comes(tmp_path: Path, table_name: str) -> None:
    """An app that started without its DynamoDB serves from it as soon as it is there."""
    port = free_port()
    settings = {"DYNAMODB_TABLE": table_name, "DYNAMODB_ENDPOINT": f"http://127.0.0.1:{port}"}
    with program(HERE / "main.py", tmp_path, **settings) as running, running.client() as client:
        assert client.get("/.well-known/ready").status_code == 503
        with moto_server(port):
            until(lambda: client.get("/.well-known/ready").status_code == 200, running.output)
            assert client.post("/dynamodb?key=k").status_code == 201
            assert client.get("/dynamodb/k").status_code == 200


def test_an_unreachable_dynamodb_does_not_keep_the_app_from_starting(tmp_path: Path) -> None:
    """The app starts, says it in one ERROR line, is DOWN, and answers 503 in general words."""
    settings = {"DYNAMODB_TABLE": "absent", "DYNAMODB_ENDPOINT": "http://127.0.0.1:9"}
    with program(HERE / "main.py", tmp_path, **settings) as running, running.client() as client:
        health = client.get("/health").json()["data"]
        answer = client.get("/dynamodb/k")
        report = client.get("/.well-known/health").json()["data"]
        ready = client.get("/.well-known/ready")
        lines = [event for event in running.events if event["level"] == "ERROR" and event["message"] != "request"]
    assert health == {"status": "DOWN", "details": {"error": "network", "region": "us-east-1", "table": "absent"}}
    assert (answer.status_code, answer.json()) == (503, {"error": {"message": "key-value store unavailable"}})
    assert (report["status"], report["kv-store"]["status"], ready.status_code) == ("DEGRADED", "DOWN", 503)
    assert [line["message"] for line in lines] == ["store.unavailable", "request.failed"]
    assert "http://127.0.0.1:9" in lines[0]["error"]
