"""From families to Prometheus' formats, and the ASGI app that serves them."""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from .families import Family

Families = Callable[[], list[Family]]


class Exposition(Collector):
    """Render families, as they are at scrape time, in the format that a scraper asks for."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the text and its Content-Type."""
        try:
            encoder, content_type = choose_encoder(accept)
            return encoder(self._registry), content_type
        except Exception:  # noqa: BLE001 - a version that is no number, say; the library's answers to it vary
            encoder, content_type = choose_encoder("")
            return encoder(self._registry), content_type

    def collect(self) -> Iterable[Metric]:
        """Give prometheus-client's metrics."""
        return map(_metric, self._families())

    def describe(self) -> Iterable[Metric]:
        """Spare the registry a scrape when this is registered: what the names will be is not known yet."""
        return ()


class MetricsApp:
    """Answer GET and HEAD of any path with the metrics; rendered in a thread, for that may take a while."""

    def __init__(self, families: Families) -> None:
        self._exposition = Exposition(families)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope; a WebSocket is refused."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("the metrics' app has no lifespan; mount it, or serve it with lifespan off")
        response = await self._answer(scope["method"], Headers(scope=scope).get("accept", ""))
        await response(scope, receive, send)

    async def _answer(self, method: str, accept: str) -> Response:
        if method not in {"GET", "HEAD"}:
            return PlainTextResponse("method not allowed\n", 405, headers={"allow": "GET, HEAD"})
        text, content_type = await asyncio.to_thread(self._exposition.render, accept)
        return Response(text, headers={"content-type": content_type})


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.description, family.kind)
    for labels, values in family.series:
        if family.kind == "histogram":
            for ending, own, value in _histogram_samples(family.bounds, values):
                metric.add_sample(family.name + ending, dict(labels) | own, value)
        else:
            metric.add_sample(family.name + "_total" * (family.kind == "counter"), dict(labels), values[0])
    return metric


def _histogram_samples(
    bounds: tuple[float, ...], values: list[float]
) -> Iterator[tuple[str, dict[str, str], float]]:
    *counts, total = values
    for bound, count in zip((*bounds, float("inf")), accumulate(counts), strict=True):
        yield "_bucket", {"le": "+Inf" if math.isinf(bound) else str(bound)}, count
    yield "_count", {}, sum(counts)
    yield "_sum", {}, total
