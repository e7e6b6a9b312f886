"""Routes: which handler a method and a path reach, and with which parameters.

A tree with one level for each segment. On every level a static segment goes before a convertor (`{id:int}`), that
before a plain parameter (`{id}`), that before a rest (`{path:path}`), whatever the order of registration; a
branch that leads to no route with the method is left, and the next tried.
"""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.convertors import CONVERTOR_TYPES, Convertor

from ..errors import HTTPError
from .endpoints import ANY_METHOD, METHODS, Endpoint

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([A-Za-z_][A-Za-z0-9_]*))?\}")
_SLASH = b"/"
_PERCENT = ord("%")  # a number is found in bytes three times as fast
_NONE = frozenset[str]()
_READING = ("GET", "HEAD")


class Route(msgspec.Struct, frozen=True, eq=False):
    """Hold one registered path; `parameters` are the names in the path, in order."""

    method: str
    path: str
    endpoint: Endpoint
    parameters: tuple[str, ...]


class _Node:
    """Hold what a path may go on with after a segment, and the routes of the path that ends there.

    `choices` counts the ways on that may fit a segment beside a static one.
    """

    __slots__ = ("choices", "convertors", "methods", "parameter", "rest", "routes", "static")

    def __init__(self) -> None:
        self.static: dict[str, _Node] = {}
        self.convertors: dict[str, _Conversion] = {}
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        self.choices = 0
        self.routes: dict[str, Route] = {}
        self.methods = _NONE


class _Conversion(msgspec.Struct, frozen=True, eq=False):
    pattern: re.Pattern[str]
    convertor: Convertor[Any]
    node: _Node


_Reached = list[tuple[_Node, tuple[Any, ...]]]


class Match(msgspec.Struct, eq=False):
    """Hold what a look-up found: a route with its parameters' values, if any, and the methods of the path.

    Without a route there is the `refusal` to answer with, unless OPTIONS asks what there is.
    """

    route: Route | None
    values: tuple[Any, ...] = ()
    methods: frozenset[str] = _NONE
    refusal: HTTPError | None = None

    @property
    def allow(self) -> str:
        """Give what the header Allow says of the path."""
        return allow(self.methods)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Give the names of the values."""
        return self.route.parameters if self.route is not None else ()


@lru_cache(maxsize=128)
def allow(methods: frozenset[str]) -> str:
    """Write the methods of a path as the header Allow does."""
    head = {"HEAD"} if "GET" in methods else set[str]()
    return ", ".join(sorted({*methods, *head, "OPTIONS"}))


class _LastParameter(msgspec.Struct, frozen=True, eq=False):
    """Hold the route of a plain parameter that comes last, after static segments where nothing else may fit."""

    route: Route
    methods: frozenset[str]
    static: dict[str, "_Node"]  # goes before the parameter

    def match(self, last: bytes) -> Match | None:
        """Give the match of a path that ends with this; None where it takes a closer look."""
        if not last or _PERCENT in last:
            return None
        value = _decode(last)
        return None if value in self.static else Match(self.route, (value,), self.methods)


NO_MATCH = Match(None)
"""Stands for the match of what has no route, or whose route was not looked for yet."""


class Router:
    """Hold the routes of an app and find the one for a request."""

    def __init__(self) -> None:
        self._root = _Node()
        # What was found before: for paths without parameters, and for what stands before one that comes last
        self._without_parameters: dict[tuple[str, bytes], Match] = {}
        self._before_parameter: dict[tuple[str, bytes], _LastParameter] = {}

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
        taken = node.routes.get(method)
        if taken is not None and endpoint.default:
            return
        if taken is not None and not taken.endpoint.default:
            raise ValueError(f"{method} {path} is registered already, as {taken.path}")
        self._without_parameters.clear()
        self._before_parameter.clear()
        node.routes[method] = Route(method, path, endpoint, tuple(names))
        node.methods = frozenset(name for route in node.routes.values() for name in _methods_of(route))

    def find(self, method: str, raw_path: bytes) -> Match:
        """Find the route of a request from the path as it was sent, still percent-encoded.

        The path is split on literal slashes before each segment is decoded, so that `%2F` stays inside one.
        Raises HTTPError 400 where a segment is not UTF-8.
        """
        match = self._without_parameters.get((method, raw_path))
        if match is None:
            before, _, last = raw_path.rpartition(_SLASH)
            known = self._before_parameter.get((method, before))
            match = None if known is None else known.match(last)
        if match is None:
            match = self._search(method, raw_path)
            self._keep(method, raw_path, match)
        return match

    def _keep(self, method: str, raw_path: bytes, match: Match) -> None:
        """Keep what will be asked for again, in the route's own spelling alone: clients could invent many."""
        route = match.route
        if route is None:
            return
        if not match.values:
            if raw_path == route.path.encode() and route.method != ANY_METHOD:
                self._without_parameters[method, raw_path] = match
            return
        before = route.path.rpartition("/")[0]
        if len(match.values) == 1 and raw_path.rpartition(_SLASH)[0] == before.encode():
            parent = _static_way(self._root, before)
            if parent is not None and parent.choices == 1 and parent.parameter is not None:
                known = _LastParameter(route, parent.parameter.methods, parent.static)
                self._before_parameter[method, before.encode()] = known

    def _search(self, method: str, raw_path: bytes) -> Match:
        parts = _parts(raw_path)
        only = _only_way(self._root, parts)
        if only is not None:
            node, values = only
            if node is None or not node.routes:
                return NO_MATCH
            route = _route_for(method, node)
            return Match(route, values if route else (), node.methods)
        reached = _Walk(raw_path, list(filter(None, parts))).reach(self._root)
        if not reached:
            return NO_MATCH
        methods = _NONE.union(*[node.methods for node, _ in reached])
        for position, (node, values) in enumerate(reached):
            route = _route_for(method, node, is_first=position == 0)
            if route is not None:
                return Match(route, values, methods)
        return Match(None, (), methods)


def _route_for(method: str, node: _Node, *, is_first: bool = True) -> Route | None:
    route = node.routes.get(method)
    if route is None and method == "HEAD":
        route = node.routes.get("GET")
    if route is None and (mounted := node.routes.get(ANY_METHOD)) is not None:
        # It is not asked for the OPTIONS of what others serve
        is_asked = method != "OPTIONS" or (is_first and len(node.routes) == 1)
        if is_asked and (not mounted.endpoint.read_only or method in _READING):
            route = mounted
    return route


def _methods_of(route: Route) -> tuple[str, ...]:
    if route.method != ANY_METHOD:
        return (route.method,)
    return _READING if route.endpoint.read_only else METHODS


def _parts(raw_path: bytes) -> list[str]:
    """Give what stands between the slashes, decoded; the segments are those that are not empty."""
    if _PERCENT in raw_path:
        return [_decode(unquote_to_bytes(part)) for part in raw_path.split(_SLASH)]
    return _decode(raw_path).split("/")


def _rest(raw_path: bytes, position: int) -> str:
    """Give all from the segment on, with the empty segments between and behind."""
    parts = raw_path.split(_SLASH)
    filled = [index for index, part in enumerate(parts) if part]
    return _decode(unquote_to_bytes(_SLASH.join(parts[filled[position] :])))


def _only_way(node: _Node, parts: list[str]) -> tuple[_Node | None, tuple[Any, ...]] | None:
    """Give the one node that the path reaches, or that it reaches none; None where to tell takes a closer look."""
    values: tuple[Any, ...] = ()
    for segment in filter(None, parts):
        child = node.static.get(segment)
        if child is None and node.choices == 1:
            child, value = (node.parameter, (segment,)) if node.parameter else _by_convertor(node, segment)
            values += value
        elif node.choices:
            return None
        if child is None:
            return None if node.choices else (None, ())
        node = child
    return node, values


def _static_way(node: _Node, path: str) -> _Node | None:
    """Give the node that the static segments of a path lead to, where nothing else may fit one of them."""
    for segment in filter(None, path.split("/")):
        child = node.static.get(segment)
        if node.choices or child is None:
            return None
        node = child
    return node


def _by_convertor(node: _Node, segment: str) -> tuple[_Node | None, tuple[Any, ...]]:
    """Give where the node's only convertor leads, with the value; None where the segment is not of that kind."""
    for conversion in node.convertors.values():
        if value := _convert(conversion, segment):
            return conversion.node, value
    return None, ()


class _Walk:
    """Find the nodes that a path reaches, the most specific first, with the values of their parameters."""

    __slots__ = ("_raw_path", "_reached", "_segments")

    def __init__(self, raw_path: bytes, segments: list[str]) -> None:
        self._raw_path = raw_path
        self._segments = segments
        self._reached: _Reached = []

    def reach(self, root: _Node) -> _Reached:
        """Give the nodes."""
        self._go(root, 0, ())
        return self._reached

    def _go(self, node: _Node, position: int, values: tuple[Any, ...]) -> None:
        """Go on from a node, with the segment at a position."""
        if position == len(self._segments):
            if node.routes:
                self._reached.append((node, values))
            return
        segment, behind = self._segments[position], position + 1
        if (child := node.static.get(segment)) is not None:
            self._go(child, behind, values)
        for conversion in node.convertors.values():
            for value in _convert(conversion, segment):
                self._go(conversion.node, behind, (*values, value))
        if node.parameter is not None:
            self._go(node.parameter, behind, (*values, segment))
        if node.rest is not None:
            self._reached.append((node.rest, (*values, _rest(self._raw_path, position))))


def _convert(conversion: _Conversion, segment: str) -> tuple[Any, ...]:
    """Give the converted value alone, or nothing where the segment is not of that kind."""
    if not conversion.pattern.fullmatch(segment):
        return ()
    try:
        return (conversion.convertor.convert(segment),)
    except ValueError:  # int refuses thousands of digits, which its regex lets pass
        return ()


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
        node.parameter = child = node.parameter or _Node()
    elif kind == "path":
        node.rest = child = node.rest or _Node()
    else:
        if kind not in node.convertors:
            convertor = CONVERTOR_TYPES[kind]
            node.convertors[kind] = _Conversion(re.compile(convertor.regex), convertor, _Node())
        child = node.convertors[kind].node
    node.choices = len(node.convertors) + (node.parameter is not None) + (node.rest is not None)
    return child


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "path is not valid UTF-8") from None
