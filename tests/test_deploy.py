"""The operator's papers are about the app as it is: its metrics, its log events, its settings."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from kvik import App, Context, MemoryStore
from kvik.testing import TestClient

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/operations.md"
DASHBOARD = ROOT / "deploy/grafana-dashboard.json"
ALERTS = ROOT / "deploy/prometheus-alerts.yml"

OF_PROMETHEUS = {"up"}
"""What Prometheus itself records of a target."""

OF_EVERY_TARGET = {"job", "instance", "worker"}
"""Labels that Prometheus adds, and the one that the supervisor adds to the process metrics of its workers."""


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Give the names of all samples that an app exports, with those of their labels."""
    app = App()
    app.add_kv_store(MemoryStore())
    app.mount("/metrics", app.metrics_app)

    @app.get("/users/{id}")
    async def read(ctx: Context) -> Any:
        return await ctx.kv_store.get(ctx.path_param("id"), default=None)

    with TestClient(app) as client:
        client.get("/users/7")
        text = client.get("/metrics").text
    names: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    return names


def _dashboard() -> list[tuple[str, str]]:
    """Give the expressions of the dashboard, each with the text that names its labels."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [(target["expr"], target["legendFormat"]) for panel in board["panels"] for target in panel["targets"]]


def _alerts() -> list[tuple[str, str]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return [(rule["expr"], " ".join(rule["annotations"].values()).replace("$labels.", "")) for rule in rules]


EXPRESSIONS = [*_dashboard(), *_alerts()]


def _metrics(expression: str) -> set[str]:
    """Give the metrics that PromQL reads: names that are no function, no label and no keyword."""
    bare = re.sub(r"\b(by|without|on) *\([^)]*\)|\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", expression)
    return {name for name in re.findall(r"\b[a-z_]\w*\b(?! *\()", bare) if name not in {"or", "and", "unless"}}


def _labels(expression: str, text: str) -> set[str]:
    grouped = [name for group in re.findall(r"\bby *\(([^)]*)\)", expression) for name in group.split(",")]
    matched = [
        name for group in re.findall(r"\{([^}]*)\}", expression) for name in re.findall(r"(\w+) *[=!]", group)
    ]
    shown = re.findall(r"\{\{ *([a-z_]+) *\}\}", text)
    return {name.strip() for name in [*grouped, *matched, *shown]}


@pytest.mark.parametrize(
    ("expression", "text"),
    EXPRESSIONS,
)
def test_every_expression_reads_what_is_exported(
    expression: str, text: str, exported: dict[str, set[str]]
) -> None:
    """Each metric that the dashboard or an alert reads exists, and has the labels that it is asked for."""
    metrics = _metrics(expression)
    assert metrics
    assert metrics - OF_PROMETHEUS <= exported.keys()
    known = set.union(*(exported.get(metric, set()) for metric in metrics))
    assert _labels(expression, text) <= known | OF_EVERY_TARGET


def test_the_expressions_are_found() -> None:
    """The test above looks at something, and would see a wrong name."""
    assert len(EXPRESSIONS) > 20
    assert _metrics('sum by (a) (rate(x_count{b="c"}[5m])) / y') == {"x_count", "y"}
    assert _labels('sum by (a, le) (rate(x{b="c",d!~"e"}[5m]))', "{{f}}") == {"a", "le", "b", "d", "f"}


def test_the_panels_do_not_overlap() -> None:
    """Each panel of the dashboard has a place, an id and a title of its own."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)


def test_every_alert_says_what_to_do() -> None:
    """Each alert has a severity, a summary and a description."""
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert rule["annotations"].keys() == {"summary", "description"}


_VERBS = {"debug", "info", "warning", "error", "critical", "log"}


def _events() -> Iterator[str]:
    """Give the names of all events that the framework and the drivers log."""
    yield from (
        "request",
        "request.failed",
        "request.rejected",
        "kv.operation",
        "log.failed",
        "log.lines_dropped",
    )  # made of parts
    for path in [*ROOT.glob("framework/src/**/*.py"), *ROOT.glob("drivers/*/src/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _VERBS:
                texts = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
                yield from (text for text in texts if re.fullmatch(r"[a-z_]+\.[a-z_]+", text))


def test_every_event_is_in_the_operators_table() -> None:
    """The table of events has each that is logged, and no other."""
    table = PAGE.read_text(encoding="utf-8").partition("## Events")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}
    assert documented == set(_events())


def test_every_metric_is_in_the_operators_table(exported: dict[str, set[str]]) -> None:
    """The page names the framework's metrics with their labels."""
    page = PAGE.read_text(encoding="utf-8")
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exported if name.startswith("app_")}
    for family in families:
        (row,) = re.findall(rf"^\| `{family}` \|.*$", page, re.MULTILINE)
        labels = set.union(*(exported[name] for name in exported if name.startswith(family))) - {"le"}
        assert {label for label in labels if f"`{label}`" not in row} == set()
