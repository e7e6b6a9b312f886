"""The routes that every app has; a user's route on the very same path wins."""

import asyncio
from pathlib import Path
from typing import Any

from starlette.responses import Response

from .._container import Container
from .._json import encode
from ..context import Context
from ..responses import File
from .endpoints import Endpoint
from .routing import Router

_SERVICE_UNAVAILABLE = 503


def add_probes(routes: Router, container: Container) -> None:
    """Add the routes below /.well-known/, which no mounted application and no parameter may hide from probes."""

    async def alive(_: Context) -> Any:
        return {"status": "UP"}

    async def health(_: Context) -> Any:
        return (await _report(container))[1]

    async def ready(_: Context) -> Any:
        status, report = await _report(container)
        if status == "UP":
            return report
        body = encode({"data": report}) + b"\n"
        return Response(body, _SERVICE_UNAVAILABLE, media_type="application/json")

    for name, handler in (("alive", alive), ("health", health), ("ready", ready)):
        routes.add("GET", f"/.well-known/{name}", Endpoint(handler, default=True))


def favicon_route() -> Router:
    """Make the route of the icon that browsers ask for, which yields to everything that takes its path."""

    async def favicon(_: Context) -> Any:
        own = Path("static/favicon.ico")
        icon = own if await asyncio.to_thread(own.is_file) else Path(__file__).parents[1] / "favicon.ico"
        return File(icon, content_type="image/x-icon")

    routes = Router()
    routes.add("GET", "/favicon.ico", Endpoint(favicon))
    return routes


async def _report(container: Container) -> tuple[str, dict[str, Any]]:
    """Give the app's status, and the report with its names in order."""
    status, checks = await container.health.report()
    shows_details = container.settings.health_details
    report = {
        **{
            name: {"status": health.status}
            | ({"details": dict(sorted(health.details.items()))} if shows_details else {})
            for name, health in checks.items()
        },
        "name": container.settings.app_name,
        "status": status,
        "version": container.settings.app_version,
    }
    return status, dict(sorted(report.items()))
