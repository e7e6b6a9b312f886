"""anyio, by which Starlette reads files, streams answers and keeps large uploads, imported off the event loop.

Its part for asyncio takes 20 ms to import and 1.3 MiB to hold: too much for every service to start with, since
most answer JSON alone, and far too much for the event loop to be kept by the first file.
"""

import asyncio
import mimetypes
import os
import threading

import anyio


class _Import:
    def __init__(self) -> None:
        self._is_there = False
        self._working = threading.Lock()

    async def __call__(self) -> None:
        """Have a thread import what files, streams and uploads need; at once where it is there."""
        if not self._is_there:
            await asyncio.get_running_loop().run_in_executor(None, self._run)

    def _run(self) -> None:
        """Read a file, on a loop of the thread's own: anyio has no other public way to all of the imports."""
        with self._working:
            if not self._is_there:
                anyio.run(_read_nothing)
                mimetypes.guess_type("")  # reads the system's list of types
                self._is_there = True


anyio_is_there = _Import()


async def _read_nothing() -> None:
    async with await anyio.open_file(os.devnull, "rb") as file:
        await file.read()
