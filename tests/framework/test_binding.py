"""What `ctx.bind` and `ctx.bind_query` make of bodies and queries, and how they refuse."""

import asyncio
import datetime as dt
import decimal
import enum
import functools
import gc
import json
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, ClassVar, Literal, Required, TypedDict

import httpx
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import UploadFile

import kvik
from kvik import App, Context
from support import serving

URLENCODED = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


class Role(enum.Enum):
    ADMIN = "admin"
    USER = "user"


@dataclass
class Address:
    city: str


@dataclass
class Search:
    text: str = "default"
    maybe_text: str | None = None
    count: int = 7
    maybe_count: int | None = None
    price: float = 1.0
    exact: decimal.Decimal | None = None
    active: bool = False
    maybe_active: bool | None = None
    tags: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    maybe_numbers: list[int] | None = None
    flags: list[bool] = field(default_factory=list)
    unique: set[int] = field(default_factory=set)
    pair: tuple[int, int] | None = None
    role: Role = Role.USER
    order: Literal["up", "down"] = "up"
    empty_or_not: Literal["", "x"] = "x"
    size: Literal[1, 2] = 1
    since: dt.date | None = None
    at: dt.datetime | None = None
    ident: uuid.UUID | None = None
    rating: Annotated[int, msgspec.Meta(ge=1, le=5, description="stars")] = 3
    address: Address | None = None
    anything: Any = None


@dataclass
class Person:
    name: str
    age: int
    role: Role = Role.USER


class Renamed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    first_name: str
    is_on: bool = False


class Circle(msgspec.Struct, tag_field="shape", tag="circle"):
    radius: float


class Square(msgspec.Struct, tag_field="shape", tag="square"):
    side: float


class Point(msgspec.Struct, array_like=True):
    x: int
    y: int


class Partial(TypedDict, total=False):
    age: Required[int]
    tags: list[str]


class Model(pydantic.BaseModel):
    age: int
    tags: list[int] = []
    since: dt.date | None = None
    active: bool = False
    colour: str = pydantic.Field("none", alias="color")
    code: str = pydantic.Field("none", validation_alias=pydantic.AliasChoices("c", "code"))
    order: Literal["up", "down"] = "up"
    unknown_to_msgspec: list[int] | set[int] | str = ""


def _model(**fields: object) -> Model:
    return Model.model_validate(fields, by_name=True)


class StrictModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    since: dt.date


class LikeAModel:
    """Have pydantic's methods, and errors of its own."""

    @classmethod
    def model_validate(cls, data: object) -> "LikeAModel":
        raise ValueError(f"no such thing as {data}")

    model_validate_json = model_validate
    model_fields: ClassVar[dict[str, object]] = {}


@dataclass
class Team:
    members: list[Model]
    start: StrictModel | None = None


@dataclass
class Tree:
    children: list["Tree"]
    role: Role = Role.USER


@dataclass
class Leaf:
    name: str = "leaf"
    of: "Branch | None" = None


@dataclass
class Branch:
    leaves: list[Leaf] = field(default_factory=list)
    named: dict[str, Leaf] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        for leaf in self.leaves:
            leaf.of = self


@dataclass(slots=True, frozen=True)
class Slotted:
    leaf: Leaf
    size: int = 1


class Holder(msgspec.Struct):
    slotted: Slotted
    one: tuple[Leaf, int] | None = None


@dataclass
class Checked:
    age: int

    def __post_init__(self) -> None:
        if self.age < 0:
            raise ValueError("Invalid value: age is below zero")


@dataclass
class Upload:
    title: str
    photo: UploadFile
    more: list[UploadFile] = field(default_factory=list)
    other: UploadFile | None = None


class UploadDict(TypedDict):
    photo: UploadFile


class UploadModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    title: str
    photo: UploadFile


class Unknown:
    pass


@dataclass
class HoldsUnknown:
    items: list[Unknown]


@pydantic.dataclasses.dataclass
class PydanticDataclass:
    age: int


@dataclass
class File:
    """Hold what a handler has read of an UploadFile."""

    name: str | None
    content: bytes
    content_type: str | None
    on_disk: bool


async def _read(value: Any) -> Any:
    """Read all files in a bound value, as long as the request is open."""
    if isinstance(value, UploadFile):
        on_disk = bool(getattr(value.file, "_rolled", None))
        return File(value.filename, await value.read(), value.content_type, on_disk)
    if isinstance(value, list):
        return [await _read(item) for item in value]
    if isinstance(value, Upload | UploadModel):
        return {name: await _read(item) for name, item in vars(value).items()}
    if isinstance(value, dict):
        return {name: await _read(item) for name, item in value.items()}
    return value


class Server:
    """Serve one app in which every body and query is bound to the type that the test names."""

    def __init__(self) -> None:
        self.app = App()
        self.client: httpx.AsyncClient
        self._kind: Any = None
        self._bound: list[Any] = []
        self.seen: list[Any] = []
        self.app.post("/body")(self._bind)
        self.app.get("/query")(self._bind_query)

    async def _bind(self, ctx: Context) -> None:
        bound: Any = await ctx.bind(self._kind)
        self.seen.append(bound)
        self._bound.append(await _read(bound))

    async def _bind_query(self, ctx: Context) -> None:
        bound: Any = ctx.bind_query(self._kind)
        self._bound.append(bound)

    async def ask(self, kind: Any, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request whose data are to be bound to `kind`."""
        self._kind = kind
        return await self.client.request(method, path, **request)

    async def bound(self, kind: Any, method: str, path: str, **request: Any) -> Any:
        """Send a request, and return what the handler got."""
        answer = await self.ask(kind, method, path, **request)
        assert answer.is_success, answer.text
        return self._bound.pop()

    async def refused(self, kind: Any, method: str, path: str, **request: Any) -> tuple[int, str]:
        """Send a request that is to be refused, and return the status and the message."""
        answer = await self.ask(kind, method, path, **request)
        return answer.status_code, answer.json()["error"]["message"]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with serving(server.app) as server.client:
        yield server


Carrier = Callable[[str], tuple[str, str, dict[str, Any]]]


def _in_query(sent: str) -> tuple[str, str, dict[str, Any]]:
    return "GET", f"/query?{sent}", {}


def _urlencoded(sent: str) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/body", {"content": sent, "headers": URLENCODED}


def _multipart(sent: str) -> tuple[str, str, dict[str, Any]]:
    pairs = urllib.parse.parse_qsl(sent, keep_blank_values=True)
    return "POST", "/body", {"files": [(name, (None, value.encode())) for name, value in pairs]}


def _short(value: object) -> str:
    """Name a case of a table whose columns are long."""
    return repr(value)[:40]


_NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"

every_carrier = pytest.mark.parametrize("carrier", [_in_query, _urlencoded, _multipart])


@every_carrier
@pytest.mark.parametrize(
    ("sent", "name", "value"),
    [
        ("text=a&text=b", "text", "b"),
        ("text=", "text", ""),
        ("text=%C3%A9%F0%9F%98%80+%26", "text", "é😀 &"),
        ("maybe_text=", "maybe_text", ""),
        ("count=1&count=2", "count", 2),
        ("count=-5", "count", -5),
        ("count=", "count", 7),
        ("count=2&count=", "count", 2),
        ("maybe_count=", "maybe_count", None),
        ("maybe_count=3", "maybe_count", 3),
        ("price=1.5", "price", 1.5),
        ("price=2", "price", 2.0),
        ("exact=1.10", "exact", decimal.Decimal("1.10")),
        *[(f"active={text}", "active", True) for text in ("on", "true", "1", "On", "TRUE")],
        *[(f"active=on&active={text}", "active", False) for text in ("off", "false", "0", "OFF")],
        ("active=", "active", False),
        ("maybe_active=off", "maybe_active", False),
        ("tags=a", "tags", ["a"]),
        ("tags=b&tags=&tags=a", "tags", ["b", "", "a"]),
        ("tags=a,b", "tags", ["a,b"]),
        ("numbers=1&numbers=2", "numbers", [1, 2]),
        ("numbers=&numbers=2", "numbers", [2]),
        ("numbers=", "numbers", []),
        ("maybe_numbers=4", "maybe_numbers", [4]),
        ("maybe_numbers=", "maybe_numbers", None),
        ("flags=on&flags=0", "flags", [True, False]),
        ("unique=1&unique=1", "unique", {1}),
        ("pair=1&pair=2", "pair", (1, 2)),
        ("role=admin", "role", Role.ADMIN),
        ("role=", "role", Role.USER),
        ("order=down", "order", "down"),
        ("empty_or_not=", "empty_or_not", ""),
        ("size=2", "size", 2),
        ("since=2020-02-29", "since", dt.date(2020, 2, 29)),
        ("at=2020-01-01T00:00:00Z", "at", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
        ("ident=" + "0" * 32, "ident", uuid.UUID(int=0)),
        ("rating=5", "rating", 5),
        ("anything=1&anything=", "anything", ""),
        ("unknown=1", "count", 7),
    ],
)
async def test_fields_are_read_by_their_type(
    server: Server, carrier: Carrier, sent: str, name: str, value: object
) -> None:
    """A list takes all values, others the last; text becomes what the type says; "" is absent but for str."""
    method, path, request = carrier(sent)
    assert getattr(await server.bound(Search, method, path, **request), name) == value


@every_carrier
@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("count=x", "Expected `int`, got `str` - at `$.count`"),
        ("count=1.5", "Expected `int`, got `str` - at `$.count`"),
        ("count=" + "9" * 4400, "Integer value out of range - at `$.count`"),
        ("count=1e400000", "Number out of range - at `$.count`"),
        ("price=much", "Expected `float`, got `str` - at `$.price`"),
        ("active=yes", "Expected `bool`, got `str` - at `$.active`"),
        ("maybe_active=2", "Expected `bool | null`, got `str` - at `$.maybe_active`"),
        ("numbers=1&numbers=x", "Expected `int`, got `str` - at `$.numbers[1]`"),
        ("pair=1", "Expected `array` of length 2, got 1 - at `$.pair`"),
        ("role=root", "Expected one of `admin`, `user` - at `$.role`"),
        ("order=left", "Expected one of `down`, `up` - at `$.order`"),
        ("size=3", "Expected one of `1`, `2` - at `$.size`"),
        ("since=yesterday", "Invalid RFC3339 encoded date - at `$.since`"),
        ("ident=1", "Invalid UUID - at `$.ident`"),
        ("rating=9", "Expected `int` <= 5 - at `$.rating`"),
        ("address=Rome", "Expected `object | null`, got `str` - at `$.address`"),
    ],
    ids=_short,
)
async def test_a_field_that_does_not_fit_is_named(
    server: Server, carrier: Carrier, sent: str, message: str
) -> None:
    """A form or query that does not fit is a 400 that says where, and what was expected."""
    method, path, request = carrier(sent)
    assert await server.refused(Search, method, path, **request) == (400, message)


class Inputs(pydantic.BaseModel):
    """What a page's inputs are bound to; of the same fields there are a dataclass and a Struct."""

    at: dt.datetime = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - what datetime-local sends has no zone
    times: list[dt.time] = []
    on: dt.date = dt.date(2000, 1, 1)
    whole: int = 0
    part: float = 0.0
    exact: decimal.Decimal = decimal.Decimal(0)
    either: dt.datetime | int | None = None
    text: str = ""
    month: str = ""
    box: bool
    boxes: list[bool] = []
    note: str | None
    age: int | None
    until: dt.datetime | None


_NAMES = [(name, field.annotation, field) for name, field in Inputs.model_fields.items()]
_WITH_DEFAULTS = [
    (name, kind, ... if field.is_required() else field.default) for name, kind, field in _NAMES if kind is not None
]
InputsStruct = msgspec.defstruct(
    "InputsStruct",
    [(name, kind) if default is ... else (name, kind, default) for name, kind, default in _WITH_DEFAULTS],
    kw_only=True,
)
InputsDataclass = make_dataclass(
    "InputsDataclass",
    [
        (name, kind)
        if default is ...
        else (name, kind, field(default_factory=list) if default == [] else field(default=default))
        for name, kind, default in _WITH_DEFAULTS
    ],
    kw_only=True,
)


_READ: list[tuple[str, str, object]] = [
    ("at=2026-11-28T10:00", "at", dt.datetime(2026, 11, 28, 10)),  # noqa: DTZ001
    ("at=2026-11-28", "at", dt.datetime(2026, 11, 28)),  # noqa: DTZ001
    ("at=2026-11-28+10:00", "at", dt.datetime(2026, 11, 28, 10)),  # noqa: DTZ001
    ("at=2026-11-28T10:00:30.5", "at", dt.datetime(2026, 11, 28, 10, 0, 30, 500_000)),  # noqa: DTZ001
    ("at=2026-11-28T10:00:00Z", "at", dt.datetime(2026, 11, 28, 10, tzinfo=dt.UTC)),
    ("at=", "at", dt.datetime(2000, 1, 1)),  # noqa: DTZ001
    ("times=10:00&times=23:59:58&times=", "times", [dt.time(10), dt.time(23, 59, 58)]),
    ("on=2026-11-28", "on", dt.date(2026, 11, 28)),
    ("month=2026-11", "month", "2026-11"),
    ("whole=05", "whole", 5),
    ("whole=-007", "whole", -7),
    ("whole=0", "whole", 0),
    ("whole=-0", "whole", 0),
    ("whole=1e3", "whole", 1000),
    ("whole=1.5E1", "whole", 15),
    ("whole=5.0", "whole", 5),
    ("part=.5", "part", 0.5),
    ("part=-.5", "part", -0.5),
    ("part=05.5", "part", 5.5),
    ("part=.5e1", "part", 5.0),
    ("exact=.50", "exact", decimal.Decimal("0.50")),
    ("exact=1e3", "exact", decimal.Decimal(1000)),
    ("either=2026-11-28T10:00", "either", dt.datetime(2026, 11, 28, 10)),  # noqa: DTZ001
    ("text=10:00", "text", "10:00"),
    ("text=05", "text", "05"),
    ("", "box", False),
    ("box=", "box", False),
    ("box=on", "box", True),
    ("box=off", "box", False),
    ("boxes=on", "boxes", [True]),
    ("note=", "note", ""),
    ("age=", "age", None),
    ("age=7", "age", 7),
    ("until=", "until", None),
    ("until=2026-11-28T10:00", "until", dt.datetime(2026, 11, 28, 10)),  # noqa: DTZ001
]
_NOT_READ = ["at=10:00T2026-11-28", "whole=1.5", "whole=--1", "whole=1e999", "part=.", "part=-"]
_NOT_READ_BY_MSGSPEC = ["at=2026-11", "times=10"]

every_kind_of_inputs = pytest.mark.parametrize("kind", [Inputs, InputsStruct, InputsDataclass])


@every_carrier
@every_kind_of_inputs
async def test_the_texts_of_htmls_inputs_are_read(server: Server, carrier: Carrier, kind: Any) -> None:
    """datetime-local and time without seconds, every number, a box that is not checked, an input left empty."""
    for sent, name, value in _READ:
        given = dict(urllib.parse.parse_qsl(sent, keep_blank_values=True))
        others = "&".join(f"{other}=" for other in ("note", "age", "until") if other not in given)
        method, path, request = carrier("&".join(filter(None, (sent, others))))
        assert getattr(await server.bound(kind, method, path, **request), name) == value, sent


@every_carrier
@every_kind_of_inputs
async def test_an_input_that_is_not_there_is_missing(server: Server, carrier: Carrier, kind: Any) -> None:
    """Only a box, or an input that is there and empty, stands for something where there is no default."""
    for sent in ("box=on", "note=a&age=1", "note=a&until="):
        method, path, request = carrier(sent)
        status, message = await server.refused(kind, method, path, **request)
        assert (status, "required" in message) == (400, True)


@every_carrier
@every_kind_of_inputs
async def test_what_no_input_sends_is_refused(server: Server, carrier: Carrier, kind: Any) -> None:
    """Other texts are a 400 as before; pydantic takes a number for seconds."""
    for sent in _NOT_READ if kind is Inputs else _NOT_READ + _NOT_READ_BY_MSGSPEC:
        method, path, request = carrier(f"{sent}&note=&age=&until=")
        status, message = await server.refused(kind, method, path, **request)
        assert (status, sent.partition("=")[0] in message) == (400, True)


@every_carrier
@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        (Person, "name=A&age=3", Person("A", 3)),
        (Person | None, "name=A&age=3", Person("A", 3)),
        (Renamed, "firstName=A&isOn=on", Renamed("A", is_on=True)),
        (Circle | Square, "shape=square&side=2", Square(2.0)),
        (Partial, "age=3&tags=a", {"age": 3, "tags": ["a"]}),
        (dict, "a=1&a=2&b=", {"a": "2", "b": ""}),
        (dict[str, int], "a=1&b=", {"a": 1}),
        (dict[str, list[int]], "a=1&a=2&b=3", {"a": [1, 2], "b": [3]}),
        (dict[str, bool], "a=on", {"a": True}),
        (Any, "a=1&a=2", {"a": "2"}),
        (object, "a=1", {"a": "1"}),
        (
            Model,
            "age=3&tags=1&tags=2&since=&active=on&color=&c=x",
            _model(age=3, tags=[1, 2], active=True, color="", c="x"),
        ),
        (Model, "age=1&age=2&since=2020-01-01", _model(age=2, since=dt.date(2020, 1, 1))),
        (Checked, "age=1", Checked(1)),
    ],
)
async def test_every_kind_with_named_fields_takes_fields(
    server: Server, carrier: Carrier, kind: Any, sent: str, value: object
) -> None:
    """Forms and queries become dataclasses, structs, typed dicts, dicts and pydantic models, aliases included."""
    method, path, request = carrier(sent)
    assert await server.bound(kind, method, path, **request) == value


@every_carrier
@pytest.mark.parametrize(
    ("kind", "sent", "message"),
    [
        (Person, "age=3", "Object missing required field `name`"),
        (Renamed, "firstName=A&other=1", "Object contains unknown field `other`"),
        (Circle | Square, "shape=line", "Expected one of `circle`, `square` - at `$.shape`"),
        (Model, "other=1", "Field required - at `$.age`"),
        (Checked, "age=-1", "Invalid value: age is below zero"),
        (LikeAModel, "age=1", "no such thing as {'age': '1'}"),
        (
            Model,
            "age=x&tags=1&tags=&order=left",
            f"{_NO_INTEGER} - at `$.age`; Input should be 'up' or 'down' - at `$.order`",
        ),
    ],
)
async def test_every_kind_refuses_fields_with_the_reason(
    server: Server, carrier: Carrier, kind: Any, sent: str, message: str
) -> None:
    """Whatever the kind, a refusal is one line that names fields and repeats no values."""
    method, path, request = carrier(sent)
    assert await server.refused(kind, method, path, **request) == (400, message)


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [
        (Renamed, '{"firstName":"A"}', Renamed("A")),
        (list[Person], '[{"name":"A","age":3}]', [Person("A", 3)]),
        (dict[str, int], '{"a":1}', {"a": 1}),
        (Point, "[1,2]", Point(1, 2)),
        (int | None, "null", None),
        (Model, '{"age":3,"color":"red"}', _model(age=3, color="red")),
        (list[Model], '[{"age":3}]', [_model(age=3)]),
        (Model | None, "null", None),
        (StrictModel, '{"since":"2020-01-01"}', StrictModel(since=dt.date(2020, 1, 1))),
        (
            Team,
            '{"members":[{"age":1}],"start":{"since":"2020-01-01"}}',
            Team([_model(age=1)], StrictModel(since=dt.date(2020, 1, 1))),
        ),
        (Tree, '{"children":[{"children":[]}]}', Tree([Tree([])])),
    ],
)
async def test_json_becomes_any_kind(server: Server, kind: Any, content: str, value: object) -> None:
    """JSON becomes what msgspec knows, pydantic models, and what holds them."""
    assert await server.bound(kind, "POST", "/body", content=content, headers=JSON) == value


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (Person, b'{"name":"A","age":3,"role":"root"}', "Expected one of `admin`, `user` - at `$.role`"),
        (Role, b'"root"', "Expected one of `admin`, `user`"),
        (dict[str, Role], b'{"a":"root"}', "Expected one of `admin`, `user` - at `$[...]`"),
        (dict[Role, int], b'{"root":1}', "Invalid value - at `key` in `$`"),
        (tuple[int, Role], b'[1,"root"]', "Expected one of `admin`, `user` - at `$[1]`"),
        (
            Tree,
            b'{"children":[{"children":[],"role":"root"}]}',
            "Expected one of `admin`, `user` - at `$.children[0].role`",
        ),
        (Tree, b'{"children":[' * 100_000, "JSON is nested too deep"),
        (Checked, b'{"age":-1}', "Invalid value: age is below zero"),
        (Upload, b'{"title":"a","photo":"x"}', "Expected `UploadFile`, got `str` - at `$.photo`"),
        (Model, b"", "request body is empty; JSON was expected"),
        (Model, b"{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        (Model, b'{"age":"\xff"}', "Invalid JSON: invalid unicode code point at line 1 column 9"),
        (Model, b'{"tags":' + b"[" * 100_000, "Invalid JSON: recursion limit exceeded at line 1 column 209"),
        (Model, b"[]", "Input should be an object"),
        (Model | None, b"3", "Input should be an object"),
        (
            Model,
            b'{"tags":["a"]}',
            f"Field required - at `$.age`; {_NO_INTEGER} - at `$.tags[0]`",
        ),
        (
            Model,
            json.dumps({"age": 1, "tags": [None] * 8}).encode(),
            "; ".join(f"Input should be a valid integer - at `$.tags[{i}]`" for i in range(5)) + "; and 3 more",
        ),
        (Model, json.dumps({"age": 1, "tags": [None] * 2000}).encode(), "2000 values do not fit"),
        (list[Model], b'[{"age":1},{"age":null}]', "Input should be a valid integer - at `$[1].age`"),
        (Team, b'{"members":[{"age":null}]}', "Input should be a valid integer - at `$.members[0].age`"),
        (list[Model], b'[{"a":' * 100_000, "JSON is nested too deep"),
    ],
    ids=_short,
)
async def test_json_that_does_not_fit_is_refused_with_the_reason(
    server: Server, kind: Any, content: bytes, message: str
) -> None:
    """JSON that does not fit is a 400 that says where, and what was expected, pydantic's in one line."""
    assert await server.refused(kind, "POST", "/body", content=content, headers=JSON) == (400, message)


async def test_a_long_message_is_cut(server: Server) -> None:
    """A message that repeats a client's field name does not fill the log."""
    content = json.dumps({"firstName": "A", "x" * 100_000: 1})
    status, message = await server.refused(Renamed, "POST", "/body", content=content, headers=JSON)
    assert (status, len(message), message[-2:]) == (400, 501, "x…")


@pytest.mark.parametrize("kind", [Upload, UploadDict, UploadModel, dict[str, UploadFile], Any])
async def test_a_file_arrives_with_its_name_and_type(server: Server, kind: Any) -> None:
    """A file of a multipart form is an UploadFile in a field of that type."""
    fields = {} if kind in (UploadDict, dict[str, UploadFile]) else {"title": "é"}
    bound = await server.bound(
        kind, "POST", "/body", data=fields, files={"photo": ("ü/../x.png", b"\x00\xff", "image/png")}
    )
    assert bound["photo"] == File("ü/../x.png", b"\x00\xff", "image/png", on_disk=False)
    assert bound.get("title", "é") == "é"


async def test_several_files_arrive_under_one_name(server: Server) -> None:
    """A list of UploadFile takes all files of its name."""
    files = [("more", ("a", b"1")), ("photo", ("p", b"")), ("more", ("b", b"2"))]
    bound = await server.bound(Upload, "POST", "/body", data={"title": "t"}, files=files)
    assert [file.name for file in bound["more"]] == ["a", "b"]


async def test_a_large_file_is_on_disk(server: Server) -> None:
    """A file over 1 MiB waits on disk, not in memory."""
    content = bytes(1_500_000)
    bound = await server.bound(Upload, "POST", "/body", data={"title": "t"}, files={"photo": ("p", content)})
    assert bound["photo"] == File("p", content, "application/octet-stream", on_disk=True)


async def test_a_file_that_was_not_chosen_is_absent(server: Server) -> None:
    """What a browser sends for an empty file input counts as absent."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nt\r\n'
        b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n\r\n'
        b'--b\r\nContent-Disposition: form-data; name="other"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n"
    )
    headers = {"content-type": 'Multipart/Form-Data; charset=utf-16; Boundary="b"'}
    bound = await server.bound(Upload, "POST", "/body", content=body, headers=headers)
    assert (bound["other"], bound["photo"].content) == (None, b"")


@pytest.mark.parametrize(
    ("kind", "files", "message"),
    [
        (
            Upload,
            {"title": ("name", b"1"), "photo": ("p", b"2")},
            "Expected `str`, got `UploadFile` - at `$.title`",
        ),
        (
            Upload,
            {"title": (None, b"1"), "photo": (None, b"2")},
            "Expected `UploadFile`, got `str` - at `$.photo`",
        ),
        (
            UploadModel,
            {"title": ("name", b"1"), "photo": ("p", b"2")},
            "Input should be a valid string - at `$.title`",
        ),
        (
            UploadModel,
            {"title": (None, b"1"), "photo": (None, b"2")},
            "Input should be an instance of UploadFile - at `$.photo`",
        ),
        (dict[str, bool], {"a": ("name", b"1")}, "Expected `bool`, got `UploadFile` - at `$[...]`"),
        (
            Team,
            {"members": ("name", b"1")},
            "Input should be a valid dictionary or instance of Model - at `$.members[0]`",
        ),
    ],
)
async def test_files_and_text_are_not_mixed_up(server: Server, kind: Any, files: Any, message: str) -> None:
    """A file for a field of text is a 400, and text for a file too."""
    assert await server.refused(kind, "POST", "/body", files=files) == (400, message)


async def test_files_are_closed_when_the_request_ends(server: Server) -> None:
    """After the answer no file is open, whether it was bound or stands in a form that was refused."""
    server.seen.clear()
    files = [("photo", ("p", bytes(1_500_000))), ("unknown", ("q", bytes(1_500_000)))]
    await server.bound(Upload, "POST", "/body", data={"title": "t"}, files=files)
    assert server.seen[0].photo.file.closed
    assert (await server.refused(Upload, "POST", "/body", files=files))[0] == 400
    server.seen.clear()
    gc.collect()  # a file left open would be a ResourceWarning, which is an error


async def test_files_are_closed_when_the_handler_fails() -> None:
    """A handler that raises leaves no file open."""
    app = App()
    kept: list[Upload] = []

    @app.post("/x")
    async def handler(ctx: Context) -> None:
        kept.append(await ctx.bind(Upload))
        raise LookupError

    async with serving(app) as client:
        answer = await client.post("/x", data={"title": "t"}, files={"photo": ("p", b"1")})
    assert (answer.status_code, kept[0].photo.file.closed) == (500, True)


_PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
_FILE = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + bytes(1_100_000) + b"\r\n"


_MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
_END = b"--b--\r\n"
_CUT_OFF = "its closing boundary is missing"
_INVALID = "Invalid multipart data."


@pytest.mark.parametrize("parameters", ["", "; boundary=", ';boundary=""', "; boundary=" + "b" * 999])
async def test_a_multipart_form_needs_a_boundary(server: Server, parameters: str) -> None:
    """A multipart form without a usable boundary in its Content-Type is a 400."""
    headers = {"content-type": f"multipart/form-data{parameters}"}
    status, message = await server.refused(dict, "POST", "/body", content=_PART + _END, headers=headers)
    assert (status, message.partition(":")[0]) == (400, "multipart form is malformed")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", _CUT_OFF),
        (_FILE + _PART, _CUT_OFF),
        (_FILE[:-9], _CUT_OFF),
        (_FILE + b"--b\r\n?\r\n", _INVALID),
        (b"hello", _INVALID),
        (b"--b\r\nX: " + b"y" * 9000 + b"\r\n\r\n1\r\n" + _END, _INVALID),
        (b"--b\r\n" + b"X: y\r\n" * 99 + b"\r\n1\r\n" + _END, _INVALID),
        (
            b"--b\r\nX: y\r\n\r\n1\r\n" + _END,
            'The Content-Disposition header field "name" must be provided.',
        ),
        (_PART * 1001 + _END, "Too many fields. Maximum number of fields is 1000."),
        (_FILE.replace(bytes(1_100_000), b"") * 101 + _END, "Too many files. Maximum number of files is 100."),
        (_PART.replace(b"1", b"1" * 1_100_000) + _END, "Part exceeded maximum size of 1024KB."),
    ],
    ids=_short,
)
async def test_a_malformed_form_is_refused(server: Server, content: bytes, message: str) -> None:
    """A form that is malformed, cut off or has too much of something is a 400 and leaves no file open."""
    refused = await server.refused(dict, "POST", "/body", content=content, headers=_MULTIPART)
    assert refused == (400, f"multipart form is malformed: {message}")
    gc.collect()  # a file left open would be a ResourceWarning, which is an error


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        (_MULTIPART, _FILE + _PART.replace(b"1", b"\xff") + _END),
        (_MULTIPART, _FILE + _PART.replace(b'"a"', b'"\xff"') + _END),
        (_MULTIPART, _FILE.replace(b'filename="f"', b'filename="\xff"') + _END),
        (URLENCODED, b"a=\xff"),
        (URLENCODED, b"a=%ff"),
        (URLENCODED, b"%ed%a0%80=1"),
    ],
    ids=_short,
)
async def test_bad_utf8_in_a_form_is_refused(server: Server, headers: dict[str, str], content: bytes) -> None:
    """Names, values and file names of a form are UTF-8, and nothing is guessed."""
    refused = await server.refused(dict, "POST", "/body", content=content, headers=headers)
    assert refused == (400, "form is not valid UTF-8")
    gc.collect()  # a file left open would be a ResourceWarning, which is an error


async def test_a_form_with_too_many_fields_is_refused(server: Server) -> None:
    """An urlencoded form has at most 1000 fields too."""
    refused = await server.refused(dict, "POST", "/body", content=b"a=1&" * 1000 + b"a=1", headers=URLENCODED)
    assert refused == (400, "form has more than 1000 fields")


async def test_an_empty_form_is_a_form_without_fields(server: Server) -> None:
    """A form none of whose boxes is ticked is sent as nothing at all, which is no mistake."""
    assert await server.bound(Search, "POST", "/body", headers=URLENCODED) == Search()
    assert await server.bound(Search, "POST", "/body", content=_END, headers=_MULTIPART) == Search()


@pytest.mark.parametrize("headers", [_MULTIPART, URLENCODED])
async def test_a_forms_limit_holds_without_content_length(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form sent in chunks is refused as soon as it is over MAX_BODY_SIZE."""
    monkeypatch.setenv("MAX_BODY_SIZE", "2MiB")
    server = Server()

    async def chunks() -> AsyncIterator[bytes]:
        yield _FILE
        yield _FILE

    async with serving(server.app) as server.client:
        refused = await server.refused(dict, "POST", "/body", content=chunks(), headers=headers)
    assert refused == (413, "request body is larger than 2097152 bytes")
    gc.collect()  # a file left open would be a ResourceWarning, which is an error


@pytest.mark.parametrize("kind", [list[int], int, Point, str])
async def test_a_form_for_a_kind_without_fields_is_unsupported(server: Server, kind: Any) -> None:
    """A form cannot become a list or a number, and that is the client's mistake."""
    method, path, request = _urlencoded("a=1")
    assert await server.refused(kind, method, path, **request) == (
        415,
        "unsupported content type: application/x-www-form-urlencoded",
    )


@pytest.mark.parametrize(
    ("kind", "carrier", "log"),
    [
        (Unknown, _urlencoded, "nothing can be bound to Unknown: it is no dataclass"),
        (HoldsUnknown, _in_query, "nothing can be bound to Unknown: it is no dataclass"),
        (PydanticDataclass, _urlencoded, "nothing can be bound to PydanticDataclass: pydantic's dataclasses"),
        (list[int], _in_query, "a query cannot be bound to list[int], which has no named fields"),
        (list[int] | set[int], _urlencoded, "may not contain more than one array-like"),
        (5, _urlencoded, "Type '5' is not supported"),
    ],
)
async def test_a_kind_that_cannot_be_bound_is_the_programs_mistake(
    kind: Any, carrier: Carrier, log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the client sent, the answer is a 500, and the log says what is wrong with the kind."""
    server = Server()
    method, path, request = carrier("a=1")
    async with serving(server.app) as server.client:
        assert await server.refused(kind, method, path, **request) == (500, "Internal Server Error")
    assert log in capsys.readouterr().err


async def test_bad_utf8_in_a_query_is_refused(server: Server) -> None:
    """A query that is not UTF-8 is a 400, to whatever it is bound."""
    assert await server.refused(Search, "GET", "/query?text=%ff") == (400, "query is not valid UTF-8")


async def test_a_multipart_form_can_be_bound_again() -> None:
    """A form is kept, and so is a body that was read before it was bound; a form's bytes are gone."""
    app = App()

    @app.post("/x")
    async def handler(ctx: Context) -> list[Any]:
        if ctx.param("body_first"):
            assert (await ctx.body()).startswith(b"--")
        first = await ctx.bind(Person)
        if ctx.param("body_last"):
            with pytest.raises(RuntimeError, match="it was read as a multipart form"):
                await ctx.body()
        return [first, await ctx.bind(dict)]

    async with serving(app) as client:
        for query in ("body_first=1", "body_last=1"):
            answer = await client.post(f"/x?{query}", files={"name": (None, "A"), "age": (None, "3")})
            assert answer.json()["data"] == [
                {"name": "A", "age": 3, "role": "user"},
                {"name": "A", "age": "3"},
            ]


def test_defaults_are_there_for_the_encoder() -> None:
    """A dataclass that is bound and answered keeps the fields that were not sent, wherever it stands."""
    table: list[tuple[Any, str, str]] = [
        (Person, '{"name":"A","age":3}', '{"name":"A","age":3,"role":"user"}'),
        (list[Leaf] | None, "[{}]", '[{"name":"leaf","of":null}]'),
        (Branch, '{"named":{"a":{}}}', '{"leaves":[],"named":{"a":{"name":"leaf","of":null}},"count":0}'),
        (
            Holder,
            '{"slotted":{"leaf":{}},"one":[{},1]}',
            '{"slotted":{"leaf":{"name":"leaf","of":null},"size":1},"one":[{"name":"leaf","of":null},1]}',
        ),
    ]
    for kind, sent, answered in table:
        assert kvik.to_json(kvik.from_json(sent, kind)) == answered


def test_objects_in_a_ring_are_filled_once() -> None:
    """A __post_init__ that links children to their parent does not make the filling endless."""
    branch = kvik.from_json('{"leaves":[{}]}', Branch)
    assert vars(branch.leaves[0]) == {"name": "leaf", "of": branch}


def test_from_json_makes_what_bind_makes() -> None:
    """from_json knows the same kinds, and the same mistakes, as a ValueError or a TypeError."""
    assert kvik.from_json('{"age":3}', Model) == _model(age=3)
    with pytest.raises(ValueError, match=r"^Field required - at `\$\.age`$"):
        kvik.from_json("{}", Model)
    with pytest.raises(TypeError, match="nothing can be bound to Unknown"):
        kvik.from_json("{}", Unknown)


def test_pydantic_is_imported_by_nobody_but_the_application() -> None:
    """Kvik binds pydantic models without depending on pydantic."""
    program = (
        "import sys, kvik, dataclasses\n"
        "A = dataclasses.make_dataclass('A', [('x', int)])\n"
        "kvik.from_json('{\"x\":1}', A)\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


_CONTENT_TYPES = st.sampled_from(
    [
        "",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "multipart/form-data; boundary=b; charset=idna",
        "multipart/form-data",
        "text/plain",
    ]
) | st.text(st.characters(codec="latin-1"), max_size=30).map("multipart/form-data; boundary={}".format)
_PIECES = st.sampled_from(
    [
        b"--b",
        b"--b--",
        b"--b\r\n",
        b"\r\n",
        b'Content-Disposition: form-data; name="tags"',
        b'Content-Disposition: form-data; name="photo"; filename="f"\r\n\r\n',
        b"Content-Disposition: form-data; name=count\r\n\r\n",
        b"Content-Disposition: form-data; filename*=utf-8''%ff; name=\"\\\"",
        b"count=",
        b"&",
        b"%ff",
        b'{"count":',
        b"[",
        b'"',
        b"}",
        b"1e999",
    ]
)
_BODIES = st.binary(max_size=200) | st.lists(_PIECES | st.binary(max_size=8), max_size=16).map(b"".join)


async def test_a_client_that_goes_away_leaves_no_file_open() -> None:
    """A form whose client leaves half-way is nobody's error, and its files are closed."""
    app = App()
    app.post("/x")(lambda ctx: ctx.bind(dict))
    headers = [(b"content-type", _MULTIPART["content-type"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": headers}
    messages = [{"type": "http.request", "body": _FILE, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent == []
    gc.collect()  # a file left open would be a ResourceWarning, which is an error


def test_a_content_length_of_any_length_is_understood() -> None:
    """A length that Python would not even convert is too large like any other."""
    app = App()
    app.post("/x")(lambda ctx: ctx.bind(dict))
    assert asyncio.run(_status(app, "POST", [(b"content-length", b"9" * 5000)], b"", b"{}")) == 413


async def _status(app: App, method: str, headers: list[tuple[bytes, bytes]], query: bytes, body: bytes) -> int:
    messages: list[Any] = [
        {"type": "http.request", "body": body[i : i + 7], "more_body": True} for i in range(0, 90, 7)
    ]
    messages.append({"type": "http.request", "body": body[91:]})
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/x", "query_string": query, "headers": headers}
    await app(scope, receive, send)
    return int(sent[0]["status"])


_MACHINES_OWN = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)  # a slow machine is no failure


@functools.cache
def _binds(kind: Any) -> App:
    """Give an app whose one path binds a POST's body, and a GET's query, as that type."""
    app = App()

    @app.post("/x")
    async def body(ctx: Context) -> None:
        await ctx.bind(kind)

    @app.get("/x")
    async def query(ctx: Context) -> None:
        ctx.bind_query(kind)

    return app


@settings(max_examples=200, deadline=None, suppress_health_check=_MACHINES_OWN, derandomize=True, database=None)
@given(content_type=_CONTENT_TYPES, body=_BODIES, kind=st.sampled_from([Search, Upload, Model, dict, list[int]]))
def test_no_body_is_a_servers_error(content_type: str, body: bytes, kind: Any) -> None:
    """Whatever bytes arrive as whatever type, the answer is below 500, and nothing is left open."""
    headers = [(b"content-type", content_type.encode("latin-1")), (b"content-length", b"%d" % len(body))]
    assert asyncio.run(_status(_binds(kind), "POST", headers, b"", body)) < 500


@settings(max_examples=200, deadline=None, suppress_health_check=_MACHINES_OWN, derandomize=True, database=None)
@given(query=_BODIES, kind=st.sampled_from([Search, Model, dict]))
def test_no_query_is_a_servers_error(query: bytes, kind: Any) -> None:
    """Whatever bytes a query has, the answer is below 500."""
    assert asyncio.run(_status(_binds(kind), "GET", [], query, b"")) < 500
