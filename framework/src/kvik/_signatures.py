"""Checks that a function can be called as the framework will call it, made where the user registers it.

The words are also for those who come from frameworks that fill a handler's arguments by their names and types.
"""

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Collection
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

_ASKING = (
    'ask it for the rest: ctx.path_param("id"), ctx.param("q") for the query, await ctx.bind(Type) for the body, '
    "ctx.header(name), ctx.kv_store, ctx.request for Starlette's Request"
)
_UNIONS = (Union, types.UnionType)


def check_takes_context(function: Any, what: str = "a handler", *, parameters: Collection[str] = ()) -> None:
    """Raise TypeError if the function is not to be called with one Context; `parameters` are those of its path."""
    _check_is_function(function, f"{what} is a function of one Context")
    signature = _signature(function)
    if signature is None:
        return
    try:
        bound = signature.bind(None)
    except TypeError:
        _refuse(function, signature)
    name, parameter = next((name, signature.parameters[name]) for name in bound.arguments)
    if parameter.kind is not inspect.Parameter.VAR_POSITIONAL and (
        not _may_be_context(_evaluated(parameter.annotation, function))
        or (parameter.annotation is inspect.Parameter.empty and name in parameters)
        or any(_is_foreign(other.default) for other in signature.parameters.values())
    ):
        _refuse(function, signature)


def check_takes_nothing(function: Any, what: str) -> None:
    """Raise TypeError if the function is not to be called without arguments."""
    _check_is_function(function, f"{what} is a function without arguments")
    signature = _signature(function)
    try:
        if signature is not None:
            signature.bind()
    except TypeError:
        raise TypeError(f"{name_of(function)} must take no argument") from None


def refuse_more(method: str, handlers: tuple[Any, ...], options: Collection[str]) -> NoReturn:
    """Raise TypeError for a route that is registered in another framework's way."""
    if options:
        raise TypeError(
            f"app.{method} takes no {', '.join(options)}: a handler returns what shapes its answer, "
            "such as Response(data, status=201), and asks for what it needs; middleware belongs to app.group"
        )
    names = ", ".join(map(name_of, handlers))
    raise TypeError(f'app.{method} is a decorator: write @app.{method}("/path") above def {names}(ctx: Context)')


def name_of(function: Any) -> str:
    """Return a function's name as it stands in its module."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__)).rpartition("<locals>.")[2]


def _check_is_function(function: Any, rule: str) -> None:
    if inspect.iscoroutine(function):
        name = function.__qualname__
        function.close()  # nobody will await it, and Python need not warn of that besides
        raise TypeError(f"{rule}, not the coroutine of a call: give {name} itself, without the parentheses")
    if isinstance(function, type) and function.__module__ != "builtins":
        raise TypeError(f"{rule}, not the class {function.__qualname__}: give an instance, or a method of one")
    if not callable(function):
        raise TypeError(f"{rule}, not {type(function).__name__}")


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature; None for a builtin without."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None


def _evaluated(annotation: Any, function: Any) -> Any:
    """Return what an annotation that is text stands for, or the text: only type checkers may import its names."""
    if isinstance(annotation, str):
        while isinstance(function, functools.partial):
            function = function.func
        if not inspect.isroutine(function):
            function = type(function).__call__
        with contextlib.suppress(Exception):  # it may be any text
            return eval(annotation, inspect.unwrap(function).__globals__)  # noqa: S307 - the program's own
    return annotation


def _refuse(function: Any, signature: inspect.Signature) -> NoReturn:
    shown = f"{name_of(function)}{signature.replace(return_annotation=inspect.Signature.empty)}"
    rule = "must take one argument, the Context, as in def handler(ctx: Context)"
    raise TypeError(f"{shown} {rule}; {_ASKING}") from None


def _may_be_context(annotation: Any) -> bool:
    """Tell whether a Context may be meant: there is no annotation, an unknown name, or a type that fits one."""
    from .context import Context  # noqa: PLC0415 - health checks are looked at here too, and a Context knows them

    origin = get_origin(annotation)
    if origin is Annotated:
        return _may_be_context(get_args(annotation)[0])
    if origin in _UNIONS:
        return any(map(_may_be_context, get_args(annotation)))
    if origin is not None:
        return False
    if annotation in (inspect.Parameter.empty, Any) or getattr(annotation, "_is_protocol", False):
        return True
    if isinstance(annotation, type):
        return issubclass(annotation, Context) or issubclass(Context, annotation)
    return annotation is not None


def _is_foreign(default: Any) -> bool:
    """Tell whether another framework is to fill the argument, as FastAPI's Depends and Query have it."""
    return type(default).__module__.partition(".")[0] in ("fastapi", "litestar")
