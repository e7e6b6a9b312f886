"""What `from kvik import …` offers."""

import kvik


def test_all_is_sorted_and_there() -> None:
    """Each exported name exists and none is hidden."""
    public = {name for name in vars(kvik) if name[0] != "_" and not isinstance(vars(kvik)[name], type(kvik))}
    assert public == set(kvik.__all__)
    assert len(kvik.__all__) == len(set(kvik.__all__))


def test_the_contracts_names_are_exported() -> None:
    """The names that handlers and drivers' tests rely on stay."""
    assert {"App", "Context", "KVStore", "KV", "MemoryStore", "HTTPError"} <= set(kvik.__all__)
    errors = {name for name in kvik.__all__ if isinstance(getattr(kvik, name), type)}
    errors = {name for name in errors if issubclass(getattr(kvik, name), kvik.KVError)}
    assert errors == {
        "AccessDenied",
        "Conflict",
        "Corrupt",
        "DeadlineExceeded",
        "InvalidKey",
        "InvalidValue",
        "KVError",
        "KeyNotFound",
        "Misconfigured",
        "PartialFailure",
        "Throttled",
        "Unavailable",
        "Unsupported",
        "ValueTooLarge",
    }
