"""What of a check's details anybody may see: the health report asks for no credentials."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "hidden: the log has the text"
"""What stands in the report in the place of an error's text."""

NO_ANSWER = "the health check gave neither UP nor DOWN"
NOT_ENCODABLE = "the details cannot be encoded as JSON"
_OWN_TEXTS = (NO_ANSWER, NOT_ENCODABLE)

_ERROR = re.compile("error|exception|reason|traceback", re.IGNORECASE)
_SECRET = re.compile("passw|pwd|secret|token|credential|api_?key|authorization", re.IGNORECASE)
_WORD = re.compile(r"[\w.:-]{1,80}", re.ASCII)  # a code, or the name of a class

_USER_OF_URL = re.compile(r"(?<=://)[^/\s@]*@")
_QUERY_OF_URL = re.compile(r"(://[^\s?]*)\?\S*")
_PATH = re.compile(
    r"""(?: \b[a-z][\w+.-]*:/(?=//)(?=\S) | (?<![\w.:/…-])(?=~?/) )  # of a URL without a host, or on its own
        [^\s'",;()<>]*/ (?=[^\s'",;()<>/])""",
    re.VERBOSE,
)
_WINDOWS_PATH = re.compile(r"""(?:\b[A-Za-z]:[\\/]|\\\\)(?:[^\s'",;()<>\\/]+[\\/])*""")
_ASSIGNMENT = re.compile(rf"(\w*(?:{_SECRET.pattern})\w*\s*[=:]\s*)[^\s,;&]+", re.IGNORECASE)


def public_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return details without paths, credentials and texts of errors; of a path its last part stays."""
    return {name: _public_value(name, value) for name, value in details.items()}


def without_credentials(text: str) -> str:
    """Return text without users of URLs, their queries, and values of names such as "password"."""
    return _ASSIGNMENT.sub(r"\1…", _QUERY_OF_URL.sub(r"\1", _USER_OF_URL.sub("", text)))


def hidden_texts(details: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of errors that `public_details` hides, for the log."""
    return {
        name: without_credentials(value)
        for name, value in details.items()
        if isinstance(value, str) and _public_value(name, value) == HIDDEN
    }


def _public_value(name: str, value: Any) -> Any:
    if _SECRET.search(name):
        return "…"
    if isinstance(value, str):
        is_text_of_error = _ERROR.search(name) and not _WORD.fullmatch(value) and value not in _OWN_TEXTS
        return HIDDEN if is_text_of_error else _without_paths(without_credentials(value))
    if isinstance(value, Mapping):
        return public_details({str(key): part for key, part in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return [_public_value(name, part) for part in value]
    return value


def _without_paths(text: str) -> str:
    return _WINDOWS_PATH.sub("…/", _PATH.sub("…/", text))
