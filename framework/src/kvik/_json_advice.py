"""What to write in the place of a value that has no JSON form."""

import inspect
import io
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath

import msgspec

_MAX_DEPTH = 32

_ADVICE: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (PurePath, "return str(path), or File(path) to send the file"),
    (Awaitable, "await it"),
    (AsyncIterable, "return Stream(it), or a list: [item async for item in it]"),
    (complex, "return str(number), or [number.real, number.imag]"),
    (BaseException, "raise it, or return Response(error=it)"),
    (io.IOBase, "return File(path), or what read() gives"),
    (type, "return an instance of it: perhaps the () is missing"),
    (Mapping, "return dict(it)"),
    (Iterator, "return list(it); to send it piece by piece, a Stream of an async generator"),
    (Iterable, "return list(it)"),
)


def advice_on(value: object) -> str:
    """Return what to do with a value that JSON has no form for."""
    if inspect.iscoroutine(value):
        return f"write `await` before the call of {value.__qualname__}"
    for method in ("tolist", "item", "to_dict", "_asdict"):  # arrays, numbers and tables of numpy and pandas; rows
        if callable(getattr(type(value), method, None)):
            return f"return its {method}()"
    if isinstance(value, str):
        return "return text that UTF-8 can hold, without lone surrogates"
    for kind, advice in _ADVICE:
        if isinstance(value, kind):
            return advice
    if callable(value):
        return "call it: perhaps the () is missing"
    return "return str(it), a dict, a dataclass or a pydantic model of what is to be seen"


def json_problem(value: object, encode: Callable[[object], bytes]) -> str:
    """Return which part of a value has no JSON form, and what to do about it; closes a coroutine that it finds."""
    place, culprit, is_key = _find("$", value, encode, depth=0)
    advice = "return text or a number as the key" if is_key else advice_on(culprit)
    if inspect.iscoroutine(culprit):
        culprit.close()  # it is told of here
    name = type(culprit).__name__
    if isinstance(culprit, dict | list | tuple) and not is_key:
        return f"{name}, which contains itself or is nested too deep for JSON at `{place}`: return fewer levels"
    if is_key:
        return f"{type(value).__name__}, in which a key at `{place}` is {name}: {advice}"
    if place == "$":
        return f"{name}, which has no JSON form: {advice}"
    return f"{type(value).__name__}, in which `{place}` is {name}, which has no JSON form: {advice}"


def _find(place: str, value: object, encode: Callable[[object], bytes], *, depth: int) -> tuple[str, object, bool]:
    """Return the place of the first part that cannot be encoded, the part, and whether it is a key."""
    if depth == _MAX_DEPTH:
        return place, value, False
    if isinstance(value, dict):
        for key in value:
            if not _can_encode({key: None}, encode):
                return place, key, True
    for name, part in _parts(value):
        if not _can_encode(part, encode):
            return _find(f"{place}{name}", part, encode, depth=depth + 1)
    return place, value, False


def _parts(value: object) -> Iterable[tuple[str, object]]:
    """Return the parts of a value, each with what to write behind the value's place."""
    if isinstance(value, dict):
        return [(_key_shown(key), part) for key, part in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{position}]", part) for position, part in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name, None)) for field in fields(value)]
    if isinstance(value, msgspec.Struct):
        return [(f".{name}", getattr(value, name, None)) for name in value.__struct_fields__]
    return []


def _key_shown(key: object) -> str:
    """Return a key that reads as a name; others may be data, which no log is to hold."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else "[…]"


def _can_encode(value: object, encode: Callable[[object], bytes]) -> bool:
    try:
        encode(value)
    except Exception:  # noqa: BLE001 - a value's own way to become JSON may raise anything
        return False
    return True
