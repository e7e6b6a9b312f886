"""What an app refuses where it is registered, in words that say what to write instead."""
# ruff: noqa: ARG001, ARG004, ARG005 - the arguments are the matter

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional, Protocol, TypeVar

import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request

import kvik
from kvik import App, Context
from kvik.testing import TestClient

C = TypeVar("C", bound=Context)


class HasParams(Protocol):
    def param(self, name: str) -> str: ...


class OwnContext(Context):
    pass


class Handler:
    async def __call__(self, ctx: Context) -> str:
        return "called"

    async def method(self, ctx: Context) -> str:
        return "called"

    @staticmethod
    async def static(ctx: Context) -> str:
        return "called"

    async def two(self, ctx: Context, more: int) -> str:
        return "called"


async def two(greeting: str, ctx: Context) -> str:
    return greeting


def undecorated(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def _annotated(annotation: Any) -> Any:
    async def handler(ctx: Any) -> str:
        return "called"

    handler.__annotations__["ctx"] = annotation
    return handler


@pytest.mark.parametrize(
    "handler",
    [
        lambda ctx: "called",
        lambda anything: "called",
        lambda ctx, word="called": word,
        lambda *args: "called",
        undecorated(Handler.static),
        functools.partial(two, "called"),
        functools.partial(functools.partial(two), "called"),
        Handler(),
        Handler().method,
        Handler.static,
        _annotated(Context),
        _annotated("Context"),
        _annotated("Unknown"),
        _annotated("kvik.Context"),
        _annotated(Any),
        _annotated(object),
        _annotated(C),
        _annotated(HasParams),
        _annotated(OwnContext),
        _annotated(Optional[Context]),  # noqa: UP045 - as older programs write it
        _annotated(Context | None),
        _annotated(Annotated[Context, "x"]),
    ],
)
def test_what_can_be_called_with_a_context_is_a_handler(handler: Any) -> None:
    """Functions, lambdas, partials, bound methods and callable objects, whatever their argument is called."""
    app = App()
    app.get("/x/{id}")(handler)
    app.on_start(handler)
    app.on_stop(handler)
    with TestClient(app) as client:
        assert client.get("/x/1").json() == {"data": "called"}


def _partly_known() -> Any:
    """Have a name that only type checkers know beside the one that decides."""
    handler = _annotated("int")
    handler.__annotations__["return"] = "Unknown"
    return functools.partial(handler)


def fastapi(id: int) -> None:  # noqa: A002 - as FastAPI's users name it
    pass


async def with_request(request: Request) -> None:
    pass


def unannotated(id) -> None:  # type: ignore[no-untyped-def]  # noqa: A002, ANN001 - the mistake under test
    pass


def nothing() -> None:
    pass


def with_three(ctx: Context, id: int, q: str) -> None:  # noqa: A002 - as FastAPI's users name it
    pass


def keyword(*, ctx: Context) -> None:
    pass


def more_keywords(ctx: Context, *, q: str) -> None:
    pass


_REFUSED: list[tuple[Any, str]] = [
    (fastapi, r"fastapi\(id: int\) must take one argument, the Context, .* ctx.path_param"),
    (
        with_request,
        r"with_request\(request: starlette.requests.Request\) must take one .* ctx.request for Starlette",
    ),
    (nothing, r"nothing\(\) must take one argument, the Context"),
    (with_three, r"with_three\(ctx: kvik.context.Context, id: int, q: str\) must take one argument"),
    (keyword, r"keyword\(\*, ctx: kvik.context.Context\) must take one argument"),
    (more_keywords, r"more_keywords\(.*\*, q: str\) must take one argument"),
    (lambda: None, r"<lambda>\(\) must take one argument"),
    (functools.partial(fastapi, 1), r"fastapi\(\) must take one argument"),
    (Handler().two, r"Handler.two\(ctx: .*, more: int\) must take one argument"),
    (_annotated(str), r"\(ctx: str\) must take one argument"),
    (_annotated("int"), r"\(ctx: 'int'\) must take one argument"),
    (_partly_known(), "must take one argument, the Context"),
    (_annotated(dict[str, int]), r"\(ctx: dict\[str, int\]\) must take one argument"),
    (_annotated(Annotated[int, "query"]), r"must take one argument"),
    (_annotated(int | None), r"must take one argument"),
    (_annotated(None), r"must take one argument"),
    (Handler, "of one Context, not the class Handler: give an instance, or a method of one"),
    (App, "of one Context, not the class App"),
    ("handler", "of one Context, not str"),
    (None, "of one Context, not NoneType"),
    ({"a": 1}, "of one Context, not dict"),
]


@pytest.mark.parametrize(("handler", "words"), _REFUSED, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize(
    "register",
    [
        lambda app, handler: app.get("/x")(handler),
        lambda app, handler: app.group("/g").post("")(handler),
        lambda app, handler: app.route("/x", ["PUT"])(handler),
        lambda app, handler: app.websocket("/x")(handler),
        lambda app, handler: app.on_start(handler),
        lambda app, handler: app.on_stop(handler),
    ],
)
def test_any_other_is_refused_where_it_is_registered(
    register: Callable[[App, Any], None], handler: Any, words: str
) -> None:
    """What takes a request's parts as arguments, too many or none; a class; what cannot be called."""
    with pytest.raises(TypeError, match=words):
        register(App(), handler)


def test_a_handler_called_after_a_parameter_of_its_path_is_refused() -> None:
    """`def h(id)` on "/x/{id}" is FastAPI's; elsewhere an argument may have any name."""
    with pytest.raises(TypeError, match=r"unannotated\(id\) must take one argument, the Context"):
        App().group("/x/{id}").get("")(unannotated)
    App().get("/x")(unannotated)


def test_what_another_framework_is_to_fill_is_refused() -> None:
    """A default such as FastAPI's Depends is nothing that Kvik fills."""
    depends = type("Depends", (), {"__module__": "fastapi.params"})()

    async def handler(ctx: Context, user: Any = depends) -> None:
        pass

    with pytest.raises(TypeError, match="must take one argument, the Context"):
        App().get("/x")(handler)


def test_what_else_is_registered_is_looked_at() -> None:
    """Paths, middleware and mounts of the wrong kind are told where they are written."""
    app: Any = App()
    with pytest.raises(TypeError, match="a path is text, not int"):
        app.group(5)
    with pytest.raises(TypeError, match=r"Middleware\(cls, \*\*options\), not GZipMiddleware"):
        app.group("/g", middleware=[GZipMiddleware])
    with pytest.raises(TypeError, match="a class that is called with an app, not str"):
        app.add_middleware("gzip")
    app.route("/x", "get")(lambda ctx: "one method")
    with TestClient(app) as client:
        assert client.get("/x").json() == {"data": "one method"}


@pytest.mark.filterwarnings("error")
def test_the_coroutine_of_a_call_is_refused() -> None:
    """`app.get("/x")(handler(ctx))` forgot that the app calls; no warning of a coroutine comes besides."""
    for register in (App().get("/x"), App().on_start, lambda check: App().add_health_check("x", check)):
        with pytest.raises(
            TypeError, match="not the coroutine of a call: give two itself, without the parentheses"
        ):
            register(two("hi", None))  # type: ignore[arg-type, type-var]  # the mistake under test


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "websocket"])
def test_routes_are_registered_by_decorators(method: str) -> None:
    """Neither GoFr's `app.get(path, handler)` nor FastAPI's options mean anything; the error says what does."""
    register = getattr(App(), method)
    with pytest.raises(TypeError, match=rf'write @app.{method}\("/path"\) above def two\(ctx: Context\)'):
        register("/x", two)
    with pytest.raises(TypeError, match=rf"app.{method} takes no response_model, status_code: .* Response\(data"):
        register("/x", response_model=int, status_code=201)
    for args in ((), (two,), (None,), (5,)):
        with pytest.raises(TypeError, match=r'its path: @app.get\("/path"\), with the parentheses'):
            register(*args)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda ctx: None, r"must take no argument"),
        (fastapi, "fastapi must take no argument"),
        (keyword, "keyword must take no argument"),
        (App, "not the class App: give an instance, or a method of one"),
        ("up", "a health check is a function without arguments, not str"),
    ],
)
def test_a_health_check_takes_nothing(check: Any, words: str) -> None:
    """It is asked without a request."""
    with pytest.raises(TypeError, match=words):
        App().add_health_check("x", check)


def test_a_builtin_that_tells_no_signature_is_taken() -> None:
    """Only its call can show whether it fits."""
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(getattr)
    builtin: Any = getattr
    App().get("/x")(builtin)
    App().add_health_check("x", builtin)


# Names that somebody looks for in kvik


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SQLite", "from kvik_sqlite import SQLite"),
        ("Sqlite", "from kvik_sqlite import SQLite"),
        ("SQLiteStore", "from kvik_sqlite import SQLite"),
        ("DynamoDB", "from kvik_dynamodb import DynamoDB"),
        ("Redis", "there is no driver for it yet, only kvik_sqlite and kvik_dynamodb"),
        ("RedisStore", "a class with get, set, delete and health_check"),
        ("TestClient", "from kvik.testing import TestClient"),
        ("FastAPI", "Kvik's word for it is App"),
        ("Depends", "asks its Context for"),
        ("Request", "Starlette's Request is ctx.request"),
        ("HTTPException", "Kvik's word for it is HTTPError"),
        ("JSONResponse", "Kvik's word for it is Response"),
        ("New", r"Kvik's word for it is App\(\)"),
    ],
)
def test_a_name_that_is_elsewhere_is_told(name: str, words: str) -> None:
    """`from kvik import SQLite` is an ImportError that says where it is."""
    with pytest.raises(ImportError, match=words):
        exec(f"from kvik import {name}")  # noqa: S102 - the statement under test


def test_any_other_name_is_an_error_as_ever() -> None:
    """What nobody would look for here is Python's own error."""
    with pytest.raises(ImportError, match="cannot import name 'Nope' from 'kvik'"):
        from kvik import Nope  # type: ignore[attr-defined]  # noqa: F401, PLC0415 - the mistake under test
    assert not hasattr(kvik, "nope")


def test_every_name_that_is_told_is_there() -> None:
    """The words for other frameworks' names begin with what Kvik has."""
    from kvik._elsewhere import _OTHER_WORDS  # noqa: PLC0415 - for this test alone

    for word in _OTHER_WORDS.values():
        first = word.partition(",")[0].partition("(")[0].strip()
        assert hasattr(kvik, first) or "." in first or first.startswith(("await ctx", "what a", "ACCESS_CONTROL"))


# After the start

_ADDITIONS: dict[str, Callable[[App], Any]] = {
    "a route": lambda app: app.get("/y")(lambda ctx: None),
    "a route of a group": lambda app: _GROUPS[app].post("/y")(lambda ctx: None),
    "a WebSocket": lambda app: app.websocket("/y")(two_less),
    "a store": lambda app: app.add_kv_store(kvik.MemoryStore(), "late"),
    "a start hook": lambda app: app.on_start(lambda ctx: None),
    "a stop hook": lambda app: app.on_stop(lambda ctx: None),
    "a health check": lambda app: app.add_health_check("late", lambda: None),
    "a mount": lambda app: app.mount("/m", App()),
    "a folder": lambda app: app.add_static_files("/s", "."),
    "a group": lambda app: app.group("/g"),
    "middleware": lambda app: app.add_middleware(lambda inner: inner),
}
_GROUPS: dict[App, Any] = {}


async def two_less(ctx: Context) -> None:
    pass


def _refusals(app: App) -> list[str]:
    refused = []
    for what, add in _ADDITIONS.items():
        try:
            add(app)
        except RuntimeError as error:
            assert "is added before the app starts" in str(error)  # noqa: PT017 - one of many
            refused.append(what)
    return refused


def test_nothing_is_added_after_the_start() -> None:
    """Not by a hook, a handler or a test: it would not be taken up, or only in part."""
    app = App()
    _GROUPS[app] = app.group("/g")
    seen: dict[str, list[str]] = {}

    @app.on_start
    async def start(_: Context) -> None:
        seen["start hook"] = _refusals(app)

    @app.on_stop
    async def stop(_: Context) -> None:
        seen["stop hook"] = _refusals(app)

    @app.get("/x")
    async def handler(_: Context) -> None:
        seen["handler"] = _refusals(app)

    with TestClient(app) as client:
        client.get("/x")
        seen["test"] = _refusals(app)
        assert client.get("/y").status_code == 404
    assert seen == {where: [*_ADDITIONS] for where in ("start hook", "handler", "test", "stop hook")}


def test_an_app_that_has_stopped_may_be_added_to() -> None:
    """It takes up what it has got when it starts again."""
    app = App()
    with TestClient(app):
        pass
    app.get("/y")(lambda ctx: "late")
    app.add_kv_store(kvik.MemoryStore())
    with TestClient(app) as client:
        assert client.get("/y").json() == {"data": "late"}


def test_an_app_that_failed_to_start_may_be_added_to() -> None:
    """The failed start is over."""
    app = App()

    @app.on_start
    async def start(_: Context) -> None:
        if not hasattr(app, "mended"):
            raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="did not start"), TestClient(app):
        pass
    app.mended = True  # type: ignore[attr-defined]  # for the hook
    app.get("/y")(lambda ctx: "late")
    with TestClient(app) as client:
        assert client.get("/y").json() == {"data": "late"}


async def test_a_cancelled_start_is_over_too() -> None:
    """A server that gives up leaves an app that can be added to."""
    app = App()
    app.on_start(lambda ctx: ctx.wait(asyncio.sleep(10)))

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(_: Any) -> None:
        pass

    task = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    app.get("/y")(two_less)


# Types that nothing can be bound to


class Plain:
    pass


_NO_KINDS: list[tuple[Any, str]] = [
    ({}, "a value of dict; give a type"),
    ({"a": int}, "a value of dict; give a type"),
    ([int], "a value of list; give a type"),
    (5, "a value of int; give a type"),
    ("Person", "a value of str; give a type"),
    (None, "a value of NoneType; give a type"),
    (Plain(), "a value of Plain; give a type"),
    (App, "App: it is no dataclass"),
    (Plain, "Plain: it is no dataclass"),
    (list["Missing"], "list.'Missing'.: .* give a type"),  # type: ignore[name-defined]  # noqa: F821 - the mistake
    (list[int] | set[int], r"list\[int\] \| set\[int\]: .* more than one array-like"),
    (Handler.method, "a value of function; give a type"),
]


@pytest.mark.parametrize(("kind", "words"), _NO_KINDS)
async def test_what_nothing_can_be_bound_to_is_told(kind: Any, words: str) -> None:
    """A value, None, or a type that nothing becomes: TypeError in words, from whatever takes a type."""
    refused: dict[str, str] = {}

    async def handler(ctx: Context) -> None:
        with pytest.raises(TypeError, match=f"nothing can be bound to {words}"):
            await ctx.bind(kind)
        with pytest.raises(TypeError, match=f"nothing can be bound to {words}"):
            ctx.bind_query(kind)
        refused["both"] = "told"

    app = App()
    app.post("/x")(handler)
    with TestClient(app) as client:
        client.post("/x?a=1", json={"a": 1})
    assert refused
    with pytest.raises(TypeError, match=f"nothing can be bound to {words}"):
        kvik.from_json("{}", kind)
    with pytest.raises(TypeError, match=f"nothing can be bound to {words}"):
        kvik.KV(kvik.MemoryStore()).typed(kind)


def test_a_hook_without_a_name_of_its_own_may_fail(capsys: pytest.CaptureFixture[str]) -> None:
    """The line of a partial's failure names the function in it, and the other hooks run."""
    app, ran = App(), []
    app.on_stop(functools.partial(two, more := "x"))  # fine
    app.on_stop(functools.partial(_fails, more))
    app.on_stop(lambda ctx: ran.append("last"))
    with TestClient(app):
        pass
    assert '"hook":"_fails"' in capsys.readouterr().err
    assert ran == ["last"]


def _fails(_: str, ctx: Context) -> None:
    raise ZeroDivisionError
