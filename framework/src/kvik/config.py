"""Configuration from the environment and from files, and the settings of the framework itself."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .errors import ConfigError

T = TypeVar("T")
D = TypeVar("D")


class Config:
    """Look up configuration by name: process environment first, then the files of a folder.

    The files are `.{APP_ENV}.env`, or `.local.env` when APP_ENV is not set, then `.env`; either may be absent.
    `folder` is relative to the working directory, default "configs". Raises ConfigError, naming file and line,
    where a file cannot be read.
    """

    def __init__(self, folder: str | Path = "configs", environ: Mapping[str, str] | None = None) -> None:
        environ = dict(os.environ if environ is None else environ)
        overlay = Path(folder) / f".{environ.get('APP_ENV') or 'local'}.env"
        self._values = {**_read(Path(folder) / ".env"), **_read(overlay), **environ}

    def get(self, name: str) -> str | None:
        """Return the value, None where there is none; a variable that is set but empty is ""."""
        return self._values.get(name)

    def get_or_default(self, name: str, default: str) -> str:
        """Return the value, or the default where there is none or it is empty."""
        return self._values.get(name) or default


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8") as file:
            from dotenv.parser import parse_stream  # noqa: PLC0415 - not needed where there is no file

            bindings = list(parse_stream(file))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    for binding in bindings:
        if binding.error:
            text = binding.original.string
            blank = text[: len(text) - len(text.lstrip())].count("\n")  # the parser counts them in
            raise ConfigError(f"{path}, line {binding.original.line + blank}: expected NAME=value")
    return {binding.key: binding.value or "" for binding in bindings if binding.key is not None}


def parse_duration(text: str) -> float:
    """Return the seconds of "30s", "500ms", "1m30s", "2h" or bare seconds; ValueError for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("expected a duration such as 30s, 500ms or 1m30s")
    seconds = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * seconds[unit] for number, unit in parts)


def parse_size(text: str) -> int:
    """Return the bytes of "4MiB", "64KiB", "1GiB" or bare bytes; ValueError for anything else."""
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB)?", text)
    if match is None:
        raise ValueError("expected a size such as 4MiB, 64KiB or bare bytes")
    return int(match[1]) * {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[match[2]]


def parse_port(text: str) -> int:
    """Return a TCP port, 0 to 65535; ValueError for anything else."""
    highest = 65535
    if not text.isascii() or not text.isdigit() or int(text) > highest:
        raise ValueError("expected a port, 0 to 65535")
    return int(text)


def parse_count(text: str) -> int:
    """Return a whole number, 1 or more; ValueError for anything else."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("expected a whole number, 1 or more")
    return int(text)


def parse_bool(text: str) -> bool:
    """Return what "true", "false", "1", "0", "yes", "no", "on" or "off" say; ValueError for anything else."""
    words = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in words:
        raise ValueError("expected true or false")
    return words[text.lower()]


def parse_level(text: str) -> str:
    """Return the name of a log level in capitals, with GoFr's spelling of WARNING allowed; else ValueError."""
    level = {"WARN": "WARNING", "NOTICE": "INFO", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("expected DEBUG, INFO, WARN or ERROR")
    return level


def parse_ratio(text: str) -> float:
    """Return a number from 0 to 1; ValueError for anything else."""
    if not re.fullmatch(r"0|1|[01]?\.\d+", text) or float(text) > 1:
        raise ValueError("expected a number from 0 to 1")
    return float(text)


def parse_error_format(text: str) -> str:
    """Return "envelope" or "problem"; ValueError for anything else."""
    if text not in ("envelope", "problem"):
        raise ValueError("expected envelope or problem")
    return text


def parse_http_engine(text: str) -> str:
    """Return "auto" or "asgi"; ValueError for anything else."""
    if text not in ("auto", "asgi"):
        raise ValueError("expected auto or asgi")
    return text


def _setting(parse: Callable[[str], T], default: D, *, may_be_empty: bool = False, secret: bool = False) -> T | D:
    """Declare a setting: the environment variable has the field's name in capitals.

    A variable that is set but empty counts as not set, unless being empty means something. One that may hold a
    secret stands in no `repr`.
    """
    return field(default=default, repr=not secret, metadata={"parse": parse, "may_be_empty": may_be_empty})


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the framework's own settings, each from the variable of its name; durations in seconds."""

    app_name: str = _setting(str, "kvik-app")
    app_version: str = _setting(str, "dev")
    http_host: str = _setting(str, "0.0.0.0")  # noqa: S104 - a service in a container is meant to be reached
    http_port: int = _setting(parse_port, 8000)
    log_level: str = _setting(parse_level, "INFO")
    log_disable_probes: bool = _setting(parse_bool, default=False)
    metrics_host: str | None = _setting(str, None)
    metrics_port: int = _setting(parse_port, 2121)
    http_workers: int = _setting(parse_count, 1)
    handler_threads: int = _setting(parse_count, 40)
    request_timeout: float | None = _setting(parse_duration, None)
    shutdown_grace_period: float = _setting(parse_duration, 30.0)
    cert_file: str | None = _setting(str, None)
    key_file: str | None = _setting(str, None)
    max_body_size: int = _setting(parse_size, 4 * 1024 * 1024)
    max_header_size: int = _setting(parse_size, 64 * 1024)
    header_timeout: float = _setting(parse_duration, 10.0)
    body_timeout: float = _setting(parse_duration, 30.0)
    access_control_allow_origin: str = _setting(str, "*", may_be_empty=True)
    access_control_allow_headers: str = _setting(str, "")
    access_control_allow_credentials: bool = _setting(parse_bool, default=False)
    forwarded_allow_ips: str = _setting(str, "127.0.0.1")
    trace_exporter: str | None = _setting(str, None)
    tracer_url: str | None = _setting(str, None, secret=True)
    tracer_ratio: float = _setting(parse_ratio, 1.0)
    tracer_headers: str | None = _setting(str, None, secret=True)
    remote_log_url: str | None = _setting(str, None)
    remote_log_fetch_interval: float = _setting(parse_duration, 15.0)
    error_format: str = _setting(parse_error_format, "envelope")
    http_engine: str = _setting(parse_http_engine, "auto")


class BadSetting(NamedTuple):
    """Tell of a variable whose value cannot be used, so that the default is."""

    name: str
    value: str
    problem: str
    default: Any


def read_settings(config: Config) -> tuple[Settings, list[BadSetting]]:
    """Read the settings; a value that cannot be used is reported beside them, and its default is taken."""
    values: dict[str, Any] = {}
    bad: list[BadSetting] = []
    for setting, name, text in _configured(config):
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            bad.append(BadSetting(name, text, str(error), setting.default))
    return Settings(**values), bad


def _configured(config: Config) -> Iterator[tuple[Any, str, str]]:
    for setting in fields(Settings):
        name = setting.name.upper()
        text = config.get(name)
        if text or (text is not None and setting.metadata["may_be_empty"]):
            yield setting, name, text
