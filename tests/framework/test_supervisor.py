"""`app.run()` with HTTP_WORKERS: several processes on one port, and the supervisor that keeps them."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from support import END_TIMEOUT, Program, eventually, program
from support import until as _until

SLEEPY = """
import asyncio, os
from kvik import App
from kvik._serving import supervisor

supervisor._FIRST_DELAY /= 10
os.setpgid(0, 0)  # a process group of its own, as a shell gives to what it starts
app = App()

@app.get("/pid")
async def pid(ctx):
    return os.getpid()

@app.get("/sleep/{seconds}")
async def sleep(ctx):
    os.write(1, b"asleep in %d\\n" % os.getpid())  # one write, which no other process's can come between
    await asyncio.sleep(float(ctx.path_param("seconds")))
    return os.getpid()

@app.get("/held")
async def held(ctx):
    os.write(1, b"asleep in %d\\n" % os.getpid())
    while not os.path.exists("go"):
        await asyncio.sleep(0.05)

@app.on_stop
async def stop(ctx):
    ctx.logger.info("stop hook", pid=os.getpid())

print("before run")
app.run()
print("after run")
"""


@pytest.fixture
def sleepy(tmp_path: Path) -> Path:
    return _program(tmp_path, SLEEPY)


def _program(folder: Path, text: str) -> Path:
    path = folder / "main.py"
    path.write_text(text)
    return path


def _messages(running: Program) -> list[str]:
    return [event["message"] for event in running.events]


def _workers(running: Program, count: int) -> list[int]:
    """Give the pids of the workers, once `count` have been ready since the start."""

    def ready() -> list[int]:
        return [event["pid"] for event in running.events if event["message"] == "worker.ready"]

    _until(lambda: len(ready()) >= count, "the workers are not ready")
    return ready()


def _is_gone(pid: int) -> bool:
    """Tell whether a process has ended and was waited for; False for a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def _call(url: str, path: str) -> str:
    """Make a request on a connection of its own, and return the whole answer, "" where it was not answered."""
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return (await reader.read()).decode()
    except ConnectionError:
        return ""
    finally:
        writer.close()


async def _calls_then(running: Program, path: str, count: int, then: Callable[[], object]) -> list[str]:
    """Make requests, do something when all of them are being worked on, and return the answers."""
    calls = [asyncio.create_task(_call(running.url, path)) for _ in range(count)]
    await eventually(lambda: running.output.count("asleep in") >= count, "the requests have not arrived")
    then()
    return await asyncio.gather(*calls)


def _let_go(program: Path) -> None:
    """Have the requests for /held answered."""
    (program.parent / "go").touch()


def _statuses(answers: list[str]) -> set[str]:
    return {answer[9:12] for answer in answers}


# Serving


async def test_all_workers_serve(sleepy: Path, tmp_path: Path) -> None:
    """Each of the workers, and nobody else, accepts connections on the one port, which is announced once."""
    with program(sleepy, tmp_path, HTTP_WORKERS="2") as running:
        workers = set(_workers(running, 2))
        seen: set[int] = set()
        async with asyncio.timeout(60):
            while not workers <= seen:
                answers = await asyncio.gather(*[_call(running.url, "/pid") for _ in range(20)])
                seen |= {json.loads(answer.partition("\r\n\r\n")[2])["data"] for answer in answers}
        assert seen == workers
        starts = [message for message in _messages(running) if message.startswith("Starting server on port: ")]
        assert len(starts) == 1


def test_workers_share_the_connections_that_come_at_once(sleepy: Path, tmp_path: Path) -> None:
    """Of the connections that a client opens all together, the last worker gets a good part as well."""
    with program(sleepy, tmp_path, HTTP_WORKERS="2") as running:
        _workers(running, 2)
        of_the_last = [min(_shares(running, connections=32, workers=2)) for _ in range(9)]
        assert statistics.median(of_the_last) >= 8


def _shares(running: Program, *, connections: int, workers: int) -> list[int]:
    """Give how many of the connections, opened at once, each worker has."""
    address = httpx.URL(running.url)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(connections)]
        for one in opened:
            one.settimeout(0)
            one.connect_ex((address.host, address.port))
        answering = []
        for one in opened:
            one.settimeout(END_TIMEOUT)
            one.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n")
            answering.append(one.recv(4096).rpartition(b":")[2])
    counts = Counter(answering).values()
    return [*counts, *[0] * (workers - len(counts))]


async def test_a_store_is_connected_in_each_worker(tmp_path: Path) -> None:
    """Two workers share a SQLite file: what they write at the same time is all there, without an error."""
    main = _program(
        tmp_path,
        """
import os
from kvik import App
from kvik_sqlite import SQLite

app = App()
app.add_kv_store(SQLite("shared.db"))

@app.put("/{key}")
async def put(ctx):
    await ctx.kv_store.set(ctx.path_param("key"), str(os.getpid()))

@app.get("/{key}")
async def get(ctx):
    return await ctx.kv_store.get(ctx.path_param("key"))

app.run()
""",
    )
    with program(main, tmp_path, HTTP_WORKERS="2", LOOP_BLOCKED_AFTER="0") as running:
        workers = set(_workers(running, 2))
        writers: set[int] = set()
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=0)
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=60, limits=limits) as client,
        ):
            while writers != workers:
                keys = [f"/k{number}" for number in range(100)]
                puts = await asyncio.gather(*[client.put(key) for key in keys])
                gets = await asyncio.gather(*[client.get(key) for key in keys])
                assert {answer.status_code for answer in puts + gets} == {200}
                writers |= {int(answer.json()["data"]) for answer in gets}
        assert running.terminate() == 0
        assert not [event for event in running.events if event["level"] != "INFO"]


def test_no_main_guard_is_needed(sleepy: Path, tmp_path: Path) -> None:
    """The program runs once, whatever the number of workers, and `app.run()` returns once."""
    with program(sleepy, tmp_path, HTTP_WORKERS="3") as running:
        _workers(running, 3)
        assert running.terminate() == 0
        lines = running.output.splitlines()
    assert (lines.count("before run"), lines.count("after run")) == (1, 1)


def test_what_was_printed_before_is_not_printed_again(tmp_path: Path) -> None:
    """A worker does not inherit lines that the program has printed and that are still buffered."""
    running = _supervise(
        tmp_path,
        """
print("printed before")

def work(channel):
    channel.send(READY)
    return 3
""",
    )
    _delays(running, 1)
    running.kill()
    assert running.output.count("printed before") == 1


def test_without_fork_one_process_serves(tmp_path: Path) -> None:
    """On a platform without fork a WARNING says so, and the app is served by one process."""
    main = _program(
        tmp_path, "import os\nfrom kvik import App\ndel os.fork\napp = App()\napp.run()\nprint('after run')\n"
    )
    with program(main, tmp_path, HTTP_WORKERS="2") as running:
        assert running.terminate() == 0
        (warning,) = [event for event in running.events if event["level"] == "WARNING"]
    assert (warning["message"], warning["http_workers"]) == ("workers.unavailable", 2)
    assert "after run" in running.output


# Stopping


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_answers_200_requests_in_flight(sleepy: Path, tmp_path: Path, workers: int) -> None:
    """200 requests that are being worked on are all answered after SIGTERM; the exit status is 0."""

    def terminate() -> None:
        running.process.terminate()
        _until(lambda: any(message.startswith("Shutting down") for message in _messages(running)), "no stop")
        _let_go(sleepy)

    with program(sleepy, tmp_path, HTTP_WORKERS=str(workers)) as running:
        answers = await _calls_then(running, "/held", 200, terminate)
        assert _statuses(answers) == {"200"}
        assert running.process.wait(END_TIMEOUT) == 0
        messages = _messages(running)
    assert messages.count("Shutting down server with a timeout of 30s") == 1
    assert messages.count("stop hook") == workers
    assert messages[-1] == "Application shutdown complete"


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_outlasts_the_grace_period_is_cut(sleepy: Path, tmp_path: Path, workers: int) -> None:
    """After SHUTDOWN_GRACE_PERIOD requests are answered 503; the program ends in time with status 1."""
    with program(sleepy, tmp_path, HTTP_WORKERS=str(workers), SHUTDOWN_GRACE_PERIOD="300ms") as running:
        answers = await _calls_then(running, "/sleep/60", 20, running.process.terminate)
        assert _statuses(answers) == {"503"}
        assert running.process.wait(END_TIMEOUT) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_the_whole_group_is_one_signal(
    sleepy: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C, and a service manager, signal workers too: they drain although it is forwarded to them besides."""
    with program(sleepy, tmp_path, HTTP_WORKERS="2") as running:
        _workers(running, 2)
        answers = await _calls_then(running, "/sleep/0.4", 20, lambda: os.killpg(running.process.pid, number))
        assert _statuses(answers) == {"200"}
        assert running.process.wait(END_TIMEOUT) == 0
        assert "worker.died" not in _messages(running)


async def test_a_second_signal_ends_all_at_once(sleepy: Path, tmp_path: Path) -> None:
    """The second SIGTERM kills the workers, with what they work on, and the exit status is 1."""

    def twice() -> None:
        running.process.terminate()
        _until(lambda: any(message.startswith("Shutting down") for message in _messages(running)), "no stop")
        running.process.terminate()

    with program(sleepy, tmp_path, HTTP_WORKERS="2") as running:
        workers = _workers(running, 2)
        assert _statuses(await _calls_then(running, "/sleep/60", 4, twice)) == {""}
        assert running.process.wait(END_TIMEOUT) == 1
        assert all(map(_is_gone, workers))
        assert "Application shutdown complete" not in _messages(running)


async def test_nothing_is_accepted_while_the_workers_drain(sleepy: Path, tmp_path: Path) -> None:
    """A new connection is refused while requests are still being answered."""

    def refused() -> bool:
        try:
            socket.create_connection((address.host, address.port), 30).close()
        except ConnectionRefusedError:
            return True
        return False

    def terminate() -> None:
        running.process.terminate()
        _until(refused, "connections are accepted")
        assert _messages(running).count("stop hook") < 2  # one of them may have had nothing to do
        _let_go(sleepy)

    with program(sleepy, tmp_path, HTTP_WORKERS="2") as running:
        address = httpx.URL(running.url)
        _workers(running, 2)
        assert _statuses(await _calls_then(running, "/held", 2, terminate)) == {"200"}


def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    """What has not ended when every step of a stop must be over is killed; the exit status is 1."""
    running = _supervise(
        tmp_path,
        """
def work(channel):
    channel.send(READY)
    time.sleep(60)
    return 0
""",
    )
    workers = _workers(running, 1)
    started = time.monotonic()
    assert running.terminate() == 1
    assert time.monotonic() - started >= 0.3
    assert all(map(_is_gone, workers))
    assert "workers.killed" in _messages(running)


async def test_workers_stop_when_the_supervisor_is_killed(sleepy: Path) -> None:
    """Nobody is left to signal them, but each notices at once, answers what is in flight, and stops in order."""
    environ = {**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", "HTTP_WORKERS": "2"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(sleepy)),
        cwd=sleepy.parent,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines: list[str] = []

    async def read_until(count: int, pattern: str) -> list[str]:
        assert process.stdout is not None
        while len(found := re.findall(pattern, "".join(lines))) < count:
            lines.append((await process.stdout.readline()).decode())
        return found

    calls: list[asyncio.Task[str]] = []
    async with asyncio.timeout(60):
        await read_until(2, "worker.ready")
        (port,) = await read_until(1, r"Starting server on port: (\d+)")
        while len(set(await read_until(len(calls), r"asleep in \d+"))) < 2:  # a burst may all go to one of them
            calls += [asyncio.create_task(_call(f"http://127.0.0.1:{port}", "/held")) for _ in range(5)]
        process.kill()
        await read_until(2, "supervisor.died")
        _let_go(sleepy)
        assert _statuses(await asyncio.gather(*calls)) == {"200"}
        rest = (await process.stdout.read()).decode()  # up to the end of the last process that writes there
        await process.wait()
    assert rest.count("stop hook") == 2
    assert "after run" not in rest


def test_a_signal_that_means_nothing_yet_kills_nobody(sleepy: Path, tmp_path: Path) -> None:
    """SIGUSR1 is forwarded to the workers, and neither they nor the supervisor die of it."""
    with program(sleepy, tmp_path, HTTP_WORKERS="2") as running, running.client() as client:
        _workers(running, 2)
        running.process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        assert client.get("/pid").status_code == 200
        assert running.terminate() == 0
        assert "worker.died" not in _messages(running)


# Replacing


@pytest.mark.parametrize(
    ("number", "cause"), [(signal.SIGKILL, {"signal": "SIGKILL"}), (signal.SIGTERM, {"status": 0})]
)
async def test_a_worker_that_ends_is_replaced(
    sleepy: Path, tmp_path: Path, number: signal.Signals, cause: dict[str, object]
) -> None:
    """It is logged with its pid and its end, leaves no zombie, and another serves in its place."""
    with program(sleepy, tmp_path, HTTP_WORKERS="2") as running:
        victim, other = _workers(running, 2)
        os.kill(victim, number)
        *_, replacement = _workers(running, 3)
        assert _is_gone(victim)
        (death,) = [event for event in running.events if event["message"] == "worker.died"]
        assert {name: death[name] for name in ("level", "pid", *cause)} == {
            "level": "ERROR",
            "pid": victim,
            **cause,
        }
        os.kill(other, signal.SIGSTOP)  # so that only the replacement can answer
        answer = await asyncio.wait_for(_call(running.url, "/pid"), 60)
        os.kill(other, signal.SIGCONT)
        assert answer.endswith(f'{{"data":{replacement}}}\n')
        assert running.terminate() == 0


def test_the_next_replacement_waits_twice_as_long(tmp_path: Path) -> None:
    """A worker that dies again and again is replaced after 0.5 s, then 1 s, and so on; the limit is 30 s."""
    running = _supervise(
        tmp_path,
        """
supervisor._FIRST_DELAY /= 50
supervisor._LONGEST_DELAY /= 500

def work(channel):
    channel.send(READY)
    return 3
""",
    )
    assert _delays(running, 5) == [0.01, 0.02, 0.04, 0.06, 0.06]
    running.kill()


def test_a_worker_that_ran_for_a_while_is_replaced_soon(tmp_path: Path) -> None:
    """A death after 30 s of work has nothing to do with the one before: the delay is the first one again."""
    running = _supervise(
        tmp_path,
        """
supervisor._FIRST_DELAY /= 50
supervisor._SETTLED /= 300

def work(channel):
    channel.send(READY)
    time.sleep(0.15)
    return 3
""",
    )
    assert _delays(running, 4) == [0.01] * 4
    running.kill()


def test_a_worker_that_leaves_a_child_behind_is_replaced(tmp_path: Path) -> None:
    """That a process of the worker's own lives on, and holds what it inherited, delays nothing."""
    running = _supervise(
        tmp_path,
        """
supervisor._FIRST_DELAY /= 50

def work(channel):
    channel.send(READY)
    if os.fork() == 0:
        time.sleep(1)
    return 3
""",
    )
    assert _delays(running, 2) == [0.01, 0.02]
    running.kill()


def test_a_fork_that_fails_is_tried_again(tmp_path: Path) -> None:
    """A machine that has no room for another process for a moment does not end the supervisor."""
    with program(_program(tmp_path, FORK_FAILS.format(nth=3) + SLEEPY), tmp_path, HTTP_WORKERS="2") as running:
        os.kill(_workers(running, 2)[0], signal.SIGKILL)
        _workers(running, 3)
        assert "worker.not_forked" in _messages(running)
        assert running.terminate() == 0


# A start that fails


def test_a_failing_start_hook_exits_1(tmp_path: Path) -> None:
    """Where the workers cannot start, the program ends with status 1 and the stack in the log."""
    status, output = _run(tmp_path, START_HOOK.format(starts_that_fail=[1, 2]))
    assert status == 1
    assert "ZeroDivisionError" in output
    assert "worker.to_be_replaced" not in output


def test_one_worker_that_does_not_start_stops_the_others(tmp_path: Path) -> None:
    """A program of which a part cannot start ends with status 1 rather than do with less."""
    status, output = _run(tmp_path, START_HOOK.format(starts_that_fail=[2]))
    assert status == 1
    assert output.count("ZeroDivisionError") == 1
    assert "workers.not_started" in output
    assert "Application shutdown complete" in output


def test_an_error_of_the_worker_itself_is_logged(tmp_path: Path) -> None:
    """What is raised outside of the app ends the worker with status 1 and its stack in the log, once."""
    running = _supervise(tmp_path, "def work(channel): 1 / 0")
    assert running.process.wait(END_TIMEOUT) == 1
    (failure,) = [event for event in running.events if event["message"] == "worker.failed"]
    assert "ZeroDivisionError" in failure["exception"]


def test_no_process_at_all_exits_1(tmp_path: Path) -> None:
    """Where the first fork fails, so does the start."""
    status, output = _run(tmp_path, FORK_FAILS.format(nth=1) + SLEEPY)
    assert status == 1
    assert "worker.not_forked" in output


def test_a_replacement_that_does_not_start_is_replaced(tmp_path: Path) -> None:
    """Once the program has started, a worker that fails to start is tried again, for the others serve on."""
    main = _program(tmp_path, START_HOOK.format(starts_that_fail=[3]))
    with program(main, tmp_path, HTTP_WORKERS="2") as running:
        os.kill(_workers(running, 2)[0], signal.SIGKILL)
        _workers(running, 3)
        assert _delays(running, 2) == [0.05, 0.1]
        assert running.terminate() == 0


# Programs

START_HOOK = """
import os
from kvik import App
from kvik._serving import supervisor

supervisor._FIRST_DELAY /= 10
app = App()

@app.on_start
async def start(ctx):
    descriptor = os.open("starts", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"+")
    if os.lseek(descriptor, 0, os.SEEK_CUR) in {starts_that_fail}:
        1 / 0

app.run()
"""

FORK_FAILS = """
import errno, itertools, os

fork, numbers = os.fork, itertools.count(1)

def failing_fork():
    if next(numbers) == {nth}:
        raise OSError(errno.EAGAIN, "no more processes")
    return fork()

os.fork = failing_fork
"""

SUPERVISE = """
import os, signal, socket, sys, time
from kvik._serving import supervisor as supervisor
from kvik._logs.logging import Logging
from kvik._serving.supervisor import READY, Supervisor
{work}
sys.exit(
    Supervisor(
        work,
        count=1,
        listener=socket.socket(),
        grace_period=0.2,
        rest_of_stop=0.1,
        logger=Logging("INFO").logger,
        toggle_debug=lambda: None,
    ).run()
)
"""


def _supervise(folder: Path, work: str) -> Program:
    """Run a supervisor by itself, with workers that serve nothing."""
    return Program(_program(folder, SUPERVISE.format(work=work)), folder / "log", {"PYTHONUNBUFFERED": ""})


def _run(folder: Path, text: str) -> tuple[int, str]:
    """Run a program that does not start, and return its exit status and all that it prints."""
    running = Program(_program(folder, text), folder / "log", {"HTTP_WORKERS": "2"})
    return running.process.wait(END_TIMEOUT), running.output


def _delays(running: Program, count: int) -> list[float]:
    """Give the seconds that the supervisor waited before replacements, once there were `count` of them."""

    def logged() -> list[float]:
        return [event["seconds"] for event in running.events if event["message"] == "worker.to_be_replaced"]

    _until(lambda: len(logged()) >= count, "too few deaths")
    return logged()[:count]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stores_that_workers_do_not_share_are_one_warning(workers: str, tmp_path: Path) -> None:
    """Before several workers start, one WARNING names the stores whose data each of them has for itself."""
    main = _program(
        tmp_path,
        "from kvik import App, MemoryStore\n"
        "from kvik.testing.faulty import FaultyStore\n"
        "class Shared(MemoryStore):\n    per_process = False\n"
        "app = App()\n"
        "app.add_kv_store(MemoryStore())\n"
        "app.add_kv_store(Shared(), name='shared')\n"
        "app.add_kv_store(FaultyStore(MemoryStore()), name='wrapped')\n"
        "app.run()\n",
    )
    with program(main, tmp_path, HTTP_WORKERS=workers) as running:
        _until(lambda: "Starting server" in running.output)
        lines = [event for event in running.events if event["level"] == "WARNING"]
    if workers == "1":
        assert lines == []
    else:
        (line,) = lines
        assert (line["message"], line["stores"]) == ("workers.separate_data", ["default", "wrapped"])
        assert "HTTP_WORKERS=1" in line["hint"]


STUCK = """
import faulthandler, os, re, time
from kvik import App
from kvik._serving import supervisor

supervisor._FIRST_DELAY = supervisor._SECOND_CHANCE = 0.05
app = App()

@app.get("/pid")
async def pid(ctx):
    return os.getpid()

@app.get("/sleep")
async def sleep_for_ever(ctx):
    time.sleep(60)

@app.get("/match")
async def match_for_ever(ctx):
    re.match(r"(a+)+$", "a" * 40 + "b")

@app.get("/crash")
async def crash(ctx):
    faulthandler._sigsegv()

@app.get("/drain")
async def drain(ctx):
    import asyncio, signal
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(1)
    return "drained"

app.run()
"""


@pytest.mark.parametrize(("path", "name"), [("/sleep", "SIGABRT"), ("/match", "SIGABRT"), ("/crash", "SIGSEGV")])
async def test_a_worker_that_blocks_or_crashes_is_replaced(tmp_path: Path, path: str, name: str) -> None:
    """After WORKER_TIMEOUT without a turn of its loop it is ended; the log has the stack where it stood."""
    main = _program(tmp_path, STUCK)
    with program(main, tmp_path, HTTP_WORKERS="2", WORKER_TIMEOUT="400ms") as running:
        _workers(running, 2)
        assert await _call(running.url, path) == ""
        assert len(_workers(running, 3)) == 3
        (died,) = [event for event in running.events if event["message"] == "worker.died"]
        assert died["signal"] == name
        assert f'File "{main}", line' in died["stack"]
        assert ("worker.stuck" in _messages(running)) == (name == "SIGABRT")
        assert _statuses([await _call(running.url, "/pid") for _ in range(4)]) == {"200"}
        assert running.terminate() == 0


async def test_a_worker_that_drains_is_not_taken_for_stuck(tmp_path: Path) -> None:
    """Also while it stops, its event loop goes round; nor is an idle one."""
    main = _program(tmp_path, STUCK)
    with program(main, tmp_path, HTTP_WORKERS="2", WORKER_TIMEOUT="200ms") as running:
        _workers(running, 2)
        assert "drained" in await _call(running.url, "/drain")
        assert "worker.stuck" not in _messages(running)
        assert running.terminate() == 0
