"""A batch's failure, as the caller is to see it."""

from typing import Any

from ..kv_errors import KVError, PartialFailure
from .keys import Keys


def told_by_keys(failure: PartialFailure, keys: Keys, *, asked: int, results: Any) -> KVError:
    """Give the failure with the caller's keys; where all of those asked for failed alike, the reason itself."""
    errors: dict[str, KVError] = keys.logical_all(failure.errors)
    if len(errors) == asked and len({error.code for error in errors.values()}) == 1:
        return next(iter(errors.values()))
    failure.errors, failure.results = errors, results
    return failure
