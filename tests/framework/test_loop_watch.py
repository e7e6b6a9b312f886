"""A step that blocks the event loop: a WARNING with the route, the time and the line of code."""

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from kvik import App, Context
from kvik._requests.loop_watch import LoopWatch
from support import eventually, program, serving, until


def _warnings(output: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == "loop.blocked"]


def _line_of(code: str) -> int:
    return 1 + next(number for number, line in enumerate(Path(__file__).read_text().splitlines()) if code in line)


def _helper(seconds: float) -> None:
    time.sleep(seconds)  # where the helper stands


@pytest.mark.usefixtures("both_protocols")
async def test_a_step_that_blocks_is_a_warning_once_a_minute_for_each_route(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line has route, handler, time, and where the code stood; what waits or runs in a thread has none."""
    app = App()

    @app.get("/block/{id}")
    async def block(_: Context) -> None:
        await asyncio.sleep(0.01)
        time.sleep(0.3)  # noqa: ASYNC251 - where the handler stands

    @app.get("/deep")
    async def deep(_: Context) -> None:
        _helper(0.3)

    @app.get("/wait")
    async def wait(_: Context) -> None:
        await asyncio.sleep(0.3)

    @app.get("/thread")
    def thread(_: Context) -> None:
        time.sleep(0.3)

    @app.get("/short")
    async def short(_: Context) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - it is the subject

    async with serving(app) as client:
        for path in ("/block/1", "/block/2", "/wait", "/thread", "/short", "/short", "/deep"):
            assert (await client.get(path)).status_code == 200
        await asyncio.sleep(0.05)
    first, second = _warnings(capsys.readouterr().out)
    assert (first["level"], first["route"], first["handler"]) == ("WARNING", "GET /block/{id}", "block")
    assert first["code"] == "time.sleep(0.3)  # noqa: ASYNC251 - where the handler stands"
    assert first["line"] == f"{__file__}:{_line_of('# noqa: ASYNC251 - where the handler')}"
    assert 280 <= first["milliseconds"] < 1000
    assert (second["route"], second["handler"]) == ("GET /deep", "deep")
    assert second["line"] == f"{__file__}:{_line_of('# where the helper')}"


@pytest.mark.parametrize(("value", "warns"), [("0", False), ("2s", False), ("20ms", True)])
async def test_how_long_is_too_long_is_configured(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, warns: bool
) -> None:
    """LOOP_BLOCKED_AFTER is the limit, and 0 switches the watch off."""
    monkeypatch.setenv("LOOP_BLOCKED_AFTER", value)
    app = App()

    @app.get("/")
    async def block(_: Context) -> None:
        time.sleep(0.15)  # noqa: ASYNC251 - it is the subject

    async with serving(app) as client:
        await client.get("/")
        await asyncio.sleep(0.05)
    assert bool(_warnings(capsys.readouterr().out)) is warns


@pytest.mark.usefixtures("both_engines")
def test_workers_and_services_watch_their_loop(tmp_path: Path) -> None:
    """Under `app.run()`, in each worker too, the loop is watched."""
    main = tmp_path / "main.py"
    main.write_text(
        "import time\nfrom kvik import App\napp = App()\n"
        "@app.get('/')\nasync def block(ctx):\n    time.sleep(0.3)\n"
        "if __name__ == '__main__':\n    app.run()\n"
    )
    with program(main, tmp_path, HTTP_WORKERS="2") as running:
        httpx.get(running.url, trust_env=False)
        until(lambda: any("route" in line for line in _warnings(running.output)))
    (line,) = [line for line in _warnings(running.output) if "route" in line]  # others tell of a busy machine
    assert (line["route"], line["line"], line["code"]) == ("GET /", f"{main}:6", "time.sleep(0.3)")


async def test_a_minute_later_it_is_told_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A route that still blocks is told of again, and a step that is too long by far before it has ended."""
    monkeypatch.setattr("kvik._requests.loop_watch._BETWEEN_WARNINGS", 0.1)
    monkeypatch.setattr("kvik._requests.loop_watch._LONGEST_WAIT", 0.2)
    app = App()

    @app.get("/")
    async def block(_: Context) -> None:
        time.sleep(0.4)  # noqa: ASYNC251 - it is the subject

    async with serving(app) as client:
        await client.get("/")
        await client.get("/")
    lines = _warnings(capsys.readouterr().out)
    assert len(lines) >= 2
    assert all(line["milliseconds"] < 380 for line in lines)


async def test_the_thread_ends_with_the_app() -> None:
    """Nothing of the watch is left when the app has stopped."""

    def watched() -> bool:
        return any(thread.name == "kvik-loop-watch" for thread in threading.enumerate())

    async with serving(App()):
        assert watched()
    await eventually(lambda: not watched())
    LoopWatch(App().logger, None).start()
    assert not watched()
