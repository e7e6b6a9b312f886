"""Health: what a check may answer, that it is limited whatever it does, and a user's own checks in the report."""

import asyncio
import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kvik import KV, App, Health, MemoryStore
from kvik._health_details import HIDDEN
from kvik.health import CHECK_TIMEOUT, LimitedCheck
from kvik.testing import TestClient
from kvik_sqlite import SQLite
from support import eventually, program, serving


class Plain:
    """A store with `def` methods, whose health check holds its thread until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.checks = 0

    def get(self, key: str) -> str | None:
        return key

    def set(self, key: str, value: str) -> None:
        pass

    def delete(self, key: str) -> None:
        pass

    def health_check(self) -> Mapping[str, Any]:
        self.checks += 1
        self.let_go.wait(20)
        return {"status": "UP"}


@pytest.fixture
def plain() -> Iterator[Plain]:
    store = Plain()
    yield store
    store.let_go.set()


class Hanging(MemoryStore):
    """A store whose health check waits for what never comes."""

    async def health_check(self) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}


def _app_with(name: str, check: Callable[[], Any]) -> App:
    app = App()
    app.add_health_check(name, check)
    return app


async def _report_of(app: App) -> Any:
    async with serving(app) as client:
        return (await client.get("/.well-known/health")).json()["data"]


def _check_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "kvik-health"}


# Checks that hang


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_store_whose_check_hangs_is_down_after_its_time(
    kind: str, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report does not wait for it, over real HTTP, and says timeout."""
    monkeypatch.setattr("kvik.health.CHECK_TIMEOUT", 0.1)
    app = App()
    app.add_kv_store(Hanging() if kind == "async def" else plain)
    async with serving(app) as client:
        health = await client.get("/.well-known/health")
    assert (health.status_code, health.json()["data"]["status"]) == (200, "DEGRADED")
    assert health.json()["data"]["kv-store"] == {"status": "DOWN", "details": {"error": "timeout"}}


def test_that_time_leaves_the_report_two_seconds() -> None:
    """As the documentation promises, with something left for the rest of the work."""
    assert CHECK_TIMEOUT < 1.9


async def test_the_app_serves_on_while_a_check_hangs(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other requests are answered while the report waits for a plain check that holds its thread."""
    monkeypatch.setattr("kvik.health.CHECK_TIMEOUT", 60)
    app = App()
    app.add_kv_store(plain)
    async with serving(app) as client:
        asked = asyncio.create_task(client.get("/.well-known/health"))
        await eventually(lambda: plain.checks)
        assert (await client.get("/.well-known/alive")).status_code == 200
        assert not asked.done()
        plain.let_go.set()
        assert (await asked).json()["data"]["status"] == "UP"


async def test_a_plain_check_that_hangs_holds_one_thread(monkeypatch: pytest.MonkeyPatch, plain: Plain) -> None:
    """However often it is asked, a check that has not returned is not called again, until it has."""
    monkeypatch.setattr("kvik.health.CHECK_TIMEOUT", 0.05)
    before = _check_threads()
    kv = KV(plain)
    answers = [await kv.health_check() for _ in range(20)]
    assert answers == [Health("DOWN", {"error": "timeout"})] * 20
    assert (plain.checks, len(_check_threads() - before)) == (1, 1)
    plain.let_go.set()
    while (await kv.health_check()).status == "DOWN":
        await asyncio.sleep(0.01)
    assert plain.checks == 2


async def test_a_plain_check_that_hangs_takes_no_thread_from_the_store(
    monkeypatch: pytest.MonkeyPatch, plain: Plain
) -> None:
    """A plain driver works on while its check hangs, even if it has a single thread."""
    monkeypatch.setattr("kvik.health.CHECK_TIMEOUT", 0.05)
    monkeypatch.setattr("kvik._kv.driver.DRIVER_THREADS", 1)
    kv = KV(plain)
    assert (await kv.health_check()).status == "DOWN"
    assert await asyncio.wait_for(kv.get("k"), 10) == "k"
    await kv.close()


def test_a_plain_check_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    """A program whose check holds its thread ends at SIGTERM all the same, with status 0."""
    main = tmp_path / "main.py"
    main.write_text(
        "import time\n"
        "from kvik import App, health\n"
        "health.CHECK_TIMEOUT = 0.1\n"
        "app = App()\n"
        "app.add_health_check('disk', lambda: time.sleep(60))\n"
        "app.run()\n"
    )
    with program(main, tmp_path) as running, running.client() as client:
        disk = client.get("/.well-known/health").json()["data"]["disk"]
        client.close()
        status = running.terminate()
    assert disk == {"status": "DOWN", "details": {"error": "timeout"}}
    assert status == 0


async def test_a_check_that_refuses_to_be_cancelled_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that swallows its cancellation keeps nobody waiting."""
    monkeypatch.setattr("kvik.health.CHECK_TIMEOUT", 0.05)
    stop = asyncio.Event()

    async def check() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    limited = LimitedCheck(check)
    assert await asyncio.wait_for(limited(), 10) == Health("DOWN", {"error": "timeout"})
    assert await asyncio.wait_for(limited(), 10) == Health("DOWN", {"error": "timeout"})
    stop.set()
    await asyncio.sleep(0.01)


# Concurrent callers


async def test_who_asks_while_a_check_runs_shares_it() -> None:
    """Concurrent calls of a store's check are one call of the driver's."""
    checks = 0

    class Counting(MemoryStore):
        async def health_check(self) -> Mapping[str, Any]:
            nonlocal checks
            checks += 1
            await asyncio.sleep(0.02)
            return {"status": "UP", "details": {"check": checks}}

    kv = KV(Counting())
    assert await asyncio.gather(*(kv.health_check() for _ in range(9))) == [Health("UP", {"check": 1})] * 9
    assert await kv.health_check() == Health("UP", {"check": 2})


async def test_a_caller_who_goes_away_does_not_end_the_check_of_the_others() -> None:
    """Cancelling one of two that share a check leaves the other its answer."""
    begun, end = asyncio.Event(), asyncio.Event()

    async def slow() -> bool:
        begun.set()
        await end.wait()
        return True

    limited = LimitedCheck(slow, read=lambda answer: Health("UP", {"answer": answer}))
    first, second = asyncio.create_task(limited()), asyncio.create_task(limited())
    await begun.wait()
    first.cancel()
    end.set()
    assert await second == Health("UP", {"answer": True})
    assert first.cancelled()


# Own checks


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Health("UP", {"lag": 3}), {"status": "UP", "details": {"lag": 3}}),
        (Health("DOWN"), {"status": "DOWN", "details": {}}),
        ({"status": "UP", "details": {"b": 1, "a": 2}}, {"status": "UP", "details": {"a": 2, "b": 1}}),
        ({"status": "DOWN"}, {"status": "DOWN", "details": {}}),
        (True, {"status": "UP", "details": {}}),
        (False, {"status": "DOWN", "details": {}}),
        (None, {"status": "UP", "details": {}}),
        ("PONG", {"status": "DOWN", "details": {"error": "the health check gave neither UP nor DOWN"}}),
        ({"status": "ok"}, {"status": "DOWN", "details": {"error": "the health check gave neither UP nor DOWN"}}),
        (Health("UP", {1: "a", "b": 2}), {"status": "UP", "details": {"1": "a", "b": 2}}),  # type: ignore[dict-item]  # a user's mistake
        (
            Health("UP", {"at": object()}),
            {"status": "UP", "details": {"error": "the details cannot be encoded as JSON"}},
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) and "details" in value else repr(value)[:40],
)
@pytest.mark.parametrize("plain", [False, True], ids=["async def", "def"])
async def test_what_an_own_check_returns(answer: Any, shown: Any, *, plain: bool) -> None:
    """Health, a mapping, a bool and None are understood, alike from `async def` and `def`; else it is DOWN."""

    async def check() -> Any:
        return answer

    report = await _report_of(_app_with("queue", (lambda: answer) if plain else check))
    assert report == {
        "name": "kvik-app",
        "queue": shown,
        "status": "UP" if shown["status"] == "UP" else "DEGRADED",
        "version": "dev",
    }


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError("10.0.0.1 refused"), "ConnectionRefusedError"),
        (TimeoutError("10.0.0.1 is slow"), "timeout"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_check_that_raises_is_down_with_the_class_of_its_cause(error: BaseException, cause: str) -> None:
    """What a check raises is named in the report, without its text."""

    async def check() -> None:
        raise error

    report = await _report_of(_app_with("queue", check))
    assert report["queue"] == {"status": "DOWN", "details": {"error": cause}}


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ({"file": "/data/app.db"}, {"file": "…/app.db"}),
        ({"url": "sqlite:////data/app.db"}, {"url": "…/app.db"}),
        ({"at": r"C:\data\app.db"}, {"at": "…/app.db"}),
        ({"at": "opened ~/data/app.db twice"}, {"at": "opened …/app.db twice"}),
        ({"disks": [{"path": "/data/x"}]}, {"disks": [{"path": "…/x"}]}),
        ({"url": "https://ann:hush@db.example:5432/x?password=hush"}, {"url": "https://db.example:5432/x"}),
        ({"dsn": "host=db password=hush"}, {"dsn": "host=db password=…"}),
        ({"api_key": "hush", "token": {"a": "hush"}}, {"api_key": "…", "token": "…"}),
        ({"error": "cannot open /data/app.db: hush"}, {"error": HIDDEN}),
        ({"last_exception": "boom: hush"}, {"last_exception": HIDDEN}),
        ({"error": "ConnectionRefusedError"}, {"error": "ConnectionRefusedError"}),
        ({"error": "network"}, {"error": "network"}),
        (
            {"region": "us-east-1", "table": "my-table", "lag": 3},
            {"region": "us-east-1", "table": "my-table", "lag": 3},
        ),
        ({"arn": "arn:aws:dynamodb:us-east-1:1:table/t"}, {"arn": "arn:aws:dynamodb:us-east-1:1:table/t"}),
    ],
    ids=repr,
)
async def test_details_name_no_path_no_credentials_and_no_text_of_an_error(
    detail: dict[str, Any], shown: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The report asks nobody for credentials, so it says what all may know; the log has an error's text."""

    class Down(MemoryStore):
        async def health_check(self) -> Any:
            return {"status": "DOWN", "details": detail}

    app = _app_with("queue", lambda: {"status": "DOWN", "details": detail})
    app.add_kv_store(Down())
    async with serving(app) as client:
        body = (await client.get("/.well-known/health")).json()["data"]
        ready = (await client.get("/.well-known/ready")).json()["data"]
    assert body["queue"]["details"] == body["kv-store"]["details"] == shown
    assert ready == body
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [line for line in lines if line["message"] == "health.down"]
    if HIDDEN in shown.values():
        assert {line["check"]: line["details"] for line in told} == {"queue": detail, "kv-store": detail}
        assert len(told) == 2
    else:
        assert told == []


async def test_a_sqlite_file_that_is_gone_is_down_without_its_path(tmp_path: Path) -> None:
    """SQLite's own details name the whole path, the report the file's name alone."""
    path = tmp_path / "app.db"
    app = App()
    app.add_kv_store(SQLite(path))
    async with serving(app) as client:
        up = await client.get("/.well-known/health")
        path.unlink()
        app._container.health.forget()  # noqa: SLF001 - rather than wait 5 s
        down = await client.get("/.well-known/health")
    assert (up.json()["data"]["status"], down.json()["data"]["status"]) == ("UP", "DEGRADED")
    assert str(tmp_path) not in up.text + down.text
    assert up.json()["data"]["kv-store"]["details"]["path"] == "…/app.db"


async def test_details_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With HEALTH_DETAILS=false the report has names and statuses alone, and counts them as before."""
    monkeypatch.setenv("HEALTH_DETAILS", "false")
    app = _app_with("queue", lambda: {"status": "DOWN", "details": {"lag": 3}})
    app.add_kv_store(MemoryStore())
    assert await _report_of(app) == {
        "kv-store": {"status": "UP"},
        "queue": {"status": "DOWN"},
        "name": "kvik-app",
        "status": "DEGRADED",
        "version": "dev",
    }


async def test_a_plain_check_that_raises_is_down_too() -> None:
    """An exception in a check's thread is named as one on the loop is."""

    def check() -> None:
        raise ConnectionRefusedError("10.0.0.1 refused")

    report = await _report_of(_app_with("queue", check))
    assert report["queue"] == {"status": "DOWN", "details": {"error": "ConnectionRefusedError"}}


async def test_an_own_check_that_is_down_makes_the_app_not_ready() -> None:
    """An own check counts for readiness, as a store does."""
    async with serving(_app_with("queue", lambda: False)) as client:
        ready = await client.get("/.well-known/ready")
    assert ready.status_code == 503
    assert ready.json()["data"]["queue"] == {"status": "DOWN", "details": {}}


async def test_a_plain_check_runs_off_the_event_loop() -> None:
    """A `def` check runs in a thread of its own, and an awaitable that it gives is awaited on the loop."""
    threads: list[str] = []

    def check() -> Any:
        threads.append(threading.current_thread().name)
        return awaited()

    async def awaited() -> bool:
        threads.append(threading.current_thread().name)
        return True

    report = await _report_of(_app_with("queue", check))
    assert report["queue"]["status"] == "UP"
    assert threads == ["kvik-health", threading.current_thread().name]


@pytest.mark.parametrize("name", ["", "name", "status", "version", "kv-store", "kv-store:sessions"])
def test_a_name_of_the_reports_own_is_refused(name: str) -> None:
    """A check cannot be named as what the report has itself, nor as a store."""
    with pytest.raises(ValueError, match="a health check cannot be named"):
        App().add_health_check(name, lambda: True)


def test_a_name_that_is_taken_is_refused() -> None:
    """Two checks cannot have one name."""
    app = _app_with("queue", lambda: True)
    with pytest.raises(ValueError, match="there is a health check named 'queue' already"):
        app.add_health_check("queue", lambda: True)


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("ping", "a health check is a function without arguments, not str"),
        (lambda ctx: ctx, "must take no argument"),
    ],
    ids=["no function", "an argument"],
)
def test_a_check_that_cannot_be_called_is_refused(check: Any, problem: str) -> None:
    """What cannot be called without arguments is refused when it is added."""
    with pytest.raises(TypeError, match=problem):
        App().add_health_check("queue", check)


def test_bound_arguments_and_builtins_will_do() -> None:
    """A partial with its arguments, and a builtin that does not tell its signature, are checks too."""
    app = _app_with("partial", functools.partial(dict, status="UP"))
    app.add_health_check("builtin", dict)
    with TestClient(app) as client:
        report = client.get("/.well-known/health").json()["data"]
    assert (report["partial"]["status"], report["builtin"]["status"]) == ("UP", "DOWN")


def test_an_app_that_starts_again_asks_again() -> None:
    """The answers that were kept end with the run of the app."""
    answers = iter([True, False])
    app = _app_with("queue", lambda: next(answers))
    seen: list[str] = []
    for _ in range(2):
        with TestClient(app) as client:
            client.get("/.well-known/health")
            seen.append(client.get("/.well-known/health").json()["data"]["queue"]["status"])
    assert seen == ["UP", "DOWN"]
