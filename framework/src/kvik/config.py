"""Configuration from the environment and from files, and the settings of the framework itself."""

import os
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ._parsing import (
    parse_body_size,
    parse_bool,
    parse_count,
    parse_duration,
    parse_error_format,
    parse_header_names,
    parse_header_size,
    parse_host,
    parse_http_engine,
    parse_http_url,
    parse_level,
    parse_optional_timeout,
    parse_origins,
    parse_port,
    parse_proxies,
    parse_ratio,
    parse_timeout,
    parse_workers,
)
from .errors import ConfigError

T = TypeVar("T")
D = TypeVar("D")


class Config:
    """Look up configuration by name: process environment first, then the files of a folder.

    The files are `.{APP_ENV}.env`, or `.local.env` when APP_ENV is not set, then `.env`; either may be absent.
    In them `${NAME}` and `${NAME:-default}` stand for the value of that name, by the same order; of its own file
    for a value further up. `folder` is relative to the working directory, default "configs". Raises ConfigError,
    naming file and line, where a file cannot be read.
    """

    def __init__(self, folder: str | Path = "configs", environ: Mapping[str, str] | None = None) -> None:
        environ = dict(os.environ if environ is None else environ)
        overlay = Path(folder) / f".{environ.get('APP_ENV') or 'local'}.env"
        in_file = _read(Path(folder) / ".env")
        values = _expanded(_read(overlay), environ, _expanded(in_file, environ, {})) | environ
        self._values = _expanded(in_file, values, {}) | values

    def get(self, name: str) -> str | None:
        """Return the value, None where there is none; a variable that is set but empty is ""."""
        return self._values.get(name)

    def get_or_default(self, name: str, default: str) -> str:
        """Return the value, or the default where there is none or it is empty."""
        return self._values.get(name) or default


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            from dotenv.parser import parse_stream  # noqa: PLC0415 - not needed where there is no file

            bindings = list(parse_stream(file))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    for binding in bindings:
        if binding.error:
            text = binding.original.string
            blank = text[: len(text) - len(text.lstrip())].count("\n")  # the parser counts them in
            raise ConfigError(f"{path}, line {binding.original.line + blank}: expected NAME=value")
    return [(binding.key, binding.value or "") for binding in bindings if binding.key is not None]


def _expanded(
    assignments: list[tuple[str, str]], first: Mapping[str, str], last: Mapping[str, str]
) -> dict[str, str]:
    """Return the values of a file; a variable in one is looked up in `first`, in the lines above, in `last`."""
    values: dict[str, str] = {}
    known = ChainMap({**first}, values, {**last})
    for name, value in assignments:
        values[name] = _expanded_value(value, known) if "${" in value else value
    return values


def _expanded_value(value: str, known: Mapping[str, str]) -> str:
    from dotenv.variables import parse_variables  # noqa: PLC0415 - as above

    return "".join(atom.resolve(known) for atom in parse_variables(value))


def _setting(parse: Callable[[str], T], default: D, *, may_be_empty: bool = False, secret: bool = False) -> T | D:
    """Declare a setting: the environment variable has the field's name in capitals.

    A variable that is set but empty counts as not set, unless being empty means something. One that may hold a
    secret stands in no `repr` and in no log.
    """
    metadata = {"parse": parse, "may_be_empty": may_be_empty, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the framework's own settings, each from the variable of its name; durations in seconds."""

    app_name: str = _setting(str, "kvik-app")
    app_version: str = _setting(str, "dev")
    http_host: str = _setting(parse_host, "0.0.0.0")  # noqa: S104 - a service in a container is meant to be reached
    http_port: int = _setting(parse_port, 8000)
    log_level: str = _setting(parse_level, "INFO")
    log_disable_probes: bool = _setting(parse_bool, default=False)
    health_details: bool = _setting(parse_bool, default=True)
    metrics_host: str | None = _setting(parse_host, None)
    metrics_port: int = _setting(parse_port, 2121)
    http_workers: int = _setting(parse_workers, 1)
    worker_timeout: float | None = _setting(parse_optional_timeout, 60.0)
    handler_threads: int = _setting(parse_count, 40)
    request_timeout: float | None = _setting(parse_optional_timeout, None)
    loop_blocked_after: float | None = _setting(parse_optional_timeout, 0.1)
    shutdown_grace_period: float = _setting(parse_duration, 30.0)
    cert_file: str | None = _setting(str, None)
    key_file: str | None = _setting(str, None)
    max_body_size: int = _setting(parse_body_size, 4 * 1024 * 1024)
    max_header_size: int = _setting(parse_header_size, 64 * 1024)
    header_timeout: float = _setting(parse_timeout, 10.0)
    body_timeout: float = _setting(parse_timeout, 30.0)
    send_timeout: float = _setting(parse_timeout, 30.0)
    access_control_allow_origin: str = _setting(parse_origins, "*", may_be_empty=True)
    access_control_allow_headers: str = _setting(parse_header_names, "")
    access_control_allow_credentials: bool = _setting(parse_bool, default=False)
    forwarded_allow_ips: str = _setting(parse_proxies, "127.0.0.1")
    trace_exporter: str | None = _setting(str, None)
    tracer_url: str | None = _setting(str, None, secret=True)
    tracer_ratio: float = _setting(parse_ratio, 1.0)
    trace_disable_probes: bool = _setting(parse_bool, default=False)
    tracer_headers: str | None = _setting(str, None, secret=True)
    remote_log_url: str | None = _setting(parse_http_url, None, secret=True)
    remote_log_fetch_interval: float = _setting(parse_timeout, 15.0)
    error_format: str = _setting(parse_error_format, "envelope")
    http_engine: str = _setting(parse_http_engine, "auto")


class BadSetting(NamedTuple):
    """A variable that keeps the app from starting; `value` is "…" where it may hold a secret."""

    name: str
    value: str
    problem: str


def read_settings(config: Config) -> tuple[Settings, list[BadSetting]]:
    """Return the settings, with the default in the place of each bad value, and what is bad."""
    values: dict[str, Any] = {}
    bad: list[BadSetting] = []
    for setting, name, text in _configured(config):
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            shown = "…" if setting.metadata["secret"] else text
            bad.append(BadSetting(name, shown, str(error)))
    settings = Settings(**values)
    names = {each.name for each in bad}
    bad += [each for each in _contradictions(settings) if each.name not in names]
    return settings, bad


def _contradictions(settings: Settings) -> Iterator[BadSetting]:
    """Find settings that are fine one by one and cannot be used together."""
    port = settings.metrics_port
    hosts = {settings.http_host, settings.metrics_host or settings.http_host}
    if port and port == settings.http_port and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):  # noqa: S104 - see above
        yield BadSetting(
            "METRICS_PORT", str(port), "HTTP_PORT is the same: choose another port, or 0 to serve no metrics"
        )
    for given, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        file = getattr(settings, given)
        if file and not getattr(settings, other):
            problem = f"{other.upper()} is missing: set both for HTTPS, or neither for HTTP"
            yield BadSetting(given.upper(), file, problem)
    if settings.access_control_allow_credentials and settings.access_control_allow_origin == "*":
        yield BadSetting(
            "ACCESS_CONTROL_ALLOW_CREDENTIALS",
            "true",
            "browsers refuse them for any origin: list the origins in ACCESS_CONTROL_ALLOW_ORIGIN",
        )


def _configured(config: Config) -> Iterator[tuple[Any, str, str]]:
    for setting in fields(Settings):
        name = setting.name.upper()
        text = config.get(name)
        if text or (text is not None and setting.metadata["may_be_empty"]):
            yield setting, name, text
