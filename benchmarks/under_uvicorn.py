"""Serve an ASGI application as every peer is served: by uvicorn, with uvloop and httptools."""

import os
from typing import Any

import uvicorn


def serve(app: Any) -> None:
    """Serve on HTTP_HOST and HTTP_PORT until SIGTERM."""
    uvicorn.run(
        app,
        host=os.environ["HTTP_HOST"],
        port=int(os.environ["HTTP_PORT"]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
