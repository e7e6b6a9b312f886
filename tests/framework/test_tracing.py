"""Traces: a real collector receives what a real app sends."""

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context as OpenTelemetryContext
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SDKSpan
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from kvik import KV, App, Config, Context, HTTPError, MemoryStore, Stream, Throttled
from kvik._kv.store import OPTIONAL, REQUIRED
from kvik._traces.span_ids import SpanIds
from kvik._traces.trace_target import TargetError, TraceTarget, trace_target
from kvik.config import read_settings
from kvik.testing import TestClient
from support import Basic, Program, eventually, program, serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector:
    """A collector of traces on a free port, which keeps what it is sent and answers with `status`."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Mapping[str, str], bytes]] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.received.append((self.path, dict(self.headers.items()), body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def resources(self) -> list[dict[str, Any]]:
        return [_attributes(sent.resource) for sent in self._requests()]

    @property
    def spans(self) -> list[Span]:
        return [span for batch in self.batches for span in batch]

    @property
    def batches(self) -> list[list[Span]]:
        return [[span for scope in sent.scope_spans for span in scope.spans] for sent in self._requests()]

    def span(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def _requests(self) -> Iterator[Any]:
        for _, _, body in list(self.received):
            yield from ExportTraceServiceRequest.FromString(body).resource_spans


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, args=(0.01,))
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


@pytest.fixture
def app(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> App:
    """Give an app that sends its spans to the collector, at the latest when it stops."""
    monkeypatch.setenv("TRACE_EXPORTER", "otlp")
    monkeypatch.setenv("TRACER_URL", collector.url)
    app = App()
    app.add_kv_store(MemoryStore())

    @app.get("/u/{id}")
    async def user(ctx: Context) -> str:
        ctx.logger.info("looking")
        return await ctx.kv_store.get(ctx.path_param("id"), "nobody")

    return app


def _attributes(holder: Any) -> dict[str, Any]:
    return {
        pair.key: pair.value.int_value if pair.value.HasField("int_value") else pair.value.string_value
        for pair in holder.attributes
    }


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    output = capsys.readouterr()
    return [json.loads(line) for line in (output.out + output.err).splitlines()]


def _settings(**environ: str) -> Any:
    return read_settings(Config("none", environ))[0]


def _slowly(method: Callable[[Any], int]) -> Callable[[Any], int]:
    """Leave other threads time to begin the same."""

    def do(self: Any) -> int:
        time.sleep(0.01)
        return method(self)

    return do


# Requests and operations


@pytest.mark.usefixtures("both_protocols")
async def test_a_request_is_a_span_and_its_operation_a_span_below(
    app: App, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """Server span, key-value span, log lines and X-Correlation-ID are of one trace, with the right parents."""
    async with serving(app) as client:
        response = await client.get("/u/ann")
    server, operation = collector.span("GET /u/{id}"), collector.span("get")
    correlation_id = response.headers["x-correlation-id"]
    assert server.trace_id.hex() == operation.trace_id.hex() == correlation_id
    assert (server.parent_span_id, operation.parent_span_id) == (b"", server.span_id)
    assert (server.kind, operation.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    lines = [line for line in _lines(capsys) if line["message"] in ("looking", "request")]
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [(correlation_id, server.span_id.hex())] * 2


@pytest.mark.usefixtures("both_protocols")
async def test_a_server_span_follows_the_conventions(app: App, collector: Collector) -> None:
    """The stable names for HTTP, and neither the query nor a header beyond those they have a name for."""
    async with serving(app) as client:
        await client.get("/u/ann?token=q", headers={"User-Agent": "me", "Authorization": "a", "Cookie": "c=d"})
        port = client.base_url.port
    assert _attributes(collector.span("GET /u/{id}")) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/u/{id}",
        "url.path": "/u/ann",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": port,
        "client.address": "127.0.0.1",
        "user_agent.original": "me",
    }


async def test_spans_name_the_service(app: App, collector: Collector) -> None:
    """APP_NAME and APP_VERSION stand in the resource."""
    async with serving(app) as client:
        await client.get("/u/ann")
    (resource,) = collector.resources
    assert (resource["service.name"], resource["service.version"]) == ("kvik-app", "dev")


async def test_an_unknown_path_adds_no_name(app: App, collector: Collector) -> None:
    """A request that no route matches is named by its method alone, and a method out of the ordinary is HTTP."""
    async with serving(app) as client:
        await client.get("/nowhere")
        await client.request("PROPFIND", "/u/ann")
    assert "http.route" not in _attributes(collector.span("GET"))
    assert _attributes(collector.span("HTTP"))["http.request.method"] == "_OTHER"


async def test_a_path_that_is_no_text_is_sent_all_the_same(app: App, collector: Collector) -> None:
    """A lone surrogate, which a server may make of a path, does not cost the batch."""
    scope = {"type": "http", "method": "GET", "path": "/\udcff", "headers": [], "query_string": b""}

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(_: Any) -> None: ...

    async with serving(app):
        await app({**scope, "raw_path": b"/x"}, receive, send)
    assert _attributes(collector.span("GET"))["url.path"] == "/\\udcff"


async def test_a_driver_describes_its_store(app: App, collector: Collector) -> None:
    """What a driver states in `trace_attributes` stands in the spans, and the collection in their name."""

    class Table(MemoryStore):
        trace_attributes: Mapping[str, str] = {"db.system.name": "tables", "db.collection.name": "orders"}

    app.add_kv_store(Table(), name="orders")

    @app.get("/order")
    async def order(ctx: Context) -> None:
        await ctx.kv_stores["orders"].delete("k")

    async with serving(app) as client:
        await client.get("/order")
    assert _attributes(collector.span("delete orders")) == {
        "db.system.name": "tables",
        "db.collection.name": "orders",
        "db.operation.name": "delete",
        "kvik.store": "orders",
    }


async def test_a_driver_that_describes_nothing_is_named_by_its_class(app: App, collector: Collector) -> None:
    """`db.system.name` falls back to the class."""
    async with serving(app) as client:
        await client.get("/u/ann")
    assert _attributes(collector.span("get"))["db.system.name"] == "MemoryStore"


async def test_every_operation_of_every_capability_is_a_span(app: App, collector: Collector) -> None:
    """Whatever a driver can do is traced by the name of its method, with and without a namespace and a type."""
    operations = {*REQUIRED, *(verb for verbs in OPTIONAL.values() for verb in verbs)}
    operations -= {"connect", "close", "health_check"}  # the app's own, which belong to no request

    @app.get("/all")
    async def everything(ctx: Context) -> None:
        kv = ctx.kv_store.namespace("n")
        await kv.set("a", "1")
        await kv.set("b", "2", ttl=60)
        await kv.set("c", "3", if_absent=True)
        await kv.increment("a")
        await kv.typed(int).update("b", lambda number: (number or 0) + 1)
        await kv.touch("b", 60)
        await kv.get("a")
        await kv.get_many(["a", "b"])
        await kv.set_many({"d": "4"})
        await kv.delete_many(["d"])
        assert {key async for key in kv.scan()} == {"a", "b", "c"}
        await kv.delete("a")
        await kv.pop("b")

    async with serving(app) as client:
        (await client.get("/all")).raise_for_status()
    server = collector.span("GET /all")
    below = [span for span in collector.spans if span.parent_span_id == server.span_id]
    assert {span.name for span in below} == operations
    assert {_attributes(span)["db.operation.name"] for span in below} == operations
    assert {span.kind for span in below} == {Span.SPAN_KIND_CLIENT}


async def test_operations_of_a_store_without_capabilities_are_spans(app: App, collector: Collector) -> None:
    """What the facade makes of the four methods is traced as the calls of them."""
    app.add_kv_store(Basic(), name="basic")

    @app.get("/many")
    async def many(ctx: Context) -> None:
        kv = ctx.kv_stores["basic"]
        await kv.set_many({"a": "1", "b": "2"})
        await kv.get_many(["a", "b"])

    async with serving(app) as client:
        (await client.get("/many")).raise_for_status()
    assert Counter(span.name for span in collector.spans) == {"GET /many": 1, "set": 2, "get": 2}


@pytest.mark.usefixtures("both_protocols")
@pytest.mark.usefixtures("app")  # which sets where spans go
async def test_probes_can_be_left_out(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TRACE_DISABLE_PROBES=true no probe is a span, nor anything that is done for one; all else is."""
    monkeypatch.setenv("TRACE_DISABLE_PROBES", "true")
    quiet = App()
    quiet.add_kv_store(MemoryStore())

    async def check() -> bool:
        with trace.get_tracer("own").start_as_current_span("check"):
            return await store.get("k", "none") == "none"

    @quiet.get("/u")
    async def user(ctx: Context) -> str:
        return await ctx.kv_store.get("k", "none")

    store = KV(MemoryStore(), observers=quiet._container.observers)  # noqa: SLF001 - the app's, for the test
    quiet.add_health_check("own", check)
    sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with serving(quiet) as client:
        for path in ("alive", "health", "ready"):
            probe = await client.get(f"/.well-known/{path}", headers={"traceparent": sampled})
            assert probe.headers["x-correlation-id"] == sampled[3:35]
        await client.get("/u")
    assert {span.name for span in collector.spans} == {"GET /u", "get"}
    assert len(collector.spans) == 2


async def test_a_driver_is_given_the_tracer_before_it_connects(app: App, collector: Collector) -> None:
    """GoFr's hook use_tracer: spans of a driver's own stand below the operation's."""

    class Own(MemoryStore):
        tracer: trace.Tracer | None = None
        connected_with: trace.Tracer | None = None

        def use_tracer(self, tracer: trace.Tracer) -> None:
            self.tracer = tracer

        async def connect(self) -> None:
            self.connected_with = self.tracer

        async def close(self) -> None:
            """Have nothing to close."""

        async def get(self, key: str) -> str | None:
            assert self.connected_with is not None
            with self.connected_with.start_as_current_span("attempt"):
                return await super().get(key)

    app.add_kv_store(Own(), name="own")

    @app.get("/own")
    async def own(ctx: Context) -> str:
        return await ctx.kv_stores["own"].get("k", "none")

    async with serving(app) as client:
        assert (await client.get("/own")).status_code == 200
    assert collector.span("attempt").parent_span_id == collector.span("get").span_id


async def test_concurrent_requests_do_not_mix(app: App, collector: Collector) -> None:
    """Each operation hangs below the request that asked for it."""

    @app.get("/slow/{n}")
    async def slow(ctx: Context) -> None:
        await asyncio.sleep(0.01)
        with ctx.trace(f"part {ctx.path_param('n')}"):
            await asyncio.sleep(0.01)
            await ctx.kv_store.set("k", "v")

    async with serving(app) as client:
        await asyncio.gather(*(client.get(f"/slow/{n}") for n in range(30)))
    spans = {span.span_id: span for span in collector.spans}
    operations = [span for span in spans.values() if span.name == "set"]
    parts = [spans[span.parent_span_id] for span in operations]
    servers = [spans[part.parent_span_id] for part in parts]
    assert len({server.span_id for server in servers}) == 30
    for part, server in zip(parts, servers, strict=True):
        assert part.trace_id == server.trace_id
        assert _attributes(server)["url.path"] == f"/slow/{part.name.removeprefix('part ')}"


async def test_background_work_stays_in_its_trace(app: App, collector: Collector) -> None:
    """What a handler leaves to the background belongs to the request's trace."""

    @app.post("/later")
    async def later(ctx: Context) -> None:
        ctx.background(ctx.kv_store.set, "k", "v")

    async with serving(app) as client:
        await client.post("/later")
    assert collector.span("set").parent_span_id == collector.span("POST /later").span_id


def test_operations_of_a_websocket_are_of_its_trace(app: App, collector: Collector) -> None:
    """A connection has no span of its own; its operations carry its correlation id."""
    ids = []

    @app.websocket("/ws")
    async def talk(ctx: Context) -> None:
        ids.append(ctx.correlation_id)
        await ctx.kv_store.set("k", "v")
        await ctx.websocket.accept()

    with TestClient(app) as client, client.websocket_connect("/ws"):
        pass
    assert [collector.span("set").trace_id.hex()] == ids


async def test_an_app_that_starts_again_traces_again(app: App, collector: Collector) -> None:
    """Each run sends its spans."""
    for _ in range(2):
        async with serving(app) as client:
            await client.get("/u/ann")
    assert [span.name for span in collector.spans] == ["get", "GET /u/{id}"] * 2


# What a program does with the framework's spans


@pytest.mark.usefixtures("both_protocols")
async def test_the_current_span_takes_what_a_handler_adds(app: App, collector: Collector) -> None:
    """`get_current_span` is the request's span: what is set there is sent with what the framework says of it."""
    other = trace.SpanContext(1, 2, is_remote=True)

    @app.get("/own/{id}")
    async def own(_: Context) -> None:
        await asyncio.sleep(0.01)
        span = trace.get_current_span()
        span.set_attribute("a", 1)
        span.set_attributes({"b": "two"})
        span.add_event("seen", {"c": 3})
        span.add_link(other)
        span.record_exception(KeyError("k"))
        span.set_status(trace.StatusCode.ERROR, "because")
        span.update_name("overruled")

    async with serving(app) as client:
        correlation_id = (await client.get("/own/1")).headers["x-correlation-id"]
    (span,) = collector.spans
    assert (span.name, span.trace_id.hex(), span.kind) == ("GET /own/{id}", correlation_id, Span.SPAN_KIND_SERVER)
    attributes = _attributes(span)
    assert (attributes["a"], attributes["b"], attributes["url.path"]) == (1, "two", "/own/1")
    assert (attributes["http.route"], attributes["http.response.status_code"]) == ("/own/{id}", 200)
    assert [event.name for event in span.events] == ["seen", "exception"]
    assert [link.span_id for link in span.links] == [bytes([0, 0, 0, 0, 0, 0, 0, 2])]
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "because")
    assert span.end_time_unix_nano - span.start_time_unix_nano >= 10_000_000


async def test_the_current_span_keeps_its_ids(
    app: App, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log lines and spans below name the same span, before a handler adds something to it and after."""

    @app.get("/own")
    async def own(ctx: Context) -> None:
        ctx.logger.info("before")
        trace.get_current_span().set_attribute("a", 1)
        ctx.logger.info("after")
        with ctx.trace("part"):
            pass

    async with serving(app) as client:
        await client.get("/own")
    server = collector.span("GET /own")
    lines = [line for line in _lines(capsys) if line["message"] in ("before", "after", "request")]
    assert [line["span_id"] for line in lines] == [server.span_id.hex()] * 3
    assert collector.span("part").parent_span_id == server.span_id


async def test_the_flags_of_a_new_trace_are_the_sdks(app: App) -> None:
    """What goes out as `traceparent` says of a trace what the SDK would say, whoever began it."""
    told: list[trace.TraceFlags] = []

    @app.get("/own")
    async def own(_: Context) -> None:
        export = app._container.tracing._export  # noqa: SLF001 - the global provider is the first app's
        assert export is not None
        by_sdk = export.provider.get_tracer("own").start_span("root", OpenTelemetryContext())
        told.extend(span.get_span_context().trace_flags for span in (trace.get_current_span(), by_sdk))

    async with serving(app) as client:
        await client.get("/own")
    assert told[0] == told[1]


async def test_what_the_sdks_spans_tell_the_current_one_tells(app: App) -> None:
    """Instrumentations read names and attributes off the SDK's spans."""
    told: list[Any] = []

    @app.get("/own")
    async def own(_: Context) -> None:
        span: Any = trace.get_current_span()
        told.extend((span.is_recording(), span.name, span.attributes["url.path"], span.kind))

    async with serving(app) as client:
        await client.get("/own")
    assert told == [True, "GET", "/own", trace.SpanKind.SERVER]


async def test_a_span_that_has_ended_takes_nothing_more(app: App, collector: Collector) -> None:
    """Background work that holds on to the request's span cannot bring it back, nor end it again."""
    spans: list[trace.Span] = []

    @app.get("/own")
    async def own(_: Context) -> None:
        spans.append(trace.get_current_span())

    async with serving(app) as client:
        await client.get("/own")
        (span,) = spans
        assert not span.is_recording()
        span.set_attribute("late", 1)
        span.end()
    assert "late" not in _attributes(collector.span("GET /own"))


async def test_threads_share_the_current_span(
    app: App, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What several threads add to a request's span at once is in the one span that is sent."""
    together = threading.Barrier(4)

    def add(span: trace.Span, number: int) -> None:
        together.wait()
        span.set_attribute(f"n{number}", number)

    @app.get("/own")
    async def own(_: Context) -> None:
        span = trace.get_current_span()
        await asyncio.gather(*(asyncio.to_thread(add, span, number) for number in range(4)))

    monkeypatch.setattr(SpanIds, "generate_span_id", _slowly(SpanIds.generate_span_id))
    async with serving(app) as client:
        await client.get("/own")
    attributes = _attributes(collector.span("GET /own"))
    assert [attributes[f"n{number}"] for number in range(4)] == list(range(4))


async def test_a_processor_of_the_programs_sees_all_spans(app: App, collector: Collector) -> None:
    """Who adds a processor to the provider is shown the SDK's spans, from their begin, and they are sent too."""
    seen: list[tuple[str, str]] = []

    class Own(SpanProcessor):
        def on_start(self, span: SDKSpan, parent_context: Any = None) -> None:
            assert isinstance(span, SDKSpan)
            seen.append(("start", span.name))

        def on_end(self, span: ReadableSpan) -> None:
            seen.append(("end", span.name))

    async with serving(app) as client:
        export = app._container.tracing._export  # noqa: SLF001 - the global provider is the first app's
        assert export is not None
        export.provider.add_span_processor(Own())
        await client.get("/u/ann")
    assert seen == [("start", "GET"), ("start", "get"), ("end", "get"), ("end", "GET /u/{id}")]
    assert [span.name for span in collector.spans] == ["get", "GET /u/{id}"]


async def test_limits_of_the_sdk_count(app: App, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT cuts what the framework records as well."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5")
    async with serving(app) as client:
        await client.get("/u/ann")
    assert _attributes(collector.span("GET /u/{id}"))["url.path"] == "/u/an"


# Errors


async def test_a_failure_marks_the_span(app: App, collector: Collector) -> None:
    """A 500 is status ERROR with the exception's class and stack, and without its text."""

    @app.get("/fail")
    async def fail(_: Context) -> None:
        raise RuntimeError("the secret text")

    async with serving(app) as client:
        await client.get("/fail")
    span = collector.span("GET /fail")
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "")
    assert _attributes(span)["error.type"] == "RuntimeError"
    (event,) = span.events
    stack = _attributes(event)["exception.stacktrace"]
    assert stack.startswith("Traceback (most recent call last):\n  File ")
    assert stack.endswith(", in fail\nRuntimeError\n")


async def test_what_the_client_did_wrong_is_no_failure(app: App, collector: Collector) -> None:
    """A status below 500 leaves the span as it is."""
    async with serving(app) as client:
        await client.get("/nowhere")
    span = collector.span("GET")
    assert _attributes(span)["http.response.status_code"] == 404
    assert (span.status.code, len(span.events)) == (Status.STATUS_CODE_UNSET, 0)


async def test_an_answer_that_breaks_off_marks_the_span(app: App, collector: Collector) -> None:
    """The status was 200 already; the span tells what came of it."""

    @app.get("/stream")
    async def stream(_: Context) -> Stream:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise LookupError

        return Stream(parts())

    async with serving(app) as client:
        with contextlib.suppress(httpx.RemoteProtocolError):
            await client.get("/stream")
    span = collector.span("GET /stream")
    assert (span.status.code, _attributes(span)["error.type"]) == (Status.STATUS_CODE_ERROR, "LookupError")


async def test_a_failed_operation_marks_its_span(app: App, collector: Collector) -> None:
    """The operation's span carries the error's code, and the class of what the driver raised."""

    class Busy(MemoryStore):
        async def get(self, key: str) -> str | None:
            raise ConnectionRefusedError(f"no {key}")

    app.add_kv_store(Busy(), name="busy")

    @app.get("/busy")
    async def busy(ctx: Context) -> str:
        return await ctx.kv_stores["busy"].get("the-key")

    async with serving(app) as client:
        assert (await client.get("/busy")).status_code == 503
    span = collector.span("get")
    assert (span.status.code, _attributes(span)["error.type"]) == (Status.STATUS_CODE_ERROR, "unavailable")
    assert [_attributes(event)["exception.type"] for event in span.events] == ["ConnectionRefusedError"]


async def test_nothing_secret_is_sent(app: App, collector: Collector) -> None:
    """No key, value, query, credential or text of an exception is in what the collector receives."""

    @app.post("/secret")
    async def secret(ctx: Context) -> None:
        await ctx.kv_store.set("hush-key", "hush-value")
        try:
            await ctx.kv_store.get("hush-missing")
        except LookupError as error:
            raise Throttled(f"hush-text {error}") from error

    async with serving(app) as client:
        headers = {"Authorization": "hush-token", "Cookie": "hush=cookie", "X-Api-Key": "hush-api"}
        response = await client.post("/secret?hush=query", headers=headers, content=b"hush-body")
    assert response.status_code == 503
    assert len(collector.spans) == 3
    assert not [body for _, _, body in collector.received if b"hush-" in body or b"hush=" in body]


# Spans of a handler's own


async def test_a_handler_begins_spans_of_its_own(app: App, collector: Collector) -> None:
    """Spans of `ctx.trace` nest, carry attributes, and have the operations within them below."""

    @app.get("/own")
    async def own(ctx: Context) -> None:
        with ctx.trace("outer"), ctx.trace("inner", {"size": 3}) as span:
            span.set_attribute("kind", "round")
            await ctx.kv_store.set("k", "v")

    async with serving(app) as client:
        await client.get("/own")
    server, outer, inner = (collector.span(name) for name in ("GET /own", "outer", "inner"))
    assert (outer.parent_span_id, inner.parent_span_id) == (server.span_id, outer.span_id)
    assert collector.span("set").parent_span_id == inner.span_id
    assert _attributes(inner) == {"size": 3, "kind": "round"}


async def test_a_def_handler_begins_spans_of_its_own(app: App, collector: Collector) -> None:
    """In a worker thread spans nest as well."""

    @app.get("/own")
    def own(ctx: Context) -> None:
        with ctx.trace("part"):
            ctx.wait(ctx.kv_store.set("k", "v"))

    async with serving(app) as client:
        await client.get("/own")
    assert collector.span("part").parent_span_id == collector.span("GET /own").span_id
    assert collector.span("set").parent_span_id == collector.span("part").span_id


async def test_a_log_line_names_the_span_it_was_written_in(
    app: App, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within `ctx.trace` a line's span_id is that span's."""

    @app.get("/own")
    async def own(ctx: Context) -> None:
        with ctx.trace("part"):
            ctx.logger.info("within")

    async with serving(app) as client:
        await client.get("/own")
    (line,) = [line for line in _lines(capsys) if line["message"] == "within"]
    assert line["span_id"] == collector.span("part").span_id.hex()


async def test_an_exception_marks_the_spans_it_leaves(app: App, collector: Collector) -> None:
    """A span is marked by an error that is answered with 500 or above, and by no other."""

    @app.get("/own")
    async def own(ctx: Context) -> None:
        with contextlib.suppress(HTTPError), ctx.trace("refused"):
            raise HTTPError(404, "no")
        with ctx.trace("failed"):
            raise ZeroDivisionError

    async with serving(app) as client:
        await client.get("/own")
    assert collector.span("refused").status.code == Status.STATUS_CODE_UNSET
    assert _attributes(collector.span("failed")) == {"error.type": "ZeroDivisionError"}


def test_without_tracing_a_span_is_nothing() -> None:
    """`ctx.trace` works, and costs next to nothing, where nobody asked for traces."""
    app = App()

    @app.get("/")
    async def home(ctx: Context) -> bool:
        with ctx.trace("part", {"a": 1}) as span:
            span.set_attribute("b", 2)
            return span.is_recording()

    with TestClient(app) as client:
        assert client.get("/").json() == {"data": False}


# What comes in and goes out with a request


async def test_a_traceparent_is_the_parent(app: App, collector: Collector) -> None:
    """Trace id, parent and tracestate are the client's, and go on to whoever the handler calls."""
    carriers: list[dict[str, str]] = []

    @app.get("/call")
    async def call(_: Context) -> str:
        carriers.append({})
        propagate.inject(carriers[0])
        return str(baggage.get_baggage("tenant"))

    headers = {
        "traceparent": f"00-{TRACE}-{PARENT}-01",
        "tracestate": "vendor=1",
        "baggage": "tenant=acme",
    }
    async with serving(app) as client:
        response = await client.get("/call", headers=headers)
    assert response.json() == {"data": "acme"}
    assert response.headers["x-correlation-id"] == TRACE
    span = collector.span("GET /call")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert carriers == [{**headers, "traceparent": f"00-{TRACE}-{span.span_id.hex()}-01"}]


async def test_an_unsampled_parent_is_honoured(app: App, collector: Collector) -> None:
    """Nothing of such a trace is sent, whatever the ratio; its id stays."""
    async with serving(app) as client:
        response = await client.get("/u/ann", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert (response.headers["x-correlation-id"], collector.received) == (TRACE, [])


async def test_an_invalid_traceparent_begins_a_trace(app: App, collector: Collector) -> None:
    """A header that is no traceparent counts as none."""
    async with serving(app) as client:
        response = await client.get("/u/ann", headers={"traceparent": f"00-{TRACE}-{'0' * 16}-01"})
    span = collector.span("GET /u/{id}")
    assert (span.trace_id.hex(), span.parent_span_id) == (response.headers["x-correlation-id"], b"")
    assert span.trace_id.hex() != TRACE


@pytest.mark.parametrize(
    "sent",
    [
        b"hush",
        b"=",
        b"a=\xff",
        b"a=" + b"hush" * 5000,
        b",".join(b"k%d=hush" % n for n in range(300)),
        b"a=%zz;=",
        b"",
    ],
)
async def test_malformed_context_is_left_out(
    app: App, collector: Collector, capsys: pytest.CaptureFixture[str], sent: bytes
) -> None:
    """Baggage and tracestate that break the rules cost neither the answer nor the span, and stand in no log."""
    traceparent = ("traceparent", f"00-{TRACE}-{PARENT}-01")
    async with serving(app) as client:
        headers: Any = [traceparent, (b"baggage", sent), (b"tracestate", sent), (b"host", sent)]
        assert (await client.get("/u/ann", headers=headers)).status_code == 200
    assert collector.span("GET /u/{id}").trace_id.hex() == TRACE
    assert "hush" not in "".join(capsys.readouterr())


async def test_a_ratio_samples_new_traces_only(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TRACER_RATIO=0 only what a client samples is sent."""
    environ = {"TRACE_EXPORTER": "otlp", "TRACER_URL": collector.url, "TRACER_RATIO": "0"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with serving(App()) as client:
        await client.get("/")
        await client.get("/", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert [span.trace_id.hex() for span in collector.spans] == [TRACE]


async def test_a_ratio_decides_as_opentelemetry_does(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of new traces those are recorded that any service with the same ratio would record."""
    environ = {"TRACE_EXPORTER": "otlp", "TRACER_URL": collector.url, "TRACER_RATIO": "0.5"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with serving(App()) as client:
        ids = [(await client.get("/")).headers["x-correlation-id"] for _ in range(40)]
    sampler, sampled = TraceIdRatioBased(0.5), Decision.RECORD_AND_SAMPLE
    wanted = [one for one in ids if sampler.should_sample(None, int(one, 16), "GET").decision is sampled]
    assert [span.trace_id.hex() for span in collector.spans] == wanted
    assert 0 < len(wanted) < 40


# Exporters


async def test_a_burst_of_spans_is_sent_whole(app: App, collector: Collector) -> None:
    """Nothing is lost of thousands of spans that end before any can be sent."""

    @app.get("/burst")
    async def burst(ctx: Context) -> None:
        for _ in range(6000):
            with ctx.trace("part"):
                pass

    async with serving(app) as client:
        await client.get("/burst")
    assert len(collector.spans) == 6001


async def test_the_sizes_of_the_sdk_count(app: App, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_BSP_MAX_EXPORT_BATCH_SIZE limits a batch."""
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    async with serving(app) as client:
        await client.get("/u/ann")
    assert [len(one) for one in collector.batches] == [1, 1]


@pytest.mark.parametrize(("encoding", "decompress"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
async def test_a_compression_is_used(
    app: App, collector: Collector, monkeypatch: pytest.MonkeyPatch, encoding: str, decompress: Any
) -> None:
    """OTEL_EXPORTER_OTLP_COMPRESSION counts as with OpenTelemetry's own exporter."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", encoding)
    async with serving(app) as client:
        await client.get("/u/ann")
    ((_, headers, body),) = collector.received
    assert headers["Content-Encoding"] == encoding
    collector.received[:] = [("", {}, decompress(body))]
    assert [span.name for span in collector.spans] == ["get", "GET /u/{id}"]


async def test_zipkin_receives_spans(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRACE_EXPORTER=zipkin sends JSON to /api/v2/spans."""
    monkeypatch.setenv("TRACE_EXPORTER", "zipkin")
    monkeypatch.setenv("TRACER_URL", collector.url)
    async with serving(App()) as client:
        response = await client.get("/nowhere")
    ((path, _, body),) = collector.received
    (span,) = json.loads(body)
    assert (path, span["name"], span["traceId"]) == ("/api/v2/spans", "GET", response.headers["x-correlation-id"])
    assert (span["tags"]["url.path"], span["tags"]["http.response.status_code"]) == ("/nowhere", "404")
    assert span["localEndpoint"]["serviceName"] == "kvik-app"


@pytest.mark.parametrize("exporter", ["otlp", "zipkin"])
async def test_headers_are_sent_and_told_nobody(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exporter: str
) -> None:
    """TRACER_HEADERS reach the collector; their values stand in no log line and no repr."""
    monkeypatch.setenv("TRACE_EXPORTER", exporter)
    monkeypatch.setenv("TRACER_URL", collector.url)
    monkeypatch.setenv("TRACER_HEADERS", "X-Key=hush==, X-Tenant=hush-b")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    app = App()
    async with serving(app) as client:
        await client.get("/")
    ((_, headers, _),) = collector.received
    assert (headers["X-Key"], headers["X-Tenant"]) == ("hush==", "hush-b")
    settings = _settings(TRACER_HEADERS="a=hush", TRACER_URL="u:hush@h", TRACE_EXPORTER="otlp")
    assert "hush" not in "".join([*capsys.readouterr(), repr(settings), repr(trace_target(settings))])


async def test_a_collector_that_is_down_costs_a_request_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests are answered as ever, one line tells of it, and the stop does not wait for long."""
    monkeypatch.setenv("TRACE_EXPORTER", "otlp")
    monkeypatch.setenv("TRACER_URL", "127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    async with serving(App()) as client:
        for _ in range(50):
            assert (await client.get("/.well-known/alive")).status_code == 200
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 20
    problems = [line for line in _lines(capsys) if line["level"] != "INFO"]
    assert [(line["message"], line["reason"]) for line in problems] == [
        ("traces.export_failed", "ConnectionError")
    ]
    assert problems[0]["place"] == "http://127.0.0.1:9/v1/traces"


async def test_the_flush_ends_in_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A collector that takes the connection and says nothing keeps the app from stopping for a limited time."""
    monkeypatch.setattr("kvik._traces.tracing.FLUSH_TIMEOUT", 0.2)
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("TRACE_EXPORTER", "zipkin")
    monkeypatch.setenv("TRACER_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
    async with serving(App()) as client:
        await client.get("/")
        stopping = time.monotonic()
    assert 0.2 <= time.monotonic() - stopping < 8  # the exporter by itself would wait for 10
    assert "traces.flush_timeout" in [line["message"] for line in _lines(capsys)]
    silent.close()
    await eventually(
        lambda: not any(thread.name.startswith(("kvik-trace", "OtelBatch")) for thread in threading.enumerate())
    )


async def test_a_collector_that_comes_back_is_noticed(
    app: App, collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line when spans begin to be lost, with the reason, and one when they arrive again."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    collector.status = 403
    async with serving(app) as client:
        for status in (403, 403, 200):
            collector.status = status
            collector.received.clear()
            await client.get("/nowhere")
            await eventually(lambda: collector.received)
    lines = [line for line in _lines(capsys) if line["message"].startswith("traces.")]
    assert [(line["message"], line.get("reason")) for line in lines] == [
        ("traces.export_recovered", None),
        ("traces.export_failed", "status 403"),
    ]


# Configuration


@pytest.mark.parametrize(
    ("exporter", "url", "endpoint"),
    [
        ("otlp", "http://h:4318", "http://h:4318/v1/traces"),
        ("OTLP", "https://h:4318/", "https://h:4318/v1/traces"),
        ("otlp", "h:4318", "http://h:4318/v1/traces"),
        ("otlp", "h/own/path", "http://h/own/path"),
        ("otlp", "http://h/own/?a=b", "http://h/own/?a=b"),
        ("zipkin", "h:9411", "http://h:9411/api/v2/spans"),
        ("zipkin", "http://[::1]:9411/in", "http://[::1]:9411/in"),
    ],
)
def test_a_url_is_completed(exporter: str, url: str, endpoint: str) -> None:
    """A URL with a path is used as given; scheme and path are added where they are missing."""
    target = trace_target(_settings(TRACE_EXPORTER=exporter, TRACER_URL=url))
    assert isinstance(target, TraceTarget)
    assert (target.exporter, target.endpoint) == (exporter.lower(), endpoint)


@pytest.mark.parametrize(
    ("environ", "variable", "problem"),
    [
        ({"TRACE_EXPORTER": "otlp"}, "TRACER_URL", "missing"),
        ({"TRACER_URL": "http://h"}, "TRACE_EXPORTER", "missing"),
        ({"TRACER_HEADERS": "k=hush"}, "TRACE_EXPORTER", "missing"),
        ({"TRACE_EXPORTER": "hush", "TRACER_URL": "h"}, "TRACE_EXPORTER", "expected otlp or zipkin"),
        (
            {"TRACE_EXPORTER": "jaeger", "TRACER_URL": "h"},
            "TRACE_EXPORTER",
            "TRACE_EXPORTER=otlp and the port to 4318",
        ),
        ({"TRACE_EXPORTER": "gofr"}, "TRACE_EXPORTER", "TRACE_EXPORTER=otlp and the port to 4318"),
        (
            {"TRACE_EXPORTER": "otlp", "TRACER_URL": "h:4317"},
            "TRACER_URL",
            "TRACE_EXPORTER=otlp and the port to 4318",
        ),
        ({"TRACE_EXPORTER": "otlp", "TRACER_URL": "ftp://hush"}, "TRACER_URL", "expected a URL"),
        ({"TRACE_EXPORTER": "otlp", "TRACER_URL": "http://"}, "TRACER_URL", "expected a URL"),
        ({"TRACE_EXPORTER": "otlp", "TRACER_URL": "h:hush"}, "TRACER_URL", "expected a URL"),
        ({"TRACE_EXPORTER": "otlp", "TRACER_URL": "h", "TRACER_HEADERS": "a=b,hush"}, "TRACER_HEADERS", "entry 2"),
        ({"TRACE_EXPORTER": "otlp", "TRACER_URL": "h", "TRACER_HEADERS": "a=hu\nsh"}, "TRACER_HEADERS", "entry 1"),
    ],
)
def test_what_cannot_work_is_told(environ: dict[str, str], variable: str, problem: str) -> None:
    """The error names the variable and what to do, and never repeats the value."""
    with pytest.raises(TargetError, match=problem) as raised:
        trace_target(_settings(**environ))
    assert raised.value.variable == variable
    assert "hush" not in str(raised.value)


def test_half_a_configuration_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The app says what is missing, once, and runs without traces."""
    monkeypatch.setenv("TRACE_EXPORTER", "otlp")
    with TestClient(App()) as client:
        assert client.get("/.well-known/alive").status_code == 200
    (line,) = [line for line in _lines(capsys) if line["level"] == "ERROR"]
    assert (line["message"], line["variable"]) == ("tracing.off", "TRACER_URL")


def test_a_configuration_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a value that spans cannot be sent to, the app does not start."""
    monkeypatch.setenv("TRACE_EXPORTER", "otlp")
    monkeypatch.setenv("TRACER_URL", "ftp://collector")
    with pytest.raises(RuntimeError, match="TRACER_URL: expected a URL"), TestClient(App()):
        pass
    (line,) = [line for line in _lines(capsys) if line["level"] == "ERROR"]
    assert (line["message"], line["variable"]) == ("config.invalid", "TRACER_URL")


_PROGRAM = """
import sys
from opentelemetry import trace
from kvik import App, Context

app = App()

@app.get("/")
async def home(ctx: Context) -> str:
    with trace.get_tracer("own").start_as_current_span("own"):
        return ctx.correlation_id
"""


def _main(tmp_path: Path, before: str = "") -> Path:
    main = tmp_path / "main.py"
    main.write_text(f"{before}{_PROGRAM}\napp.run()\n")
    return main


def test_without_the_extra_the_app_says_what_to_install(tmp_path: Path) -> None:
    """One ERROR line names the command, and the app runs without traces."""
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    with program(_main(tmp_path, blocker), tmp_path, TRACE_EXPORTER="otlp", TRACER_URL="h") as running:
        with running.client() as client:
            assert client.get("/").status_code == 200
        (line,) = [event for event in running.events if event["level"] == "ERROR"]
    assert (line["message"], line["install"]) == ("tracing.not_installed", 'pip install "kvik[tracing]"')


def _ask_on_many_connections(running: Program) -> set[str]:
    asked: set[str] = set()
    for _ in range(20):
        with running.client() as client:
            asked.add(client.get("/").json()["data"])
    return asked


def test_workers_trace_and_so_does_the_users_own_tracer(tmp_path: Path, collector: Collector) -> None:
    """Each forked worker sends its spans; `trace.get_tracer` is of the same traces, without any setting up."""
    environ = {"TRACE_EXPORTER": "otlp", "TRACER_URL": collector.url, "HTTP_WORKERS": "2"}
    with program(_main(tmp_path), tmp_path, **environ) as running:
        asked = _ask_on_many_connections(running)
        assert running.terminate() == 0
    servers = {span.span_id: span.trace_id for span in collector.spans if span.name == "GET /"}
    own = [span for span in collector.spans if span.name == "own"]
    assert {span.trace_id.hex() for span in own} == asked
    assert all(servers[span.parent_span_id] == span.trace_id for span in own)
