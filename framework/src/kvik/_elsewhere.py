"""Where those names are that somebody looks for in `kvik`: in another distribution, or under another name here."""

_DRIVERS = {
    "sqlite": "from kvik_sqlite import SQLite, which kvik-sqlite brings",
    "dynamodb": "from kvik_dynamodb import DynamoDB, which kvik-dynamodb brings",
}
_WITHOUT_DRIVER = frozenset(
    {"etcd", "memcached", "mongodb", "mysql", "nats", "postgres", "postgresql", "redis", "scylladb", "valkey"}
)
_WRITE_ONE = "to write one takes a class with get, set, delete and health_check"
_IN_TESTING = frozenset(("TestClient", "KVStoreConformance", "FaultyStore", "Fault"))
_OTHER_WORDS = {
    "FastAPI": "App",
    "Starlette": "App",
    "Flask": "App",
    "New": "App()",
    "APIRouter": "app.group(prefix)",
    "Router": "app.group(prefix)",
    "Blueprint": "app.group(prefix)",
    "Depends": "what a handler asks its Context for, such as ctx.kv_store",
    "Query": "ctx.param(name), or ctx.bind_query(Type)",
    "Path": "ctx.path_param(name)",
    "Header": "ctx.header(name)",
    "Cookie": "ctx.cookies",
    "Body": "await ctx.bind(Type)",
    "Form": "await ctx.bind(Type)",
    "Request": "Context, the one argument of a handler; Starlette's Request is ctx.request",
    "WebSocket": "ctx.websocket",
    "BackgroundTasks": "ctx.background(function)",
    "HTTPException": "HTTPError",
    "JSONResponse": "Response, or the data itself",
    "StreamingResponse": "Stream",
    "EventSourceResponse": "Stream",
    "FileResponse": "File",
    "RedirectResponse": "Redirect",
    "StaticFiles": "app.add_static_files(path, folder)",
    "Middleware": "starlette.middleware.Middleware",
    "CORSMiddleware": "ACCESS_CONTROL_ALLOW_ORIGIN, or starlette.middleware.cors.CORSMiddleware",
    "BaseModel": "pydantic.BaseModel",
    "BaseSettings": "app.config",
    "Settings": "app.config",
    "Logger": "app.logger, or ctx.logger in a handler",
}


def where_is(name: str) -> str | None:
    """Return where a name is that `kvik` does not have, in words; None where nobody would look for it here."""
    driver = name.lower().removesuffix("driver").removesuffix("store")
    if driver in _DRIVERS:
        return f"drivers are distributions of their own: {_DRIVERS[driver]}"
    if driver in _WITHOUT_DRIVER:
        return f"there is no driver for it yet, only kvik_sqlite and kvik_dynamodb; {_WRITE_ONE}"
    if name in _IN_TESTING:
        return f"it is in kvik.testing: from kvik.testing import {name}"
    return f"Kvik's word for it is {_OTHER_WORDS[name]}" if name in _OTHER_WORDS else None
