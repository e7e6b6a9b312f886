"""Who takes part in the benchmark of HTTP servers."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import peers
import servers
from http_server import span_sink

_OFF = {"LOG_LEVEL": "ERROR", "METRICS_PORT": "0", "ACCESS_CONTROL_ALLOW_ORIGIN": ""}
_UVICORN = {"BENCH_UVICORN": "1"}
_IN_MEMORY = ("get", "post", "404")
_ALL = (*_IN_MEMORY, "sqlite")


@dataclass(frozen=True)
class Contender:
    """Name a server, its program, the environment that it adds to ours, and the workloads that it can serve."""

    name: str
    program: str
    environment: Mapping[str, str] = field(default_factory=dict)
    workloads: tuple[str, ...] = _IN_MEMORY
    spans: bool = False


CONTENDERS = {
    "asgi": Contender("bare ASGI function", "asgi_app", workloads=_ALL),
    "starlette": Contender("Starlette", "starlette_app"),
    "blacksheep": Contender("BlackSheep", "blacksheep_app"),
    "litestar": Contender("Litestar", "litestar_app"),
    "fastapi": Contender("FastAPI", "fastapi_app"),
    "fastapi-logs": Contender("FastAPI, logs and metrics", "fastapi_batteries_app", {"BENCH_SPANS": "0"}),
    "fastapi-spans": Contender("FastAPI, logs, metrics, spans", "fastapi_batteries_app", spans=True),
    "kvik": Contender("Kvik, all on", "kvik_app", workloads=_ALL),
    "kvik-spans": Contender("Kvik, all on, and spans", "kvik_app", workloads=_ALL, spans=True),
    "kvik-asgi": Contender(
        "Kvik under uvicorn, HTTP_ENGINE=asgi", "kvik_app", _UVICORN | {"HTTP_ENGINE": "asgi"}, _ALL
    ),
    "kvik-uvicorn": Contender("Kvik under uvicorn", "kvik_app", _UVICORN, _ALL),
    "kvik-off": Contender("Kvik, all off", "kvik_app", _OFF, _ALL),
}
BASE = "asgi"
"""The contender that all others are compared with."""


@contextlib.contextmanager
def running(
    contender: Contender,
    *,
    cores: Sequence[int] = (servers.SERVER_CORE,),
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    patience: float = 10,
) -> Iterator[servers.Server]:
    """Serve, on one core unless others are named, with a directory of its own for logs and the database.

    `under` is a command that runs the server's, `patience` the seconds that it has to start.
    """
    python = sys.executable if contender.program == "kvik_app" else peers.python()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        own = {"BENCH_SQLITE": f"{directory}/kvik.db"} if "sqlite" in contender.workloads else {}
        spans = _traced(stack.enter_context(span_sink.running())) if contender.spans else {}
        variables = {"METRICS_PORT": str(servers.free_port()), **own, **spans, **contender.environment}
        command = [*under, str(python), "-m", f"http_server.apps.{contender.program}"]
        log = Path(directory) / "log"
        with servers.running(
            command, {**variables, **(environment or {})}, log, cores=cores, patience=patience
        ) as server:
            yield server


def _traced(collector: str) -> dict[str, str]:
    """Give what tells Kvik, and what tells OpenTelemetry's exporter, where spans go."""
    return {"TRACE_EXPORTER": "otlp", "TRACER_URL": collector, "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
