"""What a log line says, whatever is logged: the logger's promise that one call is one valid line."""

import collections
import dataclasses
import datetime as dt
import enum
import io
import json
import logging
import sys
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvik import App
from kvik._logs.access_log import AccessLog
from kvik._logs.logging import Logging, request_ids
from kvik._requests.cors import CORS
from kvik._requests.headers import first_values
from kvik._requests.outgoing import ASGIOutgoing
from kvik.config import Settings
from support import serving

logger = App().logger


def _logged(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Give the one line that was written; no reader whatever may see two."""
    out, err = capsys.readouterr()
    (line,) = (out + err).splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    fields = json.loads(line, parse_constant=refuse)
    assert isinstance(fields, dict)
    return fields


class _Raises:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __repr__(self) -> str:
        raise self._error

    __str__ = __repr__
    __hash__ = object.__hash__


class _Colour(enum.Enum):
    RED = (255, 0)


@dataclasses.dataclass
class _Login:
    user: str
    password: str = dataclasses.field(repr=False)


_cycle: dict[Any, Any] = {}
_cycle["self"] = [_cycle, (_cycle,)]
_deep: list[Any] = []
for _ in range(100_000):
    _deep = [_deep]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"a\xff", "a\\xff"),
        (float("nan"), None),
        (float("inf"), None),
        ({1: 2, None: 3}, {"1": 2, "None": 3}),
        ({(1, 2): 3}, {"(1, 2)": 3}),
        ({1: "a", "1": "b"}, {"1": "a", "1_": "b"}),
        ("\ud800", "\\ud800"),
        ({"\ud800": 1}, {"\\ud800": 1}),
        (2**80, 2**80),
        (2**50_000, "<int of 50001 bits>"),
        ({7}, [7]),
        ((1, [2]), [1, [2]]),
        (_Colour.RED, [255, 0]),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02T03:04:00+00:00"),
        (_Login("ann", "hunter2"), "_Login(user='ann')"),
        (_Raises(ValueError()), "<_Raises, which cannot be shown: ValueError>"),
        (collections.OrderedDict(a=1), {"a": 1}),
        ("a\x1b[2J\u2028\u202eb\x9b", "a\x1b[2J\u2028\u202eb\x9b"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_as(value: Any, shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What JSON cannot hold becomes text, objects by their repr: a field that is kept out of it stays out."""
    logger.info("event", field=value)
    assert _logged(capsys)["field"] == shown


@pytest.mark.parametrize("value", [_cycle, _deep, [[0] * 200] * 200], ids=["cycle", "deep", "large"])
def test_what_has_no_end_is_cut(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Cycles, deep nesting and very many parts end in an ellipsis."""
    logger.info("event", field=value)
    assert "…" in json.dumps(_logged(capsys)["field"], ensure_ascii=False)


_ODD = {
    "cycle": _cycle,
    "deep": _deep,
    "digits": 10**5000,
    "enum": _Colour.RED,
    "module": logging,
    "error": KeyError(b"\xff"),
    "range": range(3),
    "class": _Raises,
}
"""By name, since Hypothesis shows what it takes from: some of these cannot be shown."""

_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.complex_numbers()
    | st.builds(object)
    | st.builds(_Raises, st.sampled_from([ValueError(), RecursionError(), MemoryError(), KeyError("\ud800")]))
    | st.sampled_from(sorted(_ODD)).map(lambda name: _ODD[name]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.none() | st.floats() | st.binary(), inner)
        | st.dictionaries(st.tuples(st.integers()), inner)
    ),
    max_leaves=10,
)
_NAMES = st.text() | st.sampled_from(
    ["level", "time", "message", "trace_id", "span_id", "event", "exception", "exc_info", "self", "level_", "args"]
)


_MACHINES_OWN = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)  # a slow machine is no failure


@settings(deadline=None, max_examples=100, suppress_health_check=_MACHINES_OWN, derandomize=True, database=None)
@given(_ANYTHING, st.lists(_ANYTHING, max_size=2), st.dictionaries(_NAMES, _ANYTHING, max_size=3))
def test_any_call_writes_one_valid_json_line(
    capsys: pytest.CaptureFixture[str], event: Any, args: list[Any], fields: dict[str, Any]
) -> None:
    """Whatever is logged, and by whatever names: one JSON object each time, and no exception."""
    capsys.readouterr()
    logger.bind(**fields).info(event, *args, **fields)
    line = _logged(capsys)
    assert line["level"] == "INFO"
    assert [*line][:3] == ["level", "time", "message"]


@pytest.mark.parametrize(
    "error",
    [ValueError("\ud800\n\x85"), _cycle, True, (None, None, None), ("x",)],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_given_as_the_exception(error: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """exc_info may be an exception, a tuple of the standard library's, or nonsense."""
    logger.error("event", exc_info=error)
    assert ("exception" in _logged(capsys)) is isinstance(error, ValueError)


def test_a_field_with_a_name_of_the_lines_own_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """A field named as one of the line's own gets an underscore behind its name."""
    logger.error("event", level=1, time=2, message=3, message_=4, exception=5, exc_info=ValueError("boom"))
    line = _logged(capsys)
    assert (line["level"], line["message"]) == ("ERROR", "event")
    assert {name: line[name] for name in ("level_", "time_", "message_", "message__", "exception_")} == {
        "level_": 1,
        "time_": 2,
        "message_": 3,
        "message__": 4,
        "exception_": 5,
    }
    assert line["exception"] == "ValueError: boom"
    assert [*line][-1] == "exception"


@pytest.mark.parametrize("extra", [{}, {"order": 7, "message_": 1}])
async def test_a_librarys_line_has_its_extra_fields(
    extra: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """What a stdlib logger is given as `extra` are fields, beside the logger's name."""
    async with serving(App()):
        capsys.readouterr()
        logging.getLogger("library").warning("%(n)d left", {"n": 3}, extra=extra)
        line = _logged(capsys)
    assert (line["message"], line["logger"]) == ("3 left", "library")
    assert line.items() >= extra.items()


def test_a_line_fits_a_stream_that_is_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that cannot write a character gets it escaped, and the line is not lost."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    logger.info("über 😀")
    assert json.loads(written.getvalue())["message"] == "über 😀"


async def test_the_verbs_of_asynchronous_code_write_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb with an `a` before it writes at its level."""
    loud = App().logger
    for verb in ("ainfo", "awarning", "aerror", "acritical", "aexception"):
        await getattr(loud, verb)("event", n=1)
        assert _logged(capsys)["n"] == 1
    await loud.adebug("event")
    await loud.alog(logging.WARNING, "event")
    assert _logged(capsys)["level"] == "WARNING"


TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", '"', "\\", "\n", "\x1b[2J", "\x7f", "é", "\u202e", "\ud800", "a" * 300]),
)


async def _nowhere(_: Any) -> None:
    """Send nothing: the line is the subject."""


@given(method=TEXTS, path=TEXTS, agent=st.binary(max_size=20), ip=TEXTS, status=st.integers(100, 599))
@settings(max_examples=300, derandomize=True, database=None, deadline=None)
def test_an_access_line_is_what_the_pipeline_would_write(
    method: str, path: str, agent: bytes, ip: str, status: int
) -> None:
    """The line that is put together at once is the one that any logger call with its fields would give."""
    lines: list[str] = []
    logs = Logging("INFO")
    logs.sink.write = lambda _, line: lines.append(line)  # type: ignore[method-assign,assignment] # to see it alone
    logs.sink.write_soon = lines.append  # type: ignore[method-assign,assignment] # likewise
    headers = [(b"user-agent", agent)]
    scope = {"method": method, "path": path, "headers": headers, "client": (ip, 1)}
    outgoing = ASGIOutgoing(scope, _nowhere, first_values(headers), CORS(Settings()))
    outgoing.status, outgoing.seconds = status, 0.012
    token = request_ids.set(("a" * 32, "b" * 16))
    AccessLog(logs, log_probes=True).write(outgoing)
    fields = json.loads(lines[0])
    own = {name: fields.pop(name) for name in ("level", "time", "message", "trace_id", "span_id")}
    times = {name: fields[name] for name in ("start_time", "response_time")}
    texts = {"method": method, "user_agent": agent.decode("latin-1"), "ip": ip, "uri": path, "response": status}
    level = logging.ERROR if status >= 500 else logging.INFO
    logs.logger.log(level, own["message"], **times, **texts)
    request_ids.reset(token)
    assert lines[0] == lines[1].replace(json.loads(lines[1])["time"], own["time"], 1)
