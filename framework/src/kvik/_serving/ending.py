"""How a process of `app.run()` ends: the signals that ask for it, and the end that waits for nothing."""

import contextlib
import os
import signal
import sys
from typing import NoReturn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_at_once(status: int) -> NoReturn:
    """End the process without the interpreter's own end, which waits for threads."""
    flush_output()
    os._exit(status)


def flush_output() -> None:
    """Write out what is buffered for stdout and stderr, where somebody still reads them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # gone; closed; a signal came amid a write
            stream.flush()
