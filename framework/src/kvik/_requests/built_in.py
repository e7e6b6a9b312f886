"""The routes that every app has; a user's route on the same path wins."""

import asyncio
from pathlib import Path
from typing import Any

from starlette.responses import Response

from .._container import Container
from .._json import encode
from ..context import Context
from ..responses import File
from .routing import Endpoint, Router

_SERVICE_UNAVAILABLE = 503


def built_in_routes(container: Container) -> Router:
    """Make the routes below /.well-known/, and the icon that browsers ask for."""

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

    async def favicon(_: Context) -> Any:
        own = Path("static/favicon.ico")
        icon = own if await asyncio.to_thread(own.is_file) else Path(__file__).parents[1] / "favicon.ico"
        return File(icon, content_type="image/x-icon")

    routes = Router()
    routes.add("GET", "/favicon.ico", Endpoint(favicon))
    routes.add("GET", "/.well-known/alive", Endpoint(alive))
    routes.add("GET", "/.well-known/health", Endpoint(health))
    routes.add("GET", "/.well-known/ready", Endpoint(ready))
    return routes


async def _report(container: Container) -> tuple[str, dict[str, Any]]:
    """Give the app's status, and the report with its names in order."""
    status, checks = await container.health.report()
    report = {
        **{
            name: {"status": health.status, "details": dict(sorted(health.details.items()))}
            for name, health in checks.items()
        },
        "name": container.settings.app_name,
        "status": status,
        "version": container.settings.app_version,
    }
    return status, dict(sorted(report.items()))
