"""Bare Starlette under uvicorn, with uvloop and httptools and no access log."""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def greeting(_: Request) -> JSONResponse:
    """Answer one small JSON value."""
    return JSONResponse({"data": {"greeting": "hello", "count": 7}})


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[Route("/greeting", greeting)]),
        host=os.environ["HTTP_HOST"],
        port=int(os.environ["HTTP_PORT"]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
