"""moto's DynamoDB server in a process of its own.

Its work is not done on the interpreter that is being tested, and importing moto there would register handlers for
botocore's events in every session.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PROGRAM = """
import logging, sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
one_at_a_time = threading.Lock()  # moto checks a condition and writes in two steps
application = DomainDispatcherApplication(create_backend_app)

def locked(environ, start_response):
    with one_at_a_time:
        return application(environ, start_response)

server = make_server("127.0.0.1", int(sys.argv[1]), locked, threaded=True, request_handler=MotoRequestHandler)
print(f"http://127.0.0.1:{server.port}", flush=True)
server.serve_forever()
"""


@contextmanager
def moto_server(port: int = 0) -> Iterator[str]:
    """Start it on a port, 0 for any that is free, and give its URL."""
    command = [sys.executable, "-c", _PROGRAM, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            if not url:  # an empty endpoint would mean AWS
                raise RuntimeError("moto's server did not start; it says why above")
            yield url
        finally:
            server.kill()
