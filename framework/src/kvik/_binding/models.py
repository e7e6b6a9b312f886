"""Pydantic models, where the application has them: validation, and their errors in one line.

Nothing here imports pydantic: a class is a model if it has pydantic's methods.
"""

from collections.abc import Callable, Iterator
from typing import Any

_MOST_PROBLEMS = 5  # in one message: enough to mend a form by
_COUNTABLE_PROBLEMS = 1000  # pydantic makes a dict of each, a million of them for one long list


class ModelError(ValueError):
    """Say what a model refuses: pairs of a place, such as ".tags[0]", and what was expected there."""

    def __init__(self, problems: list[tuple[str, str]], more: int = 0) -> None:
        super().__init__("")  # msgspec writes the place of a nested model after this
        self._problems = problems
        self._more = more

    def render(self, root: str) -> str:
        """Give one line that names every place, seen from `root`, in msgspec's style."""
        parts = [_at(root + place, message) for place, message in self._problems]
        return "; ".join([*parts, f"and {self._more} more"] if self._more else parts)


def is_model(kind: Any) -> bool:
    """Tell whether this is the class of a pydantic model."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_validate_json")


def validate(check: Callable[[Any], Any], data: Any) -> Any:
    """Call a model's `model_validate` or `model_validate_json`; ModelError where the data does not fit."""
    try:
        return check(data)
    except ValueError as error:
        if not hasattr(error, "error_count"):
            raise
        raise _model_error(error) from error


def model_fields(model: Any) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    """Return each of a model's fields: the names that a client may use, its type, and whether it is required."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        aliases = [choice for choice in getattr(alias, "choices", [alias]) if isinstance(choice, str)]
        yield (*aliases, name), field.annotation, field.is_required()


def _model_error(error: Any) -> ModelError:
    count = error.error_count()
    if count > _COUNTABLE_PROBLEMS:
        return ModelError([("", f"{count} values do not fit")])
    problems = [
        (_place(problem["loc"]), " ".join(problem["msg"].split()))
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return ModelError(problems[:_MOST_PROBLEMS], len(problems[_MOST_PROBLEMS:]))


def _place(location: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _at(place: str, message: str) -> str:
    return message if place == "$" else f"{message} - at `{place}`"
