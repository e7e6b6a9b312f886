"""Bare Starlette; the body is bound by msgspec, for Starlette itself binds none."""

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from http_server.exchange import GREETING, Person, summary
from under_uvicorn import serve


async def greeting(_: Request) -> JSONResponse:
    """Answer one small JSON value."""
    return JSONResponse({"data": GREETING})


async def add_person(request: Request) -> JSONResponse:
    """Bind the body, and answer a part of it."""
    person = msgspec.json.decode(await request.body(), type=Person)
    return JSONResponse({"data": summary(person)}, status_code=201)


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/greeting", greeting), Route("/people", add_person, methods=["POST"])]))
