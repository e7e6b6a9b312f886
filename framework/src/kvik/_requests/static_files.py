"""The files of a folder, as `App.add_static_files` serves them."""

import os
from pathlib import PurePath

from starlette.staticfiles import StaticFiles as StarlettesStaticFiles
from starlette.types import Receive, Scope, Send

from .headers import first_values


class StaticFiles(StarlettesStaticFiles):
    """Starlette's, for HTML: `index.html` of a folder, `404.html`; and what begins with a dot does not exist."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(directory=os.path.realpath(folder), html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, of which Starlette looks at the first line of each header alone."""
        await super().__call__({**scope, "headers": [*first_values(scope["headers"]).items()]}, receive, send)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return where a file is, with what it is; None for one that may not be served."""
        found, status = super().lookup_path(path)
        if status is None or _is_hidden(path) or _is_hidden(os.path.relpath(found, self.directory)):
            return "", None
        return found, status


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in PurePath(path).parts)  # of which "." is none
