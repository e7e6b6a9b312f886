"""Values as a handler has them, and the text that a store holds: text as it is, anything else as JSON."""

from typing import Any, Protocol

from .._binding.kinds import kind_of
from .._json import to_json
from ..kv_errors import Corrupt, InvalidValue, ValueTooLarge
from .equality import is_same
from .texts import exact, is_longer, text_problem, told


class Values(Protocol):
    """Turn values of one type into text, and back."""

    def encode(self, value: Any, limit: int | None) -> str:
        """Give the text; InvalidValue if there is none, ValueTooLarge if it has more bytes of UTF-8 than that."""

    def decode(self, text: str) -> Any:
        """Give the value; Corrupt if the text stands for none."""


class TextValues:
    """Leave text as it is."""

    @staticmethod
    def encode(value: str, limit: int | None) -> str:
        """Return the text as a `str` and not a subclass, so that every store returns the same."""
        problem = text_problem("value", value)
        if problem is not None:
            raise told(InvalidValue(problem))
        return _within(exact(value), limit)

    @staticmethod
    def decode(text: str) -> str:
        """Give it back."""
        return text


class JsonValues:
    """Keep values of a type as JSON, and refuse what could not be read again."""

    def __init__(self, kind: Any) -> None:
        self._name = getattr(kind, "__name__", str(kind))
        self._kind = kind_of(kind)

    def __eq__(self, other: object) -> bool:
        """Whether both are of one type, so that views made anew for each request share what `get_or_set` makes."""
        return isinstance(other, JsonValues) and self._kind is other._kind

    def __hash__(self) -> int:
        return hash(self._kind)

    def encode(self, value: Any, limit: int | None) -> str:
        """Return the value as JSON; InvalidValue unless reading it gives the same value again."""
        try:
            text = to_json(value)
            is_kept = is_same(value, self._kind.from_json(text))
        except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise InvalidValue(f"value is no {self._name}: {error}") from error
        if not is_kept:
            raise InvalidValue(
                f"this {self._name} would not be the same when read back: JSON does not hold all of it, as with "
                "secrets, excluded fields, subclasses and NaN"
            )
        return _within(text, limit)

    def decode(self, text: str) -> Any:
        """Decode; from None, for the cause may quote the text, which has no place in logs."""
        try:
            return self._kind.from_json(text)
        except ValueError as error:
            raise Corrupt(f"the stored value is no {self._name}: {error}", outcome="not_applied") from None


TEXT = TextValues()


def _within(text: str, limit: int | None) -> str:
    if not is_longer(text, limit):
        return text
    size = len(text.encode())
    problem = f"value is {size} bytes of UTF-8; at most {limit} are possible"
    raise told(ValueTooLarge(problem, size=size, limit=limit))
