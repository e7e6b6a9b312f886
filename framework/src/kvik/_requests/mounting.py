"""The paths of mounted applications: what an app is mounted under itself, and what it tells those within it."""

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

from .endpoints import MOUNTED_PATH
from .routing import Match

if TYPE_CHECKING:
    from .._mounted import MountedApp

_STARLETTES_OWN = ("router", "app_root_path")
"""What Starlette around the app has noted of itself, which Starlette within it would take for its own."""


def raw_path_of(scope: Scope) -> bytes:
    """Return the path as it was sent, still percent-encoded, without what the app is mounted under."""
    raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    root_path: bytes = scope.get("root_path", "").encode()
    return raw_path[_length_of(root_path, raw_path) :] if root_path else raw_path


def _length_of(root_path: bytes, raw_path: bytes) -> int:
    """Return how long the encoded path's beginning is that stands for the root path; 0 where none does."""
    end = 0
    while end < len(raw_path):
        end = raw_path.find(b"/", end + 1)
        end = len(raw_path) if end < 0 else end
        begin = unquote_to_bytes(raw_path[:end])
        if begin == root_path:
            return end
        if len(begin) > len(root_path):
            break
    return 0


def child_scope(scope: Scope, match: Match) -> Scope:
    """Return the scope of the mounted application that a request has reached.

    ASGI keeps the path whole and says in `root_path` what to skip of it. The part to be skipped is written
    without empty segments, so that it is one text in both.
    """
    assert match.route is not None  # noqa: S101 - nothing else is entered
    endpoint = match.route.endpoint
    mounted: MountedApp = endpoint.target
    whole: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    raw_path = raw_path_of(scope)
    begin, rest = _split(raw_path, endpoint.depth)
    root_path = scope.get("root_path", "") + unquote_to_bytes(begin).decode()
    values = dict(zip(match.parameters, match.values, strict=True))
    values.pop(MOUNTED_PATH, None)
    return {
        **{name: value for name, value in scope.items() if name not in _STARLETTES_OWN},
        "root_path": root_path,
        "path": root_path + unquote_to_bytes(rest).decode(),
        "raw_path": whole.removesuffix(raw_path) + begin + rest,
        "path_params": {**scope.get("path_params", {}), **values},
        "state": {**scope.get("state", {}), **mounted.state},
    }


def _split(raw_path: bytes, depth: int) -> tuple[bytes, bytes]:
    """Split a path behind so many segments that are not empty."""
    parts = raw_path.split(b"/")
    filled = [index for index, part in enumerate(parts) if part][:depth]
    begin = b"".join(b"/" + parts[index] for index in filled)
    return begin, b"".join(b"/" + part for part in parts[filled[-1] + 1 if filled else 1 :])
