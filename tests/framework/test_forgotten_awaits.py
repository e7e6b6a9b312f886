"""A coroutine that nobody awaited: an ERROR line that names the handler, and what to write."""

import asyncio
import json
import subprocess
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from kvik import App, Context, MemoryStore
from support import START_TIMEOUT, serving

pytestmark = pytest.mark.usefixtures("both_protocols")

# mypy: disable-error-code="unused-coroutine, unused-awaitable"

_FORGOTTEN: dict[str, Callable[[Context], object]] = {
    "KV.set": lambda ctx: ctx.kv_store.set("k", "v"),
    "KV.get": lambda ctx: ctx.kv_store.get("k"),
    "KV.delete": lambda ctx: ctx.kv_store.namespace("n").delete("k"),
    "KV.increment": lambda ctx: ctx.kv_store.increment("k"),
    "KV.update": lambda ctx: ctx.kv_store.typed(int).update("k", lambda _: 1),
    "KV.set_many": lambda ctx: ctx.kv_store.set_many({"k": "v"}),
    "Context.bind": lambda ctx: ctx.bind(dict),
    "Context.body": lambda ctx: ctx.body(),
    "own": lambda _: own(),
}


async def own() -> None:
    """Stand for a coroutine function of the user's."""


def _errors(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    output = capsys.readouterr()
    assert "RuntimeWarning" not in output.err
    return [line for line in map(json.loads, output.err.splitlines()) if line["message"] == "await.forgotten"]


@pytest.mark.parametrize("call", _FORGOTTEN)
@pytest.mark.parametrize("kind", ["async def", "async def, kept", "def"])
async def test_a_forgotten_await_is_an_error_line(
    call: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names handler and call, each time, in the request's trace; what to write depends on the handler."""
    app = App()
    app.add_kv_store(MemoryStore())
    forget = _FORGOTTEN[call]

    async def save(ctx: Context) -> str:
        forget(ctx)
        return "saved"

    async def save_kept(ctx: Context) -> str:
        kept = forget(ctx)
        return "saved" if kept else ""

    def save_plainly(ctx: Context) -> str:
        forget(ctx)
        return "saved"

    handler: Any = {"async def": save, "async def, kept": save_kept, "def": save_plainly}[kind]
    app.post("/notes")(handler)
    async with serving(app) as client:
        answers = [await client.post("/notes") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"data": "saved"}] * 2
    lines = _errors(capsys)
    assert [(line["level"], line["handler"], line["call"]) for line in lines] == [
        ("ERROR", handler.__name__, call)
    ] * 2
    remedy = "ctx.wait(…)" if kind == "def" else "write await"
    assert all(
        f"{call} was called without await in handler `{handler.__name__}`" in line["problem"] for line in lines
    )
    assert all(remedy in line["problem"] for line in lines)
    assert [line["trace_id"] for line in lines] == [answer.headers["x-correlation-id"] for answer in answers]
    if kind != "async def, kept":
        assert all(Path(__file__).name in line["line"] for line in lines)


async def test_a_handler_that_returns_a_coroutine_gets_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    """A coroutine in the result, at the top or within, is a 500 whose line names the handler and says await."""
    app = App()
    app.add_kv_store(MemoryStore())

    @app.get("/top")
    async def top(ctx: Context) -> Awaitable[str]:
        return ctx.kv_store.get("k")

    @app.get("/within")
    async def within(ctx: Context) -> object:
        return {"value": ctx.kv_store.get("k")}

    async with serving(app) as client:
        for path in ("/top", "/within"):
            assert (await client.get(path)).status_code == 500
    lines = [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if "error" in line]
    remedy = "which has no JSON form: write `await` before the call of KV.get"
    assert [line["error"] for line in lines] == [
        f"handler `top` returned coroutine, {remedy}",
        f"handler `within` returned dict, in which `$.value` is coroutine, {remedy}",
    ]


async def test_hooks_and_background_work_are_named_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A start hook, a stop hook and a background function that forget an await are named like a handler."""
    app = App()
    app.add_kv_store(MemoryStore())

    @app.on_start
    async def warm_up(ctx: Context) -> None:
        ctx.kv_store.set("k", "v")

    @app.on_stop
    async def say_goodbye(ctx: Context) -> None:
        ctx.kv_store.delete("k")

    async def send_mail(ctx: Context) -> None:
        ctx.kv_store.get("k")

    @app.get("/")
    async def handler(ctx: Context) -> None:
        ctx.background(send_mail, ctx)

    @app.websocket("/chat")
    async def chat(ctx: Context) -> None:
        await ctx.websocket.accept()
        ctx.websocket.send_text("hello")

    async with serving(app) as client:
        await client.get("/")
        await asyncio.sleep(0.05)
        async with connect(f"ws://127.0.0.1:{client.base_url.port}/chat", proxy=None):
            pass
    assert [(line["handler"], line["call"]) for line in _errors(capsys)] == [
        ("warm_up", "KV.set"),
        ("send_mail", "KV.get"),
        ("chat", "WebSocket.send_text"),
        ("say_goodbye", "KV.delete"),
    ]


async def test_other_warnings_are_left_alone_and_all_is_as_before_at_the_end() -> None:
    """The process's warnings are shown as ever, and an app that has stopped leaves no trace in them."""
    filters, shown = warnings.filters[:], warnings.showwarning
    app, other = App(), App()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with serving(app), serving(other):
            warnings.warn("mine", UserWarning, stacklevel=1)
        own()
    assert [str(warning.message) for warning in caught] == ["mine", "coroutine 'own' was never awaited"]
    assert (warnings.filters[:], warnings.showwarning) == (filters, shown)


@pytest.mark.parametrize("option", ["error", "ignore", "default"])
def test_what_python_is_told_of_warnings_does_not_matter(option: str, tmp_path: Path) -> None:
    """Under `-W error`, which makes it an error that nothing catches, and `-W ignore` the line is the same."""
    (tmp_path / "main.py").write_text(
        "from kvik import App, MemoryStore\nfrom kvik.testing import TestClient\n"
        "app = App()\napp.add_kv_store(MemoryStore())\n"
        "@app.get('/')\nasync def forgetful(ctx):\n    ctx.kv_store.set('k', 'v')\n"
        "with TestClient(app) as client:\n    client.get('/')\n    client.get('/')\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", option, "main.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert [(line["message"], line["handler"]) for line in lines] == [("await.forgotten", "forgetful")] * 2
    assert lines[0]["line"].endswith("main.py:7")
