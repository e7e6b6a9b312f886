"""Where `app.run()` may be called: in the main thread, outside of an event loop and of an import, once."""

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

from .._container import Container

if TYPE_CHECKING:
    from types import FrameType

_IN_SPAWNED_PROCESS = "__mp_main__"
"""The name under which multiprocessing imports the program once more."""


def check_run_call(container: Container) -> None:
    """Raise RuntimeError, saying what to do instead, where `app.run()` could not serve as it promises."""
    if module := _module_being_imported():
        raise RuntimeError(
            f"app.run() was called while {module} was being imported, perhaps by another server such as "
            f"`uvicorn {module}:app`, which would then serve it too: put app.run() below "
            'if __name__ == "__main__":'
        )
    if _is_in_event_loop():
        raise RuntimeError(
            "app.run() starts an event loop and cannot be called in a running one: call it from plain code, or "
            "serve the app in this loop with: await uvicorn.Server(uvicorn.Config(app)).serve()"
        )
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "app.run() handles signals, which only the main thread can: call it there, or serve the app in this "
            "thread with: uvicorn.Server(uvicorn.Config(app)).run()"
        )
    if container.has_run:
        raise RuntimeError("app.run() was called before, and serves an app once: make another App to serve again")
    container.has_run = True


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _module_being_imported() -> str:
    """Return the name of the module whose import called `app.run()`, "" where none did."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented, and the cheapest way to the callers
    module = ""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib") or module == _IN_SPAWNED_PROCESS:
            return module
        module = str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
    return ""
