"""The metrics of several workers: one page, exact sums, and a supervisor that nobody can hold up."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kvik._metrics.families import Family, from_line, merged, to_line
from kvik._metrics.worker_metrics import _CLIENT_TIMEOUT
from support import END_TIMEOUT, START_TIMEOUT, Program, eventually, free_port, program
from support import until as _until

PROGRAM = """
import asyncio, os
from kvik import App
from kvik._metrics import worker_metrics
from kvik._serving import supervisor

worker_metrics._CLIENT_TIMEOUT = float(os.environ.get("CLIENT_TIMEOUT", "30"))
supervisor._FIRST_DELAY /= 10
fork, forks = os.fork, []

def held_fork():
    forks.append(1)
    if len(forks) > 2 and not os.path.exists("go"):
        raise OSError("no more processes for now")
    return fork()

os.fork = held_fork  # no worker is replaced before the test lets it
app = App()
app.metrics.new_counter("orders", "Orders.")
app.metrics.new_histogram("size", "Sizes.", 1, 10)
app.metrics.new_updown_counter("waiting", "Waiting.")
app.metrics.new_gauge("level", "Level.")

@app.get("/work")
async def work(ctx):
    ctx.metrics.increment_counter("orders", kind="book")
    ctx.metrics.record_histogram("size", 5)
    ctx.metrics.delta_updown_counter("waiting", 1)
    ctx.metrics.set_gauge("level", os.getpid())
    return os.getpid()

@app.get("/sleep")
async def sleep(ctx):
    os.write(1, b"asleep\\n")
    while not os.path.exists("go"):
        await asyncio.sleep(0.05)

app.run()
"""


class _Scraped:
    """Hold a page, and look values up in it."""

    def __init__(self, text: str) -> None:
        self._families = list(text_string_to_metric_families(text))

    def values(self, name: str, **labels: str) -> list[float]:
        return [
            sample.value
            for family in self._families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def workers(self, name: str) -> set[str]:
        return {
            sample.labels["worker"]
            for family in self._families
            for sample in family.samples
            if sample.name == name
        }


class _Running:
    """Hold a program with its metrics."""

    def __init__(self, running: Program, port: int, folder: Path) -> None:
        self.program = running
        self._folder = folder
        self.address = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.done = 0  # requests

    def scrape(self) -> _Scraped:
        return _Scraped(httpx.get(self.url, trust_env=False, timeout=START_TIMEOUT).raise_for_status().text)

    def let_go(self) -> None:
        """Have what sleeps answered, and what died replaced."""
        (self._folder / "go").touch()

    def messages(self, message: str) -> list[dict[str, Any]]:
        return [event for event in self.program.events if event["message"] == message]

    def workers(self, count: int) -> list[int]:
        _until(lambda: len(self.messages("worker.ready")) >= count, "the workers are not ready")
        return [event["pid"] for event in self.messages("worker.ready")]

    async def work(self) -> None:
        """Make requests on connections of their own until two workers have answered some."""
        seen: set[int] = set()
        limits = httpx.Limits(max_connections=20, max_keepalive_connections=0)
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(base_url=self.program.url, trust_env=False, timeout=60, limits=limits) as client,
        ):
            while len(seen) < 2:  # a burst may all go to one of them
                answers = await asyncio.gather(*[client.get("/work") for _ in range(100)])
                seen |= {answer.json()["data"] for answer in answers}
                self.done += 100

    async def ask(self, request: bytes) -> bytes:
        """Send bytes to the metrics' port, and give the answer."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), START_TIMEOUT)
        writer.close()
        return answer


@contextlib.contextmanager
def _serving(tmp_path: Path, workers: int = 2, **env: str) -> Iterator[_Running]:
    main = tmp_path / "main.py"
    main.write_text(PROGRAM)
    port = free_port()
    with program(main, tmp_path, HTTP_WORKERS=str(workers), METRICS_PORT=str(port), **env) as running:
        serving = _Running(running, port, tmp_path)
        if workers > 1:
            serving.workers(workers)
        yield serving


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[_Running]:
    """Give a program with two workers that several tests only look at, with requests behind it."""
    with _serving(tmp_path_factory.mktemp("shared"), CLIENT_TIMEOUT="2") as running:
        await running.work()
        yield running


async def test_two_workers_counts_add_up(shared: _Running) -> None:
    """Requests, counters, histograms and up-down counters are the exact sums of both workers'."""
    page = shared.scrape()
    assert page.values("app_http_response_count", path="/work", status="200") == [shared.done]
    assert page.values("orders_total", kind="book") == [shared.done]
    assert page.values("size_bucket", le="10.0") == [shared.done]
    assert page.values("size_sum") == [5 * shared.done]
    assert page.values("waiting") == [shared.done]


async def test_gauges_are_told_apart(shared: _Running) -> None:
    """Gauges and a process's own metrics have the label `worker`, a small number."""
    page = shared.scrape()
    assert sorted(page.values("level")) == sorted(shared.workers(2))
    for name in ("level", "process_cpu_seconds_total", "process_resident_memory_bytes", "python_info"):
        assert page.workers(name) == {"0", "1"}


async def test_the_app_is_named_once(shared: _Running) -> None:
    """`app_info` stands there once, and requests in flight are one sum."""
    page = shared.scrape()
    assert page.values("app_info") == [1]
    assert page.values("app_http_in_flight") == [0]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET /metrics?name=x HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"CONNECT /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"200"),
        (b"GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 17_000, b"431"),
        (b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=x\r\n\r\n", b"200"),
    ],
)
async def test_only_the_metrics_are_served(shared: _Running, request_: bytes, status: bytes) -> None:
    """Whatever is sent, an HTTP answer says what it was, and the connection is closed."""
    answer = await shared.ask(request_)
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_head_has_no_body(shared: _Running) -> None:
    """HEAD is answered like GET, without the page, or the words that refuse it."""
    for target in (b"/metrics", b"/other"):
        answer = await shared.ask(b"HEAD " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: " in head
        assert not body


async def test_silent_clients_hold_nobody_up(shared: _Running) -> None:
    """While connections that send nothing are open, or too many of them, scrapes go on."""
    with contextlib.ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(socket.create_connection(shared.address))
        assert shared.scrape().values("app_info") == [1]
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(shared.address))
    assert shared.scrape().values("app_info") == [1]


async def test_a_silent_client_is_dropped(shared: _Running) -> None:
    """A connection that sends no request is closed after its time."""
    assert _CLIENT_TIMEOUT == 5  # by default
    started = time.monotonic()
    assert await shared.ask(b"GET /met") == b""
    assert time.monotonic() - started > 1.5


async def test_scrapes_at_the_same_time_are_all_answered(shared: _Running) -> None:
    """Several scrapers at once get the same page."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = await asyncio.gather(*[client.get(shared.url, timeout=START_TIMEOUT) for _ in range(10)])
    assert {_Scraped(answer.text).values("orders_total")[0] for answer in answers} == {shared.done}


async def test_a_worker_that_hangs_delays_the_page_by_a_second(tmp_path: Path) -> None:
    """What it said last stands in for its answer."""
    with _serving(tmp_path) as running:
        await running.work()
        assert running.scrape().values("orders_total") == [running.done]
        hanging = running.workers(2)[0]
        os.kill(hanging, signal.SIGSTOP)
        started = time.monotonic()
        assert running.scrape().values("orders_total") == [running.done]
        assert time.monotonic() - started > 0.9
        os.kill(hanging, signal.SIGCONT)
        assert running.scrape().values("orders_total") == [running.done]


async def test_counters_do_not_go_back_when_a_worker_dies(tmp_path: Path) -> None:
    """What a worker that was killed had told stays in the sums, before and after it is replaced."""
    with _serving(tmp_path) as running:
        await running.work()
        assert running.scrape().values("orders_total") == [running.done]
        os.kill(running.workers(2)[0], signal.SIGKILL)
        _until(lambda: running.messages("worker.died"), "no death")
        page = running.scrape()
        assert page.values("orders_total") == [running.done]
        assert len(page.workers("process_open_fds")) == 1
        running.let_go()
        running.workers(3)
        await running.work()
        page = running.scrape()
        assert page.values("orders_total") == [running.done]
        assert page.values("app_http_response_count", path="/work") == [running.done]
        assert page.workers("process_open_fds") == {"0", "1"}


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_answers_200_requests_in_flight_with_metrics_on(tmp_path: Path, workers: int) -> None:
    """200 requests that are being worked on are all answered, scrapes meanwhile too; it exits 0."""
    with _serving(tmp_path, workers) as running:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=running.program.url, trust_env=False, limits=limits) as client:
            calls = [asyncio.create_task(client.get("/sleep", timeout=60)) for _ in range(200)]
            await eventually(lambda: running.program.output.count("asleep") >= 200)
            running.program.process.terminate()
            async with httpx.AsyncClient(trust_env=False, timeout=START_TIMEOUT) as scraper:
                page = _Scraped((await scraper.get(running.url)).text)
            assert page.values("app_http_in_flight") == [200]
            running.let_go()
            assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
        assert running.program.process.wait(END_TIMEOUT) == 0


# The sums by themselves


def _family(merge: Any, value: float, **labels: str) -> Family:
    return Family("name", "Text.", "gauge", merge, (), [(tuple(labels.items()), [value])])


def test_the_dead_are_in_no_gauge() -> None:
    """Of a dead process only sums are kept: what it had in flight is in flight no more."""
    (summed,) = merged([("0", [_family("sum", 1)]), (None, [_family("sum", 2)])])
    (living,) = merged([("0", [_family("living", 1)]), (None, [_family("living", 2)])])
    (each,) = merged([("0", [_family("each", 1)]), (None, [_family("each", 2)])])
    assert [summed.series, living.series] == [[((), [3])], [((), [1])]]
    assert each.series == [((("worker", "0"),), [1])]


def test_a_name_that_means_two_things_is_the_first() -> None:
    """Where processes declare a metric differently, the page stays valid."""
    (family,) = merged([("0", [_family("sum", 1)]), ("1", [_family("each", 2)])])
    assert family.series == [((), [1])]


def test_families_cross_a_line() -> None:
    """Any value and any label arrives as it was, in one line."""
    families = [_family("each", float("inf"), kind="a\nb")]
    line = to_line(families)
    assert (line.count(b"\n"), from_line(line)) == (1, families)
