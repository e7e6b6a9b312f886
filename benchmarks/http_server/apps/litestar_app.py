"""Litestar, which binds the body to a dataclass by msgspec."""

from litestar import Litestar, get, post

from http_server.exchange import GREETING, Person, summary
from under_uvicorn import serve


@get("/greeting")
async def greeting() -> dict[str, dict[str, object]]:
    """Answer one small JSON value."""
    return {"data": GREETING}


@post("/people")
async def add_person(data: Person) -> dict[str, dict[str, object]]:
    """Bind the body, and answer a part of it."""
    return {"data": summary(data)}


if __name__ == "__main__":
    serve(Litestar([greeting, add_person], openapi_config=None))
