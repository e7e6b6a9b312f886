"""Configuration: where it comes from, and what a bad value does."""

from pathlib import Path
from typing import Any

import pytest

from kvik import App, Config, ConfigError
from kvik.config import Settings, parse_bool, parse_count, parse_duration, parse_port, parse_size, read_settings


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


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("SHUTDOWN_GRACE_PERIOD", "soon", "expected a duration"),
        ("SHUTDOWN_GRACE_PERIOD", "5s later", "expected a duration"),
        ("SHUTDOWN_GRACE_PERIOD", "-1", "expected a duration"),
        ("MAX_BODY_SIZE", "4 bananas", "expected a size"),
        ("HTTP_PORT", "65536", "expected a port"),
        ("HTTP_PORT", "²", "expected a port"),
        ("HANDLER_THREADS", "0", "expected a whole number, 1 or more"),
        ("LOG_LEVEL", "LOUD", "expected DEBUG, INFO, WARN or ERROR"),
        ("LOG_DISABLE_PROBES", "maybe", "expected true or false"),
    ],
)
def test_a_bad_value_is_reported_and_the_default_used(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that cannot be used is one ERROR line with variable and value, and the default is taken."""
    monkeypatch.setenv(name, value)
    App()
    line = capsys.readouterr().err
    assert f'"variable":"{name}","value":"{value}"' in line
    assert problem in line
    assert read_settings(Config("none", {name: value}))[0] == Settings()


def test_gofrs_level_names_are_understood() -> None:
    """WARN is WARNING, as GoFr spells it."""
    assert read_settings(Config("none", {"LOG_LEVEL": "warn"}))[0].log_level == "WARNING"
