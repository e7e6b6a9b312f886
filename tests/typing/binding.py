"""What mypy is to know of bind and bind_query: right uses pass, and each wrong one is refused. Never run."""

from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import msgspec
import pydantic

import kvik
from kvik import Context


@dataclass
class Person:
    name: str


class Struct(msgspec.Struct):
    name: str


class Model(pydantic.BaseModel):
    name: str


class Typed(TypedDict):
    name: str


async def right(ctx: Context) -> None:
    """Pass."""
    assert_type(await ctx.bind(Person), Person)
    assert_type(await ctx.bind(Struct), Struct)
    assert_type(await ctx.bind(Model), Model)
    assert_type(await ctx.bind(Typed), Typed)
    assert_type(await ctx.bind(list[Person]), list[Person])
    assert_type(await ctx.bind(dict[str, int]), dict[str, int])
    assert_type(await ctx.bind(int), int)
    assert_type(await ctx.bind(), Any)
    assert_type(ctx.bind_query(Person), Person)
    assert_type(ctx.bind_query(Typed), Typed)
    assert_type(ctx.bind_query(dict[str, list[int]]), dict[str, list[int]])
    assert_type(ctx.wait(ctx.bind(Person)), Person)
    assert_type(kvik.from_json("{}", Model), Model)


async def wrong(ctx: Context) -> None:
    """Be refused."""
    name: int = (await ctx.bind(Person)).name  # type: ignore[assignment]  # a str
    ctx.bind(Person).name  # type: ignore[attr-defined]  # noqa: B018 - not awaited
    (await ctx.bind(Person)).nam  # type: ignore[attr-defined]  # noqa: B018 - misspelt
    await ctx.bind("Person")  # type: ignore[call-overload]  # a name, no type
    await ctx.bind(Person(""))  # type: ignore[call-overload]  # a value, no type
    await ctx.bind_query(Person)  # type: ignore[misc]  # nothing to await
    await ctx.bind(Person | None)  # type: ignore[arg-type]  # it works, but type[T] knows no unions
    ctx.bind_query()  # type: ignore[call-arg]  # without a type there is param
    person: Struct = ctx.bind_query(Person)  # type: ignore[assignment]  # another type
    print(name, person)  # noqa: T201 - both are used
