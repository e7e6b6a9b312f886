"""The log on a terminal, seen by one: a program under a pseudo-terminal."""

import contextlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import END_TIMEOUT

README = Path(__file__).parents[2] / "README.md"

PROGRAM = """
import os
from kvik import App, MemoryStore
from kvik.errors import HTTPError
from kvik.testing import TestClient

app = App()
app.add_kv_store(MemoryStore())

@app.get("/users/{id}")
async def read(ctx):
    return await ctx.kv_store.get(ctx.path_param("id"))

@app.post("/users/{id}")
async def write(ctx):
    await ctx.kv_store.set(ctx.path_param("id"), "value")
    ctx.logger.info("user.saved", by="somebody else", times=3)

@app.get("/moved")
async def moved(ctx):
    from kvik import Redirect
    return Redirect("/")

@app.get("/broken")
async def broken(ctx):
    raise ValueError("broken\\x1b[2J\\x9b")

with TestClient(app) as client:
    client.post("/users/7", headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    client.get("/users/8?secret")
    client.get("/moved")
    client.get("/broken")
    client.get("/a%1b%5b31mb%0a%c2%9b", headers={"user-agent": "x"})
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    def run(**env: str) -> str:
        main = tmp_path_factory.mktemp("terminal") / "main.py"
        main.write_text(PROGRAM)
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, str(main)],
            stdout=follower,
            stderr=follower,
            cwd=main.parent,
            env={**os.environ, "LOG_LEVEL": "DEBUG", "TERM": "xterm", **env},
        )
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # how a pseudo-terminal says that nobody writes to it any more
            while part := os.read(leader, 4096):
                shown += part
        os.close(leader)
        assert process.wait(END_TIMEOUT) == 0, shown
        return shown.decode().replace("\r\n", "\n")

    return run


@pytest.fixture(scope="module")
def coloured(run: Callable[..., str]) -> str:
    return run()


@pytest.fixture(scope="module")
def plain(coloured: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", coloured)


CLOCK = r"\d\d:\d\d:\d\d\.\d{3}"


def test_a_request_is_one_line_with_its_operations_beneath(plain: str) -> None:
    """Status, method, path, duration and short trace id stand in columns; operations are indented below."""
    expected = (
        rf"{CLOCK}  INFO   user\.saved                       by=\"somebody else\" times=3  4bf92f35\n"
        rf"{CLOCK}  INFO   20[12]  POST    /users/7 {{25}}[ \d.]{{5}} [mµ]s  4bf92f35\n"
        r" {21}└─   set     default \(MemoryStore\) {12}[ \d.]{5} [mµ]s  ok\n"
    )
    assert re.search(expected, plain), plain


def test_the_columns_line_up(plain: str) -> None:
    """The durations of all requests and operations end in one column."""
    rows = [line for line in plain.splitlines() if re.search(r"(GET|POST)  |└─", line)]
    assert len(rows) == 8
    assert len({re.search(r"\d [mµ]s", row).end() for row in rows}) == 1  # type: ignore[union-attr] # or it fails


@pytest.mark.parametrize(("status", "colour"), [(202, 32), (302, 36), (404, 33), (500, 31)])
def test_a_status_is_coloured_by_its_class(coloured: str, status: int, colour: int) -> None:
    """2xx is green, 3xx cyan, 4xx yellow, 5xx red."""
    assert f"\x1b[{colour}m{status}\x1b[0m" in coloured


def test_no_client_commands_the_terminal(coloured: str) -> None:
    """Control characters of a path or an error's text are escaped, in stacks too."""
    assert set(re.findall(r"\x1b\[[^m]*m", coloured)) <= {
        f"\x1b[{code}m" for code in (0, 1, 2, 31, 32, 33, 34, 36)
    }
    assert not re.search("[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f]", coloured)
    assert "/a\\u001b[31mb\\u000a\\u009b" in coloured
    assert "ValueError: broken\\u001b[2J\\u009b" in coloured


def test_no_color_is_obeyed(run: Callable[..., str], plain: str) -> None:
    """With NO_COLOR set there is not one escape sequence, and the layout is the same."""
    without = run(NO_COLOR="1")
    assert "\x1b" not in without
    assert len(without.splitlines()) == len(plain.splitlines())


def test_the_readme_shows_what_is_seen(plain: str) -> None:
    """The sample in the README has the form of the real thing."""
    sample = re.search(r"```text\n(\d\d:.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert sample
    forms = {_form(line) for line in plain.splitlines()}
    for line in sample[1].splitlines():
        assert _form(line) in forms, line


def _form(line: str) -> str:
    """Give a line with all that differs from run to run made alike, columns and all."""
    line = re.sub(CLOCK, "CLOCK", line)
    line = re.sub(r"[ \d.]{5} [mµ]s", "DURATION", line)
    return re.sub(r"  [0-9a-f]{8}$", "  ID", line)
