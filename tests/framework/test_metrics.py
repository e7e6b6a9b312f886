"""Metrics: what is exported, under which labels, where, and the program's own."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kvik import App, Context, MemoryStore, Metrics
from kvik.metrics import MOST_LABEL_SETS
from kvik.testing import TestClient
from support import START_TIMEOUT, free_port, program, serving


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "WARNING")


@pytest.fixture
def app() -> App:
    app = App()
    app.add_kv_store(MemoryStore())
    app.mount("/metrics", app.metrics_app)

    @app.get("/keys/{key}")
    async def get(ctx: Context) -> object:
        return await ctx.kv_store.get(ctx.path_param("key"), None)

    return app


@contextlib.contextmanager
def _taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def _parse(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _value(text: str, name: str, **labels: str) -> float:
    """Give the sum of the samples that have these labels, and perhaps others."""
    return sum(
        value for (sample, own), value in _parse(text).items() if sample == name and labels.items() <= set(own)
    )


def _labels(text: str, name: str, label: str) -> set[str]:
    return {dict(own).get(label, "") for sample, own in _parse(text) if sample == name}


def _own(metrics: Metrics, name: str, **labels: str) -> list[float]:
    """Give the values of a metric of the program's own as they are held."""
    (family,) = [family for family in metrics._families() if family.name == name]
    return dict(family.series)[tuple(sorted(labels.items()))]


async def _request(app: App, method: str, path: str) -> None:
    """Call the app without a server, which would refuse some of the methods, and a client, which is slow."""
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        pass

    await app(scope, receive, send)


# What is exported


def test_all_names_are_there(app: App) -> None:
    """Prometheus' own parser finds every metric that the dashboard is made of."""
    with TestClient(app) as client:
        client.get("/keys/a")
        families = {
            family.name: family.type for family in text_string_to_metric_families(client.get("/metrics").text)
        }
    assert {
        "app_info": "gauge",
        "app_http_response": "histogram",
        "app_http_in_flight": "gauge",
        "app_kv_operation_duration_seconds": "histogram",
        "process_cpu_seconds": "counter",
        "process_resident_memory_bytes": "gauge",
        "process_open_fds": "gauge",
        "python_info": "gauge",
        "python_gc_collections": "counter",
    }.items() <= families.items()


def test_the_app_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """`app_info` has the names and versions of the app and of the framework as its labels."""
    monkeypatch.setenv("APP_NAME", "shop")
    monkeypatch.setenv("APP_VERSION", "1.2.3")
    shop = App()
    shop.mount("/metrics", shop.metrics_app)
    with TestClient(shop) as client:
        text = client.get("/metrics").text
    assert _value(text, "app_info", app_name="shop", app_version="1.2.3") == 1
    assert _labels(text, "app_info", "framework_version") != {""}


def test_a_request_counts_under_its_template(app: App) -> None:
    """Whatever stands in the place of a parameter, the label is the route's path."""
    with TestClient(app) as client:
        for key in ("a", "b", "c"):
            client.get(f"/keys/{key}")
        text = client.get("/metrics").text
    labels = {"path": "/keys/{key}", "method": "GET", "status": "200"}
    assert _value(text, "app_http_response_count", **labels) == 3
    assert _value(text, "app_http_response_bucket", **labels, le="+Inf") == 3
    assert 0 < _value(text, "app_http_response_sum", **labels) < 3


def test_a_mounted_app_counts_as_one(app: App) -> None:
    """Requests below a mount, whatever is there, count under the mount's path."""
    with TestClient(app) as client:
        client.get("/metrics/x")
        client.get("/metrics/y")
        text = client.get("/metrics").text
    assert _value(text, "app_http_response_count", path="/metrics/{mounted:path}") == 2


async def test_3000_unknown_paths_share_a_label(app: App) -> None:
    """Paths that no route has, however many, add one label value."""
    for number in range(3_000):
        await _request(app, "GET", f"/made/up/{number}")
    with TestClient(app) as client:
        text = client.get("/metrics").text
    assert _value(text, "app_http_response_count", path="unmatched", status="404") == 3_000
    assert _labels(text, "app_http_response_count", "path") == {"unmatched"}


async def test_unknown_methods_share_a_label(app: App) -> None:
    """Methods that HTTP does not have, however many, add one label value."""
    for number in range(100):
        await _request(app, f"MADEUP{number}", "/keys/a")
    with TestClient(app) as client:
        text = client.get("/metrics").text
    assert _labels(text, "app_http_response_count", "method") == {"other"}


def test_unknown_statuses_share_a_label(app: App) -> None:
    """Statuses that HTTP does not have, as a mounted app may send, are a 500 and so add one label value."""

    async def odd(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=int(scope["path"].rpartition("/")[2]))(scope, receive, send)

    app.mount("/status", odd)
    with TestClient(app) as client:
        for number in range(700, 720):
            client.get(f"/status/{number}")
        text = client.get("/metrics").text
    assert _labels(text, "app_http_response_count", "status") == {"500"}


async def test_3000_keys_add_no_label(app: App) -> None:
    """An operation's labels are the store, its driver, the operation and the outcome, whatever the key."""
    for number in range(3_000):
        await _request(app, "GET", f"/keys/{number}")
    with TestClient(app) as client:
        text = client.get("/metrics").text
    name = "app_kv_operation_duration_seconds_count"
    assert {own for sample, own in _parse(text) if sample == name} == {
        frozenset({"store": "default", "driver": "MemoryStore", "operation": "get", "outcome": "ok"}.items())
    }
    assert _value(text, name) == 3_000


class _Failing(MemoryStore):
    async def get(self, key: str) -> str | None:
        raise ConnectionError

    async def set(self, key: str, value: str) -> None:
        await asyncio.sleep(60)


async def test_a_failed_operation_has_its_errors_code(app: App) -> None:
    """The outcome of an operation that failed is the code of the KVError."""
    app.add_kv_store(_Failing(), name="failing")

    @app.get("/fail")
    async def fail(ctx: Context) -> object:
        return await ctx.kv_stores["failing"].get("k")

    with TestClient(app) as client:
        client.get("/fail")
        text = client.get("/metrics").text
    name = "app_kv_operation_duration_seconds_count"
    assert _labels(text, name, "outcome") == {"unavailable"}
    assert _labels(text, name, "store") == {"failing"}


def test_a_cancelled_operation_is_no_success(app: App) -> None:
    """The outcome of an operation that its caller gave up is `cancelled`."""
    app.add_kv_store(_Failing(), name="failing")

    @app.get("/give-up")
    async def give_up(ctx: Context) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await ctx.kv_stores["failing"].set("k", "v")

    with TestClient(app) as client:
        client.get("/give-up")
        text = client.get("/metrics").text
    assert _labels(text, "app_kv_operation_duration_seconds_count", "outcome") == {"cancelled"}


def test_requests_in_flight_are_counted(app: App) -> None:
    """The gauge shows the requests that are being worked on, the scrape of a mounted app among them."""
    with TestClient(app) as client:
        client.get("/keys/a")
        assert _value(client.get("/metrics").text, "app_http_in_flight") == 1


def test_openmetrics_is_given_to_who_asks_for_it(app: App) -> None:
    """The Accept header decides about the format, and one that makes no sense is no error."""
    with TestClient(app) as client:
        answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")
        odd = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=x.y"})
        assert odd.status_code == 200


def test_only_reading_is_allowed(app: App) -> None:
    """POST is answered 405."""
    with TestClient(app) as client:
        assert client.post("/metrics").status_code == 405


def test_apps_of_one_process_count_for_themselves() -> None:
    """Each app has its own metrics, also the program's own, and names do not collide."""
    apps = [App(), App()]
    for app in apps:
        app.metrics.new_counter("orders", "Orders.")
        app.mount("/metrics", app.metrics_app)
    apps[0].metrics.increment_counter("orders")
    with TestClient(apps[0]) as first, TestClient(apps[1]) as second:
        assert _value(first.get("/metrics").text, "orders_total") == 1
        assert "orders_total 1" not in second.get("/metrics").text


# The program's own


def test_the_four_verbs(app: App) -> None:
    """Counter, up-down counter, histogram and gauge show what was recorded, with the labels."""
    app.metrics.new_counter("orders", "Orders.")
    app.metrics.new_updown_counter("waiting", "Waiting.")
    app.metrics.new_histogram("size", "Sizes.", 1, 10)
    app.metrics.new_gauge("level", "Level.")

    @app.get("/record")
    async def record(ctx: Context) -> None:
        ctx.metrics.increment_counter("orders", kind="book")
        ctx.metrics.increment_counter("orders", kind="book")
        ctx.metrics.delta_updown_counter("waiting", 5)
        ctx.metrics.delta_updown_counter("waiting", -2)
        ctx.metrics.record_histogram("size", 10)
        ctx.metrics.record_histogram("size", 11)
        ctx.metrics.set_gauge("level", 7.5, room=1)

    with TestClient(app) as client:
        client.get("/record")
        text = client.get("/metrics").text
    assert _value(text, "orders_total", kind="book") == 2
    assert _value(text, "waiting") == 3
    assert [_value(text, "size_bucket", le=bound) for bound in ("1.0", "10.0", "+Inf")] == [0, 1, 2]
    assert _value(text, "size_sum") == 21
    assert _value(text, "level", room="1") == 7.5


def test_nothing_is_lost_among_threads() -> None:
    """Increments from many threads at once add up exactly."""
    app = App()
    app.metrics.new_counter("orders", "Orders.")

    def count(_: int) -> None:
        for _ in range(5_000):
            app.metrics.increment_counter("orders", kind="book")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(count, range(8)))
    finally:
        sys.setswitchinterval(before)
    assert _own(app.metrics, "orders", kind="book") == [40_000]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (
            lambda metrics: metrics.increment_counter("unknown"),
            "never declared; do so with app.metrics.new_counter",
        ),
        (lambda metrics: metrics.set_gauge("orders", 1), "it is a counter, not a gauge"),
        (lambda metrics: metrics.set_gauge("level", float("nan")), "a value is a finite number"),
        (lambda metrics: metrics.set_gauge("level", "high"), "ValueError in the conversion"),
        (lambda metrics: metrics.set_gauge("level", 1, **{"not a name": 1}), "can have no label 'not a name'"),
        (lambda metrics: metrics.set_gauge("level", 1, worker="me"), "can have no label 'worker'"),
    ],
)
def test_recording_never_fails_a_request(record: Any, problem: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What cannot be recorded is reported as one ERROR, however often it happens."""
    app = App()
    app.metrics.new_counter("orders", "Orders.")
    app.metrics.new_gauge("level", "Level.")
    record(app.metrics)
    record(app.metrics)
    (line,) = capfd.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["level"], event["message"]) == ("ERROR", "metrics.not_recorded")
    assert problem in event["problem"]


@pytest.mark.parametrize("name", ["", "1st", "a b", "ümlaut", "app_info", "app_http_mine", "process_x"])
def test_bad_names_are_refused(name: str) -> None:
    """A name that Prometheus or the framework does not allow is a ValueError where it is declared."""
    with pytest.raises(ValueError, match="name"):
        App().metrics.new_counter(name, "Bad.")


@pytest.mark.parametrize("name", ["orders", "orders_total", "size_count", "size"])
def test_a_name_is_declared_once(name: str) -> None:
    """A name that would be confused with another metric's is a ValueError."""
    metrics = App().metrics
    metrics.new_counter("orders", "Orders.")
    metrics.new_histogram("size", "Sizes.")
    with pytest.raises(ValueError, match="would be confused"):
        metrics.new_gauge(name, "Another.")


def test_the_same_declaration_changes_nothing() -> None:
    """A start hook may declare its metrics each time the app starts."""
    metrics = App().metrics
    for _ in range(2):
        metrics.new_counter("orders", "Orders.")
        metrics.increment_counter("orders")
    assert _own(metrics, "orders") == [2]


def test_buckets_rise() -> None:
    """Bounds that do not rise are a ValueError."""
    with pytest.raises(ValueError, match="rising order"):
        App().metrics.new_histogram("size", "Sizes.", 2, 1)


def test_label_sets_are_bounded(capfd: pytest.CaptureFixture[str]) -> None:
    """Beyond the limit values are recorded under `overflow`, and one ERROR says so."""
    metrics = App().metrics
    metrics.new_counter("orders", "Orders.")
    for number in range(MOST_LABEL_SETS + 5):
        metrics.increment_counter("orders", id=number)
    (family,) = metrics._families()
    assert len(family.series) == MOST_LABEL_SETS + 1
    assert _own(metrics, "orders", overflow="true") == [5]
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "metrics.too_many_label_sets"


def test_any_text_may_be_a_label(app: App) -> None:
    """Line ends, quotes and lone surrogates do not break the page."""
    app.metrics.new_counter("orders", "Orders\nof \ud800 all.")
    app.metrics.increment_counter("orders", kind='a\n"\\\ud800')
    with TestClient(app) as client:
        assert _labels(client.get("/metrics").text, "orders_total", "kind") == {'a\n"\\\\ud800'}


def test_a_driver_gets_the_metrics_before_it_connects() -> None:
    """GoFr's hook `use_metrics` is called, if the driver has it, and what it records is exported."""
    seen = []

    class Reporting(MemoryStore):
        def use_metrics(self, metrics: Metrics) -> None:
            metrics.new_counter("retries", "Retries.")
            seen.append("use_metrics")

        async def connect(self) -> None:
            seen.append("connect")

        async def close(self) -> None:
            seen.append("close")

    app = App()
    app.add_kv_store(Reporting())
    with TestClient(app):
        pass
    assert seen == ["use_metrics", "connect", "close"]
    assert [family.name for family in app.metrics._families()] == ["retries"]


# The port


PROGRAM = """
from kvik import App
app = App()
app.run()
"""


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "main.py"
    path.write_text(PROGRAM)
    return path


def test_the_port_serves_metrics_alone(main: Path, tmp_path: Path) -> None:
    """`/metrics` is on METRICS_PORT, and nothing else is there."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with program(main, tmp_path, METRICS_PORT=str(port), LOG_LEVEL="INFO") as running:
        httpx.get(f"{running.url}/nowhere", trust_env=False, timeout=START_TIMEOUT)
        text = httpx.get(f"{url}/metrics", trust_env=False, timeout=START_TIMEOUT).text
        assert _value(text, "app_http_response_count", path="unmatched") == 1
        assert _value(text, "app_http_in_flight") == 0
        assert httpx.get(f"{url}/.well-known/alive", trust_env=False, timeout=START_TIMEOUT).status_code == 404
        assert running.terminate() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_exits_1(main: Path, workers: str) -> None:
    """Under `app.run()` a METRICS_PORT that cannot be had ends the program, with a line that names it."""
    with _taken_port() as port:
        environ = {"METRICS_PORT": str(port), "HTTP_PORT": "0", "HTTP_HOST": "127.0.0.1", "HTTP_WORKERS": workers}
        run = subprocess.run(
            [sys.executable, str(main)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )
    assert run.returncode == 1
    assert f"metrics port {port} is blocked or unreachable" in run.stderr


async def test_another_server_has_the_port_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under another ASGI server the lifespan opens METRICS_PORT and closes it, as often as the app starts."""
    port = free_port()
    monkeypatch.setenv("METRICS_PORT", str(port))
    monkeypatch.setenv("HTTP_HOST", "127.0.0.1")
    app = App()
    for _ in range(2):
        async with serving(app), httpx.AsyncClient(trust_env=False, timeout=START_TIMEOUT) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
            assert "app_info" in answer.text
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_under_another_server_a_taken_port_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Several workers of another server cannot share the port: who comes late warns once, and serves."""
    with _taken_port() as port:
        monkeypatch.setenv("METRICS_PORT", str(port))
        monkeypatch.setenv("METRICS_HOST", "127.0.0.1")
        async with serving(App()) as client:
            assert (await client.get("/.well-known/alive")).status_code == 200
    captured = capfd.readouterr()
    (event,) = [json.loads(line) for line in (captured.out + captured.err).splitlines()]
    assert event["level"] == "WARNING"
    assert event["message"] == f"metrics port {port} is blocked or unreachable"


def test_a_tests_client_opens_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """METRICS_PORT stays closed, whatever it is."""
    port = free_port()
    monkeypatch.setenv("METRICS_PORT", str(port))
    with TestClient(App()), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
