"""What `from kvik import …` offers, and what completion shows of it."""

import kvik
from support import serving


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


_ROUTES = {"delete", "get", "group", "mount", "patch", "post", "put", "route", "websocket", "add_static_files"}


async def test_completion_shows_what_users_use() -> None:
    """Of App, Context, KV and what they hand out, nothing that only the framework calls is public."""
    app = kvik.App()
    app.add_kv_store(kvik.MemoryStore())
    seen: dict[str, set[str]] = {"app": _public(app), "group": _public(app.group("/v1"))}

    @app.get("/")
    async def look(ctx: kvik.Context) -> None:
        seen["ctx"], seen["kv_stores"], seen["metrics"] = map(_public, (ctx, ctx.kv_stores, ctx.metrics))
        seen["kv"], seen["config"] = _public(ctx.kv_store), _public(ctx.config)

    async with serving(app) as client:
        assert (await client.get("/")).status_code == 200
    assert seen == {
        "app": _ROUTES
        | {"add_health_check", "add_kv_store", "add_middleware", "config", "logger", "metrics", "metrics_app"}
        | {"on_start", "on_stop", "run", "testing"},
        "group": _ROUTES,
        "ctx": {"background", "bind", "bind_query", "body", "client_ip", "config", "cookies", "correlation_id"}
        | {"header", "headers", "host_name", "kv_store", "kv_stores", "logger", "method", "metrics", "param"}
        | {"params", "path", "path_param", "request", "trace", "wait", "websocket"},
        "kv": {"capabilities", "close", "connect", "deadline", "delete", "delete_many", "driver_name", "entry"}
        | {"exists", "get", "get_many", "get_or_set", "health_check", "increment", "name", "namespace", "pop"}
        | {"scan", "set", "set_many", "touch", "ttl", "typed", "unwrap", "update"},
        "kv_stores": {"get", "items", "keys", "values"},
        "metrics": {"delta_updown_counter", "increment_counter", "new_counter", "new_gauge", "new_histogram"}
        | {"new_updown_counter", "record_histogram", "set_gauge"},
        "config": {"get", "get_or_default"},
    }


def _public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}
