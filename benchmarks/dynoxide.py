"""Dynoxide: a DynamoDB server so fast that it is the clients that are measured.

Run by itself, this prints where its program is.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import servers

VERSION = "1.2.1"


@contextlib.contextmanager
def running(*cores: int) -> Iterator[str]:
    """Start it on a free port, on these cores or on any, and give its URL; npm fetches it the first time."""
    port = servers.free_port()
    command = [*servers.pinned(*cores), str(binary()), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            if not servers.listens(server, port):
                sys.exit("Dynoxide did not start; it says why above")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def binary() -> Path:
    """Give the program; npm fetches it the first time."""
    package = f"@dynoxide/linux-{ {'x86_64': 'x64', 'aarch64': 'arm64'}.get(platform.machine(), 'x64') }"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / f"kvik/dynoxide-{VERSION}"
    program = cache / "node_modules" / package / "dynoxide"
    if not program.exists():
        if shutil.which("npm") is None:
            sys.exit("Dynoxide is fetched with npm: apt-get install npm")
        cache.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"{package}@{VERSION}"]
        subprocess.run(install, cwd=cache, check=True)
    return program


if __name__ == "__main__":
    print(binary())
