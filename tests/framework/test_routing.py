"""Routes: which one a request reaches, and with which parameters."""

import itertools
from typing import Any

import pytest

from kvik import HTTPError
from kvik._requests.endpoints import Endpoint
from kvik._requests.routing import Router


def _router(*paths: str, method: str = "GET") -> Router:
    router = Router()
    for path in paths:
        router.add(method, path, Endpoint(path))
    return router


def _find(router: Router, raw_path: bytes, method: str = "GET") -> tuple[str | None, dict[str, Any]]:
    match = router.find(method, raw_path)
    return (match.route.path if match.route else None), dict(zip(match.parameters, match.values, strict=True))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("raw_path", "route", "parameters"),
    [
        (b"/u/me", "/u/me", {}),
        (b"/u/7", "/u/{id:int}", {"id": 7}),
        (b"/u/joe", "/u/{name}", {"name": "joe"}),
        (b"/u/joe/x", "/u/{rest:path}", {"rest": "joe/x"}),
        (b"/u/me/posts", "/u/{name}/posts", {"name": "me"}),
        (b"/u/7/posts", "/u/{name}/posts", {"name": "7"}),
        (b"/u/joe//x/", "/u/{rest:path}", {"rest": "joe//x/"}),
        (b"/", "/", {}),
        (b"//", "/", {}),
        (b"/ok/", "/ok", {}),
        (b"//ok", "/ok", {}),
        (b"/OK", None, {}),
        (b"/u/", None, {}),
        (b"/u/a%2Fb", "/u/{name}", {"name": "a/b"}),
        (b"/u/a%20b%F0%9F%98%80", "/u/{name}", {"name": "a b😀"}),
        (b"/u/%zz", "/u/{name}", {"name": "%zz"}),
        (b"/u/" + b"9" * 5000, "/u/{name}", {"name": "9" * 5000}),
    ],
)
def test_the_most_specific_route_wins(
    order: int, raw_path: bytes, route: str | None, parameters: dict[str, Any]
) -> None:
    """On each segment static goes before convertor, parameter and rest, whatever was registered first."""
    paths = ["/", "/ok", "/u/{rest:path}", "/u/{name}", "/u/{id:int}", "/u/me", "/u/{name}/posts"]
    assert _find(_router(*paths[::order]), raw_path) == (route, parameters)


def test_a_route_without_the_method_gives_way() -> None:
    """A static route that lacks the method falls through to a parameter route that has it."""
    router = _router("/u/me", method="POST")
    router.add("GET", "/u/{name}", Endpoint("by name"))
    assert _find(router, b"/u/me") == ("/u/{name}", {"name": "me"})


def test_all_methods_of_a_path_are_known_when_none_fits() -> None:
    """A look-up that fails gives the methods of every route that the path reaches."""
    router = _router("/u/me", method="POST")
    router.add("GET", "/u/{name}", Endpoint("by name"))
    assert router.find("PATCH", b"/u/me").methods == {"GET", "POST"}


def test_head_reaches_the_get_route() -> None:
    """HEAD is answered by GET's route where it has none of its own."""
    assert _find(_router("/a"), b"/a", "HEAD") == ("/a", {})


@pytest.mark.parametrize("raw_path", [b"/u/%ff", b"/u/%C3", b"/u/\xff"])
def test_bad_utf8_is_the_clients_fault(raw_path: bytes) -> None:
    """A path that is not UTF-8 is refused with 400."""
    with pytest.raises(HTTPError, match="path is not valid UTF-8") as caught:
        _router("/u/{name}").find("GET", raw_path)
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("u", "starts with a slash"),
        ("/u/{a}/{a}", "stands twice"),
        ("/u/x{a}", "fills its whole segment"),
        ("/u/{a", "fills its whole segment"),
        ("/u/{a:nope}", "unknown convertor 'nope'"),
        ("/u/{a:path}/x", "must come last"),
        ("/u/me", "registered already, as /u/me"),
        ("/u/me/", "registered already, as /u/me"),
        ("/v/{name}", "registered already, as /v/{id}"),
    ],
)
def test_a_bad_path_is_refused_at_registration(path: str, problem: str) -> None:
    """A path that is malformed, or that another route has already, raises ValueError that says why."""
    with pytest.raises(ValueError, match=problem):
        _router("/u/me", "/v/{id}").add("GET", path, Endpoint("x"))


_PIECES = ("a", "{n:int}", "{x}", "{rest:path}")
"""From the most specific to the least."""

_PATHS = [(), *itertools.permutations(_PIECES, 1), *itertools.permutations(_PIECES[:-1], 2)]
_PATHS += [("a", "a"), *itertools.product(_PIECES[:-1], _PIECES[-1:])]


@pytest.mark.parametrize("other_method", ["GET", "POST"])
def test_no_shape_of_the_tree_changes_what_is_found(other_method: str) -> None:
    """Whichever two routes there are, the answer is what comparing all of them with the path gives."""
    for one, other in itertools.combinations(_PATHS, 2):
        routes = {one: "GET", other: other_method}
        router = Router()
        for pieces, method in routes.items():
            router.add(method, "/" + "/".join(pieces), Endpoint(pieces))
        for segments in _requests():
            fitting = {pieces: _values(pieces, segments) for pieces in routes if _fits(pieces, segments)}
            candidates = [pieces for pieces in fitting if routes[pieces] == "GET"]
            expected = min(candidates, key=lambda pieces: [*map(_PIECES.index, pieces)], default=None)
            match = router.find("GET", b"/" + "/".join(segments).encode())
            assert (match.route.endpoint.target if match.route else None) == expected
            assert match.values == (fitting[expected] if expected is not None else ())
            assert match.methods == {routes[pieces] for pieces in fitting}


def _requests() -> list[tuple[str, ...]]:
    return [segments for length in range(4) for segments in itertools.product(["a", "7", "b"], repeat=length)]


def _fits(pieces: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    with_rest = pieces[-1:] == ("{rest:path}",)
    if len(segments) < len(pieces) or (len(segments) > len(pieces) and not with_rest):
        return False
    fits = {"a": "a".__eq__, "{n:int}": str.isdigit}
    return all(fits.get(piece, bool)(segment) for piece, segment in zip(pieces, segments, strict=not with_rest))


def _values(pieces: tuple[str, ...], segments: tuple[str, ...]) -> tuple[Any, ...]:
    values: list[Any] = []
    for position, (piece, segment) in enumerate(zip(pieces, segments, strict=False)):
        if piece == "{rest:path}":
            values.append("/".join(segments[position:]))
        elif piece != "a":
            values.append(int(segment) if piece == "{n:int}" else segment)
    return tuple(values)
