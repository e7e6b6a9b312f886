"""Kvik with as many static and as many parametrised routes as BENCH_ROUTES says."""

import os

from http_server.exchange import GREETING
from kvik import App, Context

app = App()


async def greeting(_: Context) -> dict[str, object]:
    """Answer one small JSON value."""
    return GREETING


for number in range(int(os.environ["BENCH_ROUTES"])):
    app.get(f"/static/page-{number}")(greeting)
    app.get(f"/tenants/{number}/orders/{{id}}")(greeting)

if __name__ == "__main__":
    app.run()
