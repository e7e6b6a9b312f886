"""The requests that the servers are loaded with."""

from http_server.exchange import ADA, ADA_JSON, GREETING, KEYS, summary
from wrk import Workload

WORKLOADS = {
    "get": Workload("GET", "GET", "/greeting", 200, answer={"data": GREETING}),
    "post": Workload("POST of 1 KB", "POST", "/people", 201, body=ADA_JSON, answer={"data": summary(ADA)}),
    "404": Workload("404", "GET", "/missing", 404),
    "sqlite": Workload(
        "GET through SQLite (bare: in memory)", "GET", "/values/key-%d", 200, paths=KEYS, answer={"data": GREETING}
    ),
}
