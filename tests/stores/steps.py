"""Random steps over a key-value store, and their results in a form that all stores share."""

import enum
import math
import random
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import kvik
from kvik import KV

if TYPE_CHECKING:
    from collections.abc import Callable


class Word(str, enum.Enum):  # noqa: UP042 - a StrEnum's str() is its value; this one's is its name
    A = "a"


Step: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A verb, its arguments and its options; a version among these is a `Written`."""


@dataclass(frozen=True)
class Written:
    """The version that the store had for a key when this step came, the key's own or another's."""

    key: str


FEW_KEYS = ["a", "b"]
KEYS = ["a", "a:b", "ns:a", "ns/x:a", "%3A", " a ", "\x00", "\u00e9", "e\u0301", "\U0001f980", "A", Word.A]
LONG_KEYS = ["k" * 2048, "k" * 2047 + "é", "k" * 2049, "é" * 1024, "é" * 1025, "/" * 2048]
NO_KEYS = ["", None, 7, b"a", "\ud800", ("a",)]

NUMBERS = ["0", "7", "-41"]
ODD_NUMBERS = ["-0", "07", "+7", " 1", "9223372036854775807", "-9223372036854775808", "9223372036854775808"]
VALUES = ["", "v", "null", '"q"', "\x00", "a\x00b", "\U0001f980", "\ufffe\uffff", "\u2028", "x" * 20_000, Word.A]
NO_VALUES = [None, 7, 1.5, True, b"v", "\udfff", ["v"]]

LIFETIMES = [1, 5.0, 60, timedelta(seconds=5), timedelta(days=30), sys.maxsize, 10**30]
NO_LIFETIMES = [0, -1, math.nan, math.inf, "5", True, timedelta(0)]
DELTAS = [1, -1, 0, 41, 2**62, -(2**62)]
NO_DELTAS = [2**63, -(2**63) - 1, True, "1", 1.0, None]
PREFIXES = ["", "a", "ns:", "k", "\x00", "missing"]
NO_PREFIXES = [None, 7, "\ud800"]
NO_VERSIONS = ["", "garbage", None, 7]


class Chooser:
    """Random steps: mostly sound ones on few keys, so that they meet, and odd ones now and then."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._verbs: list[Callable[[], Step]] = [
            self._get, self._get, self._exists, self._set, self._set, self._create, self._replace, self._delete,
            self._delete_if, self._entry, self._update, self._touch, self._ttl, self._pop, self._get_or_set,
            self._get_many, self._set_many, self._delete_many, self._increment, self._increment, self._scan,
            self._wait,
        ]  # fmt: skip

    def step(self) -> Step:
        """Return the next step."""
        return self._random.choice(self._verbs)()

    def view(self) -> str:
        """Return through which view of the store it goes."""
        return self._random.choice(["root"] * 6 + ["namespace", "inner", "numbers"])

    def _one(self, usual: list[Any], odd: list[Any]) -> Any:
        return self._random.choice(odd if self._random.random() < 0.04 else usual)

    def _key(self) -> Any:
        return self._one(self._random.choices([FEW_KEYS, KEYS, LONG_KEYS], [80, 15, 5])[0], NO_KEYS)

    def _value(self) -> Any:
        return self._one(self._random.choices([NUMBERS, ODD_NUMBERS, VALUES], [50, 20, 30])[0], NO_VALUES)

    def _ttl_option(self) -> dict[str, Any]:
        return {"ttl": self._one(LIFETIMES, NO_LIFETIMES)} if self._random.random() < 0.4 else {}

    def _version(self, key: Any) -> dict[str, Any]:
        return {"if_version": self._one([Written(key), Written(key), Written(key), Written("a")], NO_VERSIONS)}

    def _get(self) -> Step:
        return "get", (self._key(),), {}

    def _exists(self) -> Step:
        return "exists", (self._key(),), {}

    def _set(self) -> Step:
        return "set", (self._key(), self._value()), self._ttl_option()

    def _create(self) -> Step:
        return "set", (self._key(), self._value()), {"if_absent": True} | self._ttl_option()

    def _replace(self) -> Step:
        key = self._key()
        return "set", (key, self._value()), self._version(key) | self._ttl_option()

    def _delete(self) -> Step:
        return "delete", (self._key(),), {}

    def _delete_if(self) -> Step:
        key = self._key()
        return "delete", (key,), self._version(key)

    def _entry(self) -> Step:
        return "entry", (self._key(),), {}

    def _update(self) -> Step:
        value = self._value()
        return "update", (self._key(), lambda old: value if old is None else old), self._ttl_option()

    def _touch(self) -> Step:
        return "touch", (self._key(), self._one([None, *LIFETIMES], NO_LIFETIMES)), {}

    def _ttl(self) -> Step:
        return "ttl", (self._key(),), {}

    def _pop(self) -> Step:
        return "pop", (self._key(),), {}

    def _get_or_set(self) -> Step:
        value = self._value()
        return "get_or_set", (self._key(), lambda: value), self._ttl_option()

    def _keys(self) -> list[Any]:
        return [self._key() for _ in range(self._random.randrange(6))]

    def _get_many(self) -> Step:
        return "get_many", (self._one([self._keys()], ["abc", None, 7]),), {}

    def _set_many(self) -> Step:
        items = {key: self._value() for key in self._keys()}
        return "set_many", (self._one([items], [None, 7, "ab", ["a"]]),), self._ttl_option()

    def _delete_many(self) -> Step:
        return "delete_many", (self._one([self._keys()], ["abc", None, 7]),), {}

    def _increment(self) -> Step:
        return "increment", (self._key(), self._one(DELTAS, NO_DELTAS)), {}

    def _scan(self) -> Step:
        return "scan", (self._one(PREFIXES, NO_PREFIXES),), {}

    def _wait(self) -> Step:
        return "wait", (self._random.choice([0.5, 3.5, 100.5]),), {}


@dataclass
class Clock:
    """The time of one store, which moves by steps alone."""

    now: float = 1_900_000_000.25

    def __call__(self) -> float:
        return self.now


@dataclass
class Player:
    """A store that takes steps; versions are numbered in the order in which it reported them."""

    kv: KV
    clock: Clock = field(default_factory=Clock)
    _numbers: dict[str, int] = field(default_factory=dict)

    async def play(self, view: str, step: Step) -> Any:
        """Return what the step did, the same for every store that keeps the contract."""
        verb, arguments, options = step
        if verb == "wait":
            self.clock.now += arguments[0]
            return "waited"
        kv: KV[Any] = self._views()[view]
        try:
            options = {name: await self._resolved(kv, option) for name, option in options.items()}
            if verb == "scan":
                return sorted([key async for key in kv.scan(*arguments)])
            result = await getattr(kv, verb)(*arguments, **options)
            result = self._plain("a version" if verb == "set" and result else result)
        except (kvik.KVError, TypeError, ValueError) as error:
            result = self._failure(error)
        return result, [await self._found(kv, key) for key in self._keys(arguments[0])]

    @staticmethod
    def _keys(argument: Any) -> list[Any]:
        return list(argument) if isinstance(argument, list | dict) else [argument]

    async def _found(self, kv: KV[Any], key: Any) -> Any:
        """Return what is stored now: the number of its version and its expiry included."""
        try:
            return self._plain(await kv.entry(key, None))
        except kvik.KVError as error:
            return self._failure(error)

    def _views(self) -> dict[str, KV[Any]]:
        namespace = self.kv.namespace("ns")
        views: dict[str, KV[Any]] = {"root": self.kv, "namespace": namespace, "inner": namespace.namespace("x")}
        return views | {"numbers": self.kv.typed(int)}

    async def _resolved(self, kv: KV[Any], option: Any) -> Any:
        if not isinstance(option, Written):
            return option
        try:
            return (await kv.entry(option.key)).version
        except kvik.KVError:
            return "none"

    def _plain(self, result: Any) -> Any:
        if isinstance(result, kvik.Entry):
            version, expires_at = self._number(result.version), result.expires_at
            return "entry", result.key, result.value, version, self._rounded(expires_at)
        if isinstance(result, timedelta):
            return "ttl", self._rounded(result.total_seconds())
        if isinstance(result, dict):
            return sorted(result.items())
        return result

    def _failure(self, error: Exception) -> Any:
        name = type(error).__name__
        if not isinstance(error, kvik.KVError):
            return name, str(error)
        current = self._plain(error.current) if isinstance(error, kvik.Conflict) else None
        return name, error.code, error.outcome, error.retryable, error.operation, error.public_message, current

    def _number(self, version: str) -> int:
        return self._numbers.setdefault(version, len(self._numbers))

    @staticmethod
    def _rounded(seconds: float | None) -> float | None:
        """Return the seconds in hundredths, for a store may keep milliseconds and round them up."""
        return None if seconds is None else round(seconds, 2)
