"""What every benchmark that starts a server needs: a free port, and to know when somebody listens on it."""

import contextlib
import socket
import sys
import time


def free_port() -> int:
    """Give a port of the loopback interface that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until somebody listens there; exit with a sentence after ten seconds."""
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")
