"""Configuration: where it comes from, and what a bad value does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from kvik import App, Config, ConfigError
from kvik._parsing import parse_bool, parse_count, parse_duration, parse_port, parse_size
from kvik.config import read_settings
from support import START_TIMEOUT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".env").write_text('A=file\nB=file\nC=file\nexport D="x y" # why\nE=\nF\n')
    (tmp_path / ".local.env").write_text("B=local\nC=local\n")
    (tmp_path / ".staging.env").write_text("B=staging\n")
    return tmp_path


def test_the_environment_wins_over_the_overlay_and_that_over_the_file(folder: Path) -> None:
    """Process environment, then .local.env, then .env."""
    config = Config(folder, {"C": "process"})
    assert [config.get(name) for name in "ABCDEFG"] == ["file", "local", "process", "x y", "", "", None]


def test_variables_in_files_are_expanded(tmp_path: Path) -> None:
    """`${NAME}` and `${NAME:-default}` are expanded as python-dotenv does, whichever file or process has them."""
    (tmp_path / ".env").write_text(
        "HOST=db\nURL=http://${HOST}:${PORT:-5432}/\nQUOTED=\"${HOST} ${USER}\"\nSINGLE='${HOST}'\n"
        "NONE=[${NOPE}]\nHOST=${HOST}2\nPLAIN=$HOST\nOWN=${OWN:-own}\nLATER=${AFTER}\nAFTER=1\n"
    )
    config = Config(tmp_path, {"USER": "ann"})
    expected = {"URL": "http://db:5432/", "QUOTED": "db ann", "SINGLE": "db", "NONE": "[]", "HOST": "db2"}
    expected |= {"PLAIN": "$HOST", "OWN": "own", "LATER": "", "AFTER": "1"}
    assert {name: config.get(name) for name in expected} == expected
    assert dotenv_values(tmp_path / ".env") | {"QUOTED": "db ann"} == expected
    assert Config(tmp_path, {"HOST": "prod", "URL": "${HOST}"}).get("NONE") == "[]"
    assert Config(tmp_path, {"HOST": "prod"}).get("URL") == "http://prod:5432/"
    assert Config(tmp_path, {"URL": "${HOST}"}).get("URL") == "${HOST}"
    (tmp_path / ".local.env").write_text("PORT=6\nUSER=${SINGLE}-user\n")
    config = Config(tmp_path, {})
    assert (config.get("URL"), config.get("USER"), config.get("QUOTED")) == (
        "http://db:6/",
        "db-user",
        "db db-user",
    )


def test_app_env_names_the_overlay(folder: Path) -> None:
    """With APP_ENV=staging, .staging.env takes the place of .local.env."""
    config = Config(folder, {"APP_ENV": "staging"})
    assert [config.get(name) for name in "ABC"] == ["file", "staging", "file"]


def test_no_folder_is_no_error(tmp_path: Path) -> None:
    """A program without configuration files runs on the environment and the defaults."""
    config = Config(tmp_path / "none", {"A": "1", "EMPTY": ""})
    assert (config.get("A"), config.get_or_default("B", "2"), config.get_or_default("EMPTY", "3")) == (
        "1",
        "2",
        "3",
    )


def test_a_malformed_file_ends_the_program_with_file_and_line(tmp_path: Path) -> None:
    """A line that is no assignment ends the program with status 1 and says where it stands."""
    (tmp_path / ".env").write_text("A=1\n\nthis is no assignment\n")
    with pytest.raises(ConfigError, match=r"\.env, line 3: expected NAME=value") as caught:
        App(config_folder=tmp_path)
    assert isinstance(caught.value, SystemExit)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A file that is not UTF-8, or no file, is named with the cause."""
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match=r"\.env: cannot be read: .*utf-8"):
        Config(tmp_path)
    (tmp_path / ".local.env").mkdir()
    (tmp_path / ".env").unlink()
    with pytest.raises(ConfigError, match=r"\.local\.env: cannot be read: .*directory"):
        Config(tmp_path)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_duration, "30s", 30.0),
        (parse_duration, "500ms", 0.5),
        (parse_duration, "1m30s", 90.0),
        (parse_duration, "2h", 7200.0),
        (parse_duration, "1.5", 1.5),
        (parse_size, "4MiB", 4 * 1024 * 1024),
        (parse_size, "64KiB", 65536),
        (parse_size, "1GiB", 2**30),
        (parse_size, "17", 17),
        (parse_port, "0", 0),
        (parse_port, "65535", 65535),
        (parse_count, "40", 40),
        (parse_bool, "TRUE", True),
        (parse_bool, "off", False),
    ],
)
def test_values_are_parsed(parse: Any, text: str, value: Any) -> None:
    """Durations, sizes, ports, counts and switches are written as an operator would."""
    assert parse(text) == value


_BAD = [
    ("letters", {"HTTP_PORT": "80a"}, "HTTP_PORT", "expected a port, 0 to 65535"),
    ("port of another script", {"HTTP_PORT": "²"}, "HTTP_PORT", "expected a port, 0 to 65535"),
    ("too high", {"METRICS_PORT": "65536"}, "METRICS_PORT", "expected a port, 0 to 65535"),
    ("negative", {"METRICS_PORT": "-1"}, "METRICS_PORT", "expected a port, 0 to 65535"),
    ("the same port", {"METRICS_PORT": "9000", "HTTP_PORT": "9000"}, "METRICS_PORT", "HTTP_PORT is the same"),
    ("the default port", {"METRICS_PORT": "8000"}, "METRICS_PORT", "HTTP_PORT is the same"),
    (
        "the same port of all addresses",
        {"METRICS_PORT": "8000", "HTTP_HOST": "127.0.0.1", "METRICS_HOST": "::"},
        "METRICS_PORT",
        "HTTP_PORT is the same",
    ),
    ("a port in the host", {"HTTP_HOST": "localhost:80"}, "HTTP_HOST", "expected a host's name or address"),
    ("a URL as host", {"METRICS_HOST": "http://a"}, "METRICS_HOST", "expected a host's name or address"),
    ("no name", {"HTTP_HOST": "a..b"}, "HTTP_HOST", "expected a host's name or address"),
    ("no workers", {"HTTP_WORKERS": "0"}, "HTTP_WORKERS", "expected a whole number from 1 to 1024"),
    ("a million workers", {"HTTP_WORKERS": "1000000"}, "HTTP_WORKERS", "expected a whole number from 1 to 1024"),
    ("no threads", {"HANDLER_THREADS": "0"}, "HANDLER_THREADS", "expected a whole number from 1 to 4096"),
    ("5000 digits", {"HANDLER_THREADS": "9" * 5000}, "HANDLER_THREADS", "expected a whole number from 1 to 4096"),
    ("words", {"REQUEST_TIMEOUT": "5 sec"}, "REQUEST_TIMEOUT", "expected a duration such as 30s"),
    ("negative time", {"REQUEST_TIMEOUT": "-1"}, "REQUEST_TIMEOUT", "expected a duration such as 30s"),
    ("a microsecond", {"REQUEST_TIMEOUT": "0.000001"}, "REQUEST_TIMEOUT", "expected a duration of at least 1ms"),
    ("a year", {"REQUEST_TIMEOUT": "8760h"}, "REQUEST_TIMEOUT", "expected a duration of at most 24h"),
    ("infinite", {"SHUTDOWN_GRACE_PERIOD": "9" * 400}, "SHUTDOWN_GRACE_PERIOD", "expected a duration of at most"),
    ("soon", {"SHUTDOWN_GRACE_PERIOD": "5s later"}, "SHUTDOWN_GRACE_PERIOD", "expected a duration such as"),
    ("no time for a head", {"HEADER_TIMEOUT": "0"}, "HEADER_TIMEOUT", "expected a duration of at least 1ms"),
    ("no time for a body", {"BODY_TIMEOUT": "0ms"}, "BODY_TIMEOUT", "expected a duration of at least 1ms"),
    ("no interval", {"REMOTE_LOG_FETCH_INTERVAL": "0"}, "REMOTE_LOG_FETCH_INTERVAL", "at least 1ms"),
    ("fruit", {"MAX_BODY_SIZE": "4 bananas"}, "MAX_BODY_SIZE", "expected a size such as 4MiB"),
    ("nothing", {"MAX_BODY_SIZE": "0"}, "MAX_BODY_SIZE", "expected a size from 1B to 1024GiB"),
    ("a lot", {"MAX_BODY_SIZE": "999999GiB"}, "MAX_BODY_SIZE", "expected a size from 1B to 1024GiB"),
    ("no head", {"MAX_HEADER_SIZE": "1"}, "MAX_HEADER_SIZE", "expected a size from 64B to 16MiB"),
    ("half of a pair", {"CERT_FILE": "c.pem"}, "CERT_FILE", "KEY_FILE is missing"),
    ("the other half", {"KEY_FILE": "k.pem"}, "KEY_FILE", "CERT_FILE is missing"),
    ("loud", {"LOG_LEVEL": "LOUD"}, "LOG_LEVEL", "expected DEBUG, INFO, WARN or ERROR"),
    ("perhaps", {"LOG_DISABLE_PROBES": "maybe"}, "LOG_DISABLE_PROBES", "expected true or false"),
    ("a format", {"ERROR_FORMAT": "xml"}, "ERROR_FORMAT", "expected envelope or problem"),
    ("an engine", {"HTTP_ENGINE": "turbo"}, "HTTP_ENGINE", "expected auto or asgi"),
    ("an exporter", {"TRACE_EXPORTER": "x", "TRACER_URL": "h"}, "TRACE_EXPORTER", "expected otlp or zipkin"),
    ("ratio", {"TRACER_RATIO": "2"}, "TRACER_RATIO", "expected a number from 0 to 1"),
    ("a file", {"REMOTE_LOG_URL": "file:///etc/passwd"}, "REMOTE_LOG_URL", "expected a URL of http or https"),
    ("no host", {"REMOTE_LOG_URL": "http://"}, "REMOTE_LOG_URL", "expected a URL of http or https"),
    (
        "credentials for everybody",
        {"ACCESS_CONTROL_ALLOW_CREDENTIALS": "true"},
        "ACCESS_CONTROL_ALLOW_CREDENTIALS",
        "browsers refuse them for any origin",
    ),
    (
        "an origin without scheme",
        {"ACCESS_CONTROL_ALLOW_ORIGIN": "a.example"},
        "ACCESS_CONTROL_ALLOW_ORIGIN",
        "a.example can match no origin",
    ),
    (
        "an origin with a path",
        {"ACCESS_CONTROL_ALLOW_ORIGIN": "https://a.example/"},
        "ACCESS_CONTROL_ALLOW_ORIGIN",
        "https://a.example/ can match no origin",
    ),
    (
        "a pattern",
        {"ACCESS_CONTROL_ALLOW_ORIGIN": "https://*.example"},
        "ACCESS_CONTROL_ALLOW_ORIGIN",
        "https://*.example can match no origin",
    ),
    (
        "everybody and somebody",
        {"ACCESS_CONTROL_ALLOW_ORIGIN": "*, https://a.example"},
        "ACCESS_CONTROL_ALLOW_ORIGIN",
        "expected origins, or * alone",
    ),
    (
        "a header with a space",
        {"ACCESS_CONTROL_ALLOW_HEADERS": "X-A, X B"},
        "ACCESS_CONTROL_ALLOW_HEADERS",
        "'X B' is not the name of a header",
    ),
    (
        "a network of 33 bits",
        {"FORWARDED_ALLOW_IPS": "10.0.0.0/33"},
        "FORWARDED_ALLOW_IPS",
        "expected addresses and networks",
    ),
    (
        "a network with a host",
        {"FORWARDED_ALLOW_IPS": "10.0.0.1/8"},
        "FORWARDED_ALLOW_IPS",
        "10.0.0.1/8 has host bits set",
    ),
]


@pytest.mark.parametrize(("environ", "name", "problem"), [row[1:] for row in _BAD], ids=[row[0] for row in _BAD])
def test_a_program_with_an_invalid_variable_does_not_start(
    environ: dict[str, str],
    name: str,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`app.run()` exits with 1 and one ERROR line that names the variable, its value and what was expected."""
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    app = App()
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as ended:
        app.run()
    assert ended.value.code == 1
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["level"], line["message"], line["variable"]) == ("ERROR", "config.invalid", name)
    assert problem in line["problem"]
    assert line["value"] in (environ.get(name, "…"), "…")


def test_every_variable_that_cannot_be_used_has_its_line(tmp_path: Path) -> None:
    """A program with five faults tells of all five and exits 1, under `app.run()` and under uvicorn alike."""
    main = tmp_path / "main.py"
    main.write_text("from kvik import App\napp = App()\nif __name__ == '__main__':\n    app.run()\n")
    faults = {"HTTP_PORT": "80a", "REQUEST_TIMEOUT": "5 sec", "LOG_LEVEL": "LOUD", "METRICS_PORT": "x"}
    environ = {**os.environ, **faults, "TRACER_HEADERS": "authorization=hush"}
    for command in ([str(main)], ["-m", "uvicorn", "main:app", "--port", "0"]):
        run = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )
        assert run.returncode not in (0, None)
        lines = [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]
        assert {line["variable"] for line in lines} == {*faults, "TRACE_EXPORTER"}
        assert len(lines) == 5
        assert "hush" not in run.stdout + run.stderr


def test_a_tests_client_tells_of_an_invalid_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """`app.testing()` raises with the words of the log, so that the test's author sees them."""
    monkeypatch.setenv("HTTP_PORT", "80a")
    with pytest.raises(RuntimeError, match="HTTP_PORT: expected a port, 0 to 65535"), App().testing():
        pass


async def test_a_server_without_a_lifespan_cannot_serve_an_invalid_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing starts the app, its first request fails with the variable's name."""
    monkeypatch.setenv("HTTP_PORT", "80a")
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(RuntimeError, match="HTTP_PORT"):
        await App()(scope, None, None)  # type: ignore[arg-type] # they are never called


@pytest.mark.parametrize(
    ("environ", "field", "value"),
    [
        ({"REQUEST_TIMEOUT": "0"}, "request_timeout", None),
        ({"REQUEST_TIMEOUT": "0s"}, "request_timeout", None),
        ({"SHUTDOWN_GRACE_PERIOD": "0"}, "shutdown_grace_period", 0.0),
        ({"METRICS_PORT": "0", "HTTP_PORT": "0"}, "metrics_port", 0),
        ({"METRICS_PORT": "9", "HTTP_PORT": "9", "HTTP_HOST": "::1", "METRICS_HOST": "::2"}, "metrics_port", 9),
        ({"HTTP_HOST": "::1"}, "http_host", "::1"),
        ({"ACCESS_CONTROL_ALLOW_ORIGIN": "https://A.example"}, "access_control_allow_origin", "https://a.example"),
        ({"FORWARDED_ALLOW_IPS": "10.0.0.0/8, ::1, *"}, "forwarded_allow_ips", "10.0.0.0/8, ::1, *"),
        ({"FORWARDED_ALLOW_IPS": "/run/proxy.sock"}, "forwarded_allow_ips", "/run/proxy.sock"),
        ({"HTTP_PORT": ""}, "http_port", 8000),
    ],
)
def test_what_looks_odd_and_is_right_is_taken(environ: dict[str, str], field: str, value: object) -> None:
    """0 is "none" where that makes sense, two ports are the same only on the same host."""
    settings, bad = read_settings(Config("none", environ))
    assert (getattr(settings, field), bad) == (value, [])


def test_gofrs_level_names_are_understood() -> None:
    """WARN is WARNING, as GoFr spells it."""
    assert read_settings(Config("none", {"LOG_LEVEL": "warn"}))[0].log_level == "WARNING"
