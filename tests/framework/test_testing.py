"""`kvik.testing`: an app called in the test's process, over stores that the test brings."""

import asyncio
import functools
import json
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import RedirectResponse

import kvik.testing
from kvik import App, Context, MemoryStore
from kvik.testing import TestClient


class Journal(MemoryStore):
    """A store that writes down when it is connected and closed."""

    def __init__(self, name: str, lines: list[str]) -> None:
        super().__init__()
        self.name = name
        self.lines = lines

    async def connect(self) -> None:
        self.lines.append(f"connect {self.name}")

    async def close(self) -> None:
        self.lines.append(f"close {self.name}")


class Broken(MemoryStore):
    """A store that is out of order."""

    async def get(self, key: str) -> str | None:
        raise ConnectionRefusedError("nobody listens")


def _notes(*stores: object) -> App:
    """Make an app that keeps a note by name, in its first store, and counts in the others."""
    app = App()
    for store, name in zip(stores, ("default", "sessions"), strict=False):
        app.add_kv_store(store, name=name)

    @app.put("/notes/{name}")
    async def write(ctx: Context) -> None:
        await ctx.kv_store.set(ctx.path_param("name"), await ctx.bind(str))

    @app.get("/notes/{name}")
    async def read(ctx: Context) -> str:
        return await ctx.kv_store.get(ctx.path_param("name"))

    @app.get("/sessions/{name}")
    async def session(ctx: Context) -> str:
        return await ctx.kv_stores["sessions"].get(ctx.path_param("name"))

    return app


# TestClient


def test_the_app_starts_and_stops_with_the_block() -> None:
    """Stores and hooks start before the block's first line and stop after its last, without a port."""
    lines: list[str] = []
    app = _notes(Journal("db", lines))

    @app.on_start
    async def start(_: Context) -> None:
        lines.append("start")

    @app.on_stop
    def stop(_: Context) -> None:
        lines.append("stop")

    with TestClient(app) as client:
        lines.append(f"answer {client.put('/notes/a', json='b').status_code}")
    assert lines == ["connect db", "start", "answer 200", "stop", "close db"]


def test_answers_are_those_of_production() -> None:
    """Bodies, headers and the path as it was sent are what a server on a port would give."""
    with TestClient(_notes(MemoryStore())) as client:
        written = client.put("/notes/a%2Fb%20%F0%9F%94%91", json="x")
        read = client.get("/notes/a%2Fb%20%F0%9F%94%91")
        missing = client.get("/notes/a/b")
    assert (written.status_code, written.content) == (200, b"{}\n")
    assert (read.content, read.headers["content-type"]) == (b'{"data":"x"}\n', "application/json")
    assert len(read.headers["x-correlation-id"]) == 32
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "route not registered")


def test_a_handlers_exception_is_a_500_and_its_stack_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception does not reach the test: the answer is production's, and the log tells the rest."""
    app = App()

    @app.get("/")
    async def fail(_: Context) -> None:
        raise ZeroDivisionError("by nought")

    with TestClient(app) as client:
        answer = client.get("/")
    assert (answer.status_code, answer.json()) == (500, {"error": {"message": "Internal Server Error"}})
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines() if "request.failed" in line)
    assert "ZeroDivisionError: by nought" in line["exception"]


def test_plain_handlers_run_in_threads() -> None:
    """A `def` handler works as in production, with `ctx.wait`."""
    app = App()
    app.add_kv_store(MemoryStore())

    @app.get("/")
    def thread(ctx: Context) -> list[str]:
        ctx.wait(ctx.kv_store.set("k", "v"))
        return [threading.current_thread().name.partition("_")[0], ctx.wait(ctx.kv_store.get("k"))]

    with TestClient(app) as client:
        assert client.get("/").json() == {"data": ["kvik-handler", "v"]}


def test_a_failed_start_is_raised_into_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a start hook raises, the block is not entered, and standard logging is as it was."""
    app = App()

    @app.on_start
    async def start(_: Context) -> None:
        raise ValueError("no seed")

    handlers = logging.getLogger().handlers[:]
    with pytest.raises(RuntimeError, match="the app did not start"), TestClient(app):
        pytest.fail("the block was entered")
    assert "ValueError: no seed" in capsys.readouterr().err
    assert logging.getLogger().handlers == handlers


def test_a_request_outside_of_the_block_is_refused() -> None:
    """Without a started app there is no answer, but an error that says how to write it."""
    client = TestClient(_notes(MemoryStore()))
    with pytest.raises(RuntimeError, match=r"with TestClient\(app\) as client"):
        client.get("/notes/a")


def test_one_app_runs_one_after_another_but_not_twice_at_once() -> None:
    """A client in a client of the same app is refused, and leaves the outer one at work; then it runs again."""
    app = _notes(MemoryStore())
    with TestClient(app) as client:
        client.put("/notes/a", json="b")
        with pytest.raises(RuntimeError, match="the app runs already"), TestClient(app):
            pytest.fail("the block was entered")
        assert client.get("/notes/a").json() == {"data": "b"}
    with TestClient(app) as client:
        assert client.get("/notes/a").json() == {"data": "b"}


def test_headers_go_with_every_request() -> None:
    """`headers` are for what each request of a test has, such as who asks."""
    app = App()

    @app.get("/who")
    async def who(ctx: Context) -> str:
        return ctx.header("authorization")

    with TestClient(app, headers={"Authorization": "Bearer x"}) as client:
        assert client.get("/who").json() == {"data": "Bearer x"}


@pytest.mark.parametrize(("follow", "status"), [(True, 200), (False, 302)])
def test_a_redirect_is_followed_unless_the_test_wants_to_see_it(status: int, *, follow: bool) -> None:
    """`follow_redirects` decides for the client, True by default."""
    app = App()

    @app.get("/old")
    async def old(_: Context) -> RedirectResponse:
        return RedirectResponse("/new", 302)

    @app.get("/new")
    async def new(_: Context) -> None:
        pass

    with TestClient(app, follow_redirects=follow) as client:
        assert client.get("/old").status_code == status
    with TestClient(app) as client:
        assert client.get("/old").status_code == 200


def test_another_asgi_app_can_be_around_it() -> None:
    """Whatever speaks ASGI can be tested, such as an app inside a middleware."""
    app = _notes(MemoryStore())

    async def teapot(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with TestClient(teapot) as client:
        assert client.get("/").status_code == 418


def test_pytest_does_not_collect_the_client() -> None:
    """A test module that imports TestClient has no tests by that."""
    assert TestClient.__test__ is False


def test_without_httpx2_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, importing kvik.testing raises an ImportError with the command to type."""
    for name in [name for name in sys.modules if name.startswith("kvik.testing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ImportError, match=r'pip install "kvik\[testing\]"'):
        __import__("kvik.testing")


def test_what_kvik_testing_offers() -> None:
    """Each exported name exists and none is hidden."""
    module = type(kvik)
    public = {
        name for name, value in vars(kvik.testing).items() if name[0] != "_" and not isinstance(value, module)
    }
    assert public == set(kvik.testing.__all__)


# app.testing


def test_a_given_store_takes_the_place_of_the_apps_own() -> None:
    """Handlers work on the test's store, which holds what they wrote; the app's own is never connected."""
    lines: list[str] = []
    store = MemoryStore()
    with _notes(Journal("real", lines)).testing(kv_store=store) as client:
        client.put("/notes/a", json="b")
    assert asyncio.run(store.get("a")) == "b"
    assert lines == []


def test_what_the_test_put_into_the_store_is_there() -> None:
    """A store that is prepared before the block answers from its first line on."""
    store = MemoryStore()
    asyncio.run(store.set("a", "b"))
    with _notes(MemoryStore()).testing(kv_store=store) as client:
        assert client.get("/notes/a").json() == {"data": "b"}


def test_a_given_store_is_connected_and_closed() -> None:
    """A store of the test's starts and stops with the app, as a real one."""
    lines: list[str] = []
    with _notes(MemoryStore()).testing(kv_store=Journal("given", lines)):
        assert lines == ["connect given"]
    assert lines == ["connect given", "close given"]


def test_stores_are_given_by_name() -> None:
    """`kv_stores` takes the place of named stores, and of the default one by its name too."""
    default, sessions = MemoryStore(), MemoryStore()
    asyncio.run(sessions.set("a", "ada"))
    asyncio.run(default.set("a", "note"))
    app = _notes(Broken(), Broken())
    with app.testing(kv_store=default, kv_stores={"sessions": sessions}) as client:
        assert client.get("/sessions/a").json() == {"data": "ada"}
    with app.testing(kv_stores={"default": default}) as client:
        assert client.get("/notes/a").json() == {"data": "note"}


def test_a_store_that_is_not_named_is_an_empty_one_in_memory() -> None:
    """No store of the app's own is ever reached, not even by a test that forgot one."""
    lines: list[str] = []
    app = _notes(Journal("notes", lines), Journal("sessions", lines))
    for _ in range(2):
        with app.testing() as client:
            assert client.get("/notes/a").status_code == 404
            assert client.put("/notes/a", json="b").status_code == 200
            assert client.get("/sessions/a").status_code == 404
    assert lines == []


def test_the_apps_own_stores_are_back_after_the_block() -> None:
    """After the block the app runs on its own stores, also when the test failed."""
    own = MemoryStore()
    asyncio.run(own.set("a", "own"))
    app = _notes(own)

    def failing_test() -> None:
        with app.testing() as client:
            assert client.get("/notes/a").status_code == 200, "the test fails"

    with pytest.raises(AssertionError, match="the test fails"):
        failing_test()
    with TestClient(app) as client:
        assert client.get("/notes/a").json() == {"data": "own"}


def test_a_start_that_fails_gives_the_stores_back() -> None:
    """Also when the app does not start, its own stores are back."""
    own = MemoryStore()
    asyncio.run(own.set("a", "own"))
    app = _notes(own)
    seeds = iter([False, True])

    @app.on_start
    async def start(_: Context) -> None:
        if not next(seeds):
            raise ValueError("no seed")

    with pytest.raises(RuntimeError, match="the app did not start"), app.testing():
        pytest.fail("the block was entered")
    with TestClient(app) as client:
        assert client.get("/notes/a").json() == {"data": "own"}


def test_testing_inside_of_testing_is_refused() -> None:
    """An app cannot be tested twice at once; the outer test keeps its store."""
    store = MemoryStore()
    asyncio.run(store.set("a", "outer"))
    app = _notes(MemoryStore())
    with app.testing(kv_store=store) as client:
        with pytest.raises(RuntimeError, match="the app runs already"), app.testing():
            pytest.fail("the block was entered")
        assert client.get("/notes/a").json() == {"data": "outer"}


def test_two_apps_are_tested_at_once() -> None:
    """Each app has its own stores, so that one may call the other in a test."""
    with _notes(MemoryStore()).testing() as one, _notes(MemoryStore()).testing() as other:
        one.put("/notes/a", json="b")
        assert (one.get("/notes/a").status_code, other.get("/notes/a").status_code) == (200, 404)


def test_health_has_the_apps_names_and_the_given_stores_answers() -> None:
    """The report names the stores as in production, and asks those that the test gave."""

    class Down(MemoryStore):
        async def health_check(self) -> Any:
            return {"status": "DOWN", "details": {"error": "unplugged"}}

    app = _notes(MemoryStore(), MemoryStore())
    with app.testing(kv_stores={"sessions": Down()}) as client:
        down = client.get("/.well-known/health").json()["data"]
    with app.testing() as client:
        up = client.get("/.well-known/health").json()["data"]
    assert (down["kv-store"]["status"], down["kv-store:sessions"]["details"]) == (
        "UP",
        {"error": "unplugged"},
    )
    assert (up["kv-store:sessions"]["status"], up["status"]) == ("UP", "UP")


def test_a_broken_store_shows_how_the_app_fails() -> None:
    """A store of the test's may fail, and the app answers as in production."""
    with _notes(MemoryStore()).testing(kv_store=Broken()) as client:
        answer = client.get("/notes/a")
    assert (answer.status_code, answer.json()) == (503, {"error": {"message": "key-value store unavailable"}})


@pytest.mark.parametrize(
    ("app", "given", "problem"),
    [
        (
            functools.partial(_notes, MemoryStore()),
            {"kv_stores": {"session": MemoryStore()}},
            "there is no key-value store named 'session' to be replaced; the app has 'default'",
        ),
        (
            App,
            {"kv_store": MemoryStore()},
            "there is no key-value store named 'default' to be replaced; the app has none",
        ),
    ],
    ids=["misspelt", "none"],
)
def test_a_name_that_the_app_has_not_is_an_error(app: Any, given: Any, problem: str) -> None:
    """A store is put in the place of one that there is, and the error names those."""
    with pytest.raises(LookupError, match=problem), app().testing(**given):
        pytest.fail("the block was entered")


def test_what_is_no_store_is_an_error() -> None:
    """The test's store is checked as one of the app's is."""
    with (
        pytest.raises(TypeError, match="dict is not a key-value store"),
        _notes(MemoryStore()).testing(kv_store={}),
    ):
        pytest.fail("the block was entered")


def test_an_app_without_stores_can_be_tested_so_too() -> None:
    """`app.testing()` is a TestClient where there is nothing to be replaced."""
    with App().testing() as client:
        assert client.get("/.well-known/alive").json() == {"data": {"status": "UP"}}


def test_threads_of_a_plain_store_end_with_the_block() -> None:
    """A plain store that a test gave leaves no thread behind."""

    class Plain:
        def get(self, key: str) -> str | None:
            return key

        def set(self, key: str, value: str) -> None:
            pass

        def delete(self, key: str) -> None:
            pass

        def health_check(self) -> dict[str, str]:
            return {"status": "UP"}

    with _notes(MemoryStore()).testing(kv_store=Plain()) as client:
        assert client.get("/notes/a").json() == {"data": "a"}
    left = [thread for thread in threading.enumerate() if thread.name.startswith("kvik-store-default")]
    for thread in left:
        thread.join(30)
    assert not [thread for thread in left if thread.is_alive()]


def test_configuration_is_read_when_the_app_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test that wants other settings sets them before it makes the app."""
    monkeypatch.setenv("APP_NAME", "tested")
    app = App(config_folder=tmp_path)
    monkeypatch.setenv("APP_NAME", "later")
    with app.testing() as client:
        assert client.get("/.well-known/health").json()["data"]["name"] == "tested"
    assert os.environ["APP_NAME"] == "later"


# The page


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """docs/testing.md, put into one file, is a test module whose every test passes under pytest."""
    page = (Path(__file__).parent.parent.parent / "docs/testing.md").read_text(encoding="utf-8")
    module = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    (tmp_path / "test_page.py").write_text(module, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    run = subprocess.run([*command, "test_page.py"], cwd=tmp_path, capture_output=True, check=False, text=True)
    assert f"{module.count('def test_')} passed" in run.stdout, run.stdout
    assert not (tmp_path / "greetings.db").exists(), "the app's own store was connected"
