"""Servers under measurement: a free port, a core of their own, the CPU time and memory that they take."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SERVER_CORE, LOAD_CORE = 0, 1


@dataclass(frozen=True)
class Server:
    """Be a server that runs, and with it the worker processes that it has started."""

    process: psutil.Process
    port: int

    @property
    def url(self) -> str:
        """Give where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Give the CPU time that it has taken so far, in the kernel as well."""
        times = [process.cpu_times() for process in self._processes()]
        return sum(time.user + time.system for time in times)

    def resident_bytes(self) -> int:
        """Give the memory that it occupies now."""
        return sum(process.memory_info().rss for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextlib.contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    cores: Sequence[int] = (SERVER_CORE,),
    patience: float = 10,
) -> Iterator[Server]:
    """Run a program that listens on HTTP_PORT, on some cores; what it prints goes to a file, as logs do.

    `patience` is in seconds. Exits with the file's end where it does not start.
    """
    port = free_port()
    variables = {**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*pinned(*cores), *command], env={**variables, **environment}, stdout=output, stderr=output
        ) as process,
    ):
        try:
            if not listens(process, port, patience):
                sys.exit(f"{command[-1]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            yield Server(psutil.Process(process.pid), port)
        finally:
            process.terminate()


def pinned(*cores: int) -> list[str]:
    """Give what stands before a command that is to have these cores alone; without any, it has them all."""
    return ["taskset", "-c", ",".join(map(str, cores))] if cores else []


def keep_to_the_load_core() -> None:
    """Leave the server's core to the server: this process, and what it starts, have the other one."""
    cores = os.sched_getaffinity(0)
    if not {SERVER_CORE, LOAD_CORE} <= cores:
        sys.exit("this benchmark needs cores 0 and 1: one for the server, one for the load")
    os.sched_setaffinity(0, {LOAD_CORE})


def free_port() -> int:
    """Give a port of the loopback interface that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def listens(process: subprocess.Popen[bytes], port: int, patience: float = 10) -> bool:
    """Wait until somebody listens there; False if the process ended instead, or the seconds are over."""
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.01)
    return False
