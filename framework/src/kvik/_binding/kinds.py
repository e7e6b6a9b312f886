"""The types that handlers bind to, and how JSON or the fields of a form become values of them."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, get_origin

import msgspec
import msgspec.inspect as mi

from .defaults import fill_defaults, needs_filling
from .fields import Fields, Value
from .models import ModelError, is_model, validate
from .shapes import NOTHING_CAN_BE_BOUND, choices_at, refuse_unknown

_GIVE_A_TYPE = "give a type: dict[str, int], list[str], a TypedDict, dataclass, msgspec.Struct, pydantic model, …"


class Kind:
    """Make values of one type out of what a client sent; ValueError where that does not fit.

    Raises TypeError for a type that nothing can be bound to, which is the program's mistake.
    """

    def __init__(self, kind: Any) -> None:
        if kind is None:
            raise TypeError("None has no values but itself")
        self._kind = kind
        self._is_model = is_model(kind)
        self._info = mi.type_info(kind)
        refuse_unknown(self._info)
        self._needs_filling = needs_filling(self._info)
        self._fields = Fields(self._info)
        self._decoder = msgspec.json.Decoder(kind, dec_hook=_from_json_hook)

    @property
    def has_named_fields(self) -> bool:
        """Tell whether a form or a query can be bound to it."""
        return self._fields.are_named

    def from_json(self, text: str | bytes) -> Any:
        """Decode JSON."""
        if self._is_model:
            return self._converted(validate, self._kind.model_validate_json, text)
        return self._converted(self._decoder.decode, text)

    def from_fields(self, pairs: Iterable[tuple[str, Value]]) -> Any:
        """Convert the fields of a form or a query."""
        fields = self._fields.collect(pairs)
        if self._is_model:
            return self._converted(validate, self._kind.model_validate, fields)
        return self._converted(_convert, fields, self._kind)

    def _converted(self, convert: Callable[..., Any], *args: Any) -> Any:
        try:
            value = convert(*args)
        except msgspec.MsgspecError as error:
            raise ValueError(self._explain(error)) from error
        except ModelError as error:
            raise ValueError(error.render("$")) from error
        except UnicodeDecodeError as error:
            raise ValueError("JSON is not valid UTF-8") from error
        except RecursionError as error:
            raise ValueError("JSON is nested too deep") from error
        if self._needs_filling:
            fill_defaults(value)
        return value

    def _explain(self, error: msgspec.MsgspecError) -> str:
        text = str(error)
        _, at, place = text.rpartition(" - at `")
        place = place.removesuffix("`") if at else "$"
        if isinstance(error.__cause__, ModelError):
            return error.__cause__.render(place)
        if error.__cause__ is not None or not text.startswith(("Invalid enum value", "Invalid value")):
            return text
        # msgspec repeats the value, which is not for logs, and does not say what was expected.
        allowed = ", ".join(f"`{choice}`" for choice in choices_at(self._info, place))
        message = f"Expected one of {allowed}" if allowed else "Invalid value"
        return f"{message} - at `{place}`" if at else message


def kind_of(kind: Any) -> Kind:
    """Return the Kind of a type, made once; TypeError, in words, for what nothing can be bound to."""
    try:
        return _kind_of(kind)
    except (TypeError, NameError) as error:
        raise TypeError(_refusal_of(kind, str(error))) from error


@lru_cache(maxsize=1024)
def _kind_of(kind: Any) -> Kind:
    return Kind(kind)


def _refusal_of(kind: Any, reason: str) -> str:
    if reason.startswith(NOTHING_CAN_BE_BOUND):
        return reason
    if not (isinstance(kind, type) or get_origin(kind) or type(kind).__module__ == "typing"):
        return f"{NOTHING_CAN_BE_BOUND} a value of {type(kind).__name__}; {_GIVE_A_TYPE}"
    return f"{NOTHING_CAN_BE_BOUND} {kind!r}: {reason}; {_GIVE_A_TYPE}"


def _convert(fields: dict[str, Any], kind: Any) -> Any:
    return msgspec.convert(fields, kind, strict=False, dec_hook=_from_values_hook)


def _from_values_hook(kind: Any, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    if is_model(kind):
        return validate(kind.model_validate, value)
    raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def _from_json_hook(kind: Any, value: Any) -> Any:
    if is_model(kind):  # through JSON again, in which strict models take dates and enums from text
        return validate(kind.model_validate_json, msgspec.json.encode(value))
    return _from_values_hook(kind, value)
