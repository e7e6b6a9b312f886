"""Routes: which handler a method and a path reach, and with which parameters.

A tree with one level for each segment. On every level a static segment goes before a convertor (`{id:int}`), that
before a plain parameter (`{id}`), that before a rest (`{path:path}`), whatever the order of registration; a
branch that leads to no route with the method is left, and the next tried.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.convertors import CONVERTOR_TYPES, Convertor
from starlette.middleware import Middleware

from ..errors import HTTPError

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([A-Za-z_][A-Za-z0-9_]*))?\}")
_SLASH = b"/"


ANY_METHOD = "*"


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """Hold what a route leads to: a handler, or with `mounted_at` an ASGI application below that path.

    `middleware` stands around it, the first outermost.
    """

    target: Any
    middleware: tuple[Middleware, ...] = ()
    mounted_at: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Hold one registered path; `parameters` are the names in the path, in order."""

    method: str
    path: str
    endpoint: Endpoint
    parameters: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    static: dict[str, "_Node"] = field(default_factory=dict)
    convertors: dict[str, tuple[Convertor[Any], "_Node"]] = field(default_factory=dict)
    parameter: "_Node | None" = None
    rest: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """Hold what a look-up found: a route with its parameters' values, if any, and the methods of the path."""

    route: Route | None
    values: tuple[Any, ...] = ()
    methods: frozenset[str] = frozenset()

    @property
    def parameters(self) -> dict[str, Any]:
        """Give the parameters by name."""
        return dict(zip(self.route.parameters, self.values, strict=True)) if self.route else {}


class Router:
    """Hold the routes of an app and find the one for a request."""

    def __init__(self) -> None:
        self._root = _Node()
        self._without_parameters: dict[tuple[str, bytes], Match] = {}  # what was found for such paths before

    def add(self, method: str, path: str, endpoint: Endpoint) -> None:
        """Register an endpoint; ValueError for a malformed path, or for a method and path that are taken."""
        if not path.startswith("/"):
            raise ValueError(f"a path starts with a slash: {path!r}")
        node, names = self._root, []
        segments = [segment for segment in path.split("/") if segment]
        for position, segment in enumerate(segments):
            name, kind = _parse_segment(segment, path)
            if kind == "path" and position != len(segments) - 1:
                raise ValueError(f"{{{name}:path}} takes the rest of the path and must come last: {path!r}")
            node = _descend(node, segment, kind)
            if name is not None:
                names.append(name)
        if len(set(names)) != len(names):
            raise ValueError(f"a parameter's name stands twice in {path!r}")
        if method in node.routes:
            raise ValueError(f"{method} {path} is registered already, as {node.routes[method].path}")
        self._without_parameters.clear()
        node.routes[method] = Route(method, path, endpoint, tuple(names))

    def find(self, method: str, raw_path: bytes) -> Match:
        """Find the route of a request from the path as it was sent, still percent-encoded.

        The path is split on literal slashes before each segment is decoded, so that `%2F` stays inside one.
        Raises HTTPError 400 where a segment is not UTF-8.
        """
        match = self._without_parameters.get((method, raw_path))
        if match is None:
            match = self._search(method, raw_path)
            if match.route is not None and not match.values and raw_path == match.route.path.encode():
                self._without_parameters[method, raw_path] = match  # no other spelling: clients could invent many
        return match

    def _search(self, method: str, raw_path: bytes) -> Match:
        parts = [(index, part) for index, part in enumerate(raw_path.split(_SLASH)) if part]
        path = _Path(raw_path, [_decode(part) for _, part in parts], [index for index, _ in parts])
        reached = list(_walk(self._root, path, 0, ()))
        methods = frozenset(name for node, _ in reached for name in node.routes)
        for node, values in reached:
            route = _route_for(method, node)
            if route is not None:
                return Match(route, values, methods)
        return Match(None, (), methods)


def _route_for(method: str, node: _Node) -> Route | None:
    as_get = node.routes.get("GET") if method == "HEAD" else None
    return node.routes.get(method) or as_get or node.routes.get(ANY_METHOD)


@dataclass(frozen=True, slots=True)
class _Path:
    raw: bytes
    segments: list[str]  # decoded, without the empty ones
    indexes: list[int]  # where each stands among the parts of raw, the empty ones counted

    def rest(self, position: int) -> str:
        """Give all from the segment on, with the empty segments between and behind."""
        return _decode(_SLASH.join(self.raw.split(_SLASH)[self.indexes[position] :]))


def _walk(
    node: _Node, path: _Path, position: int, values: tuple[Any, ...]
) -> Iterator[tuple[_Node, tuple[Any, ...]]]:
    """Give the nodes that the path reaches, the most specific first, with the values of their parameters."""
    if position == len(path.segments):
        if node.routes:
            yield node, values
        return
    segment = path.segments[position]
    if (child := node.static.get(segment)) is not None:
        yield from _walk(child, path, position + 1, values)
    for convertor, child in node.convertors.values():
        for value in _convert(convertor, segment):
            yield from _walk(child, path, position + 1, (*values, value))
    if node.parameter is not None:
        yield from _walk(node.parameter, path, position + 1, (*values, segment))
    if node.rest is not None:
        yield node.rest, (*values, path.rest(position))


def _convert(convertor: Convertor[Any], segment: str) -> Iterator[Any]:
    """Give the converted value, or nothing where the segment is not of that kind."""
    if not re.fullmatch(convertor.regex, segment):
        return
    try:
        value = convertor.convert(segment)
    except ValueError:  # int refuses thousands of digits, which its regex lets pass
        return
    yield value


def _parse_segment(segment: str, path: str) -> tuple[str | None, str | None]:
    """Return the parameter's name and its convertor; (None, None) for a static segment."""
    match = _PARAMETER.fullmatch(segment)
    if match is None:
        if "{" in segment or "}" in segment:
            raise ValueError(f"a parameter fills its whole segment, as in /users/{{id}}: {path!r}")
        return None, None
    name, kind = match[1], match[2] or "str"
    if kind not in CONVERTOR_TYPES:
        raise ValueError(f"unknown convertor {kind!r} in {path!r}; there are {', '.join(CONVERTOR_TYPES)}")
    return name, kind


def _descend(node: _Node, segment: str, kind: str | None) -> _Node:
    if kind is None:
        return node.static.setdefault(segment, _Node())
    if kind == "str":
        node.parameter = node.parameter or _Node()
        return node.parameter
    if kind == "path":
        node.rest = node.rest or _Node()
        return node.rest
    return node.convertors.setdefault(kind, (CONVERTOR_TYPES[kind], _Node()))[1]


def _decode(part: bytes) -> str:
    try:
        return (unquote_to_bytes(part) if b"%" in part else part).decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "path is not valid UTF-8") from None
