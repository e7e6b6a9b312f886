"""The files of a folder, as `App.add_static_files` serves them."""

import os
from pathlib import PurePath

from starlette.responses import Response
from starlette.staticfiles import StaticFiles as StarlettesStaticFiles
from starlette.types import Receive, Scope, Send

from .headers import first_values
from .ranges import with_ranges_that_count


class StaticFiles(StarlettesStaticFiles):
    """Starlette's, for HTML: `index.html` of a folder, `404.html`; and what begins with a dot does not exist."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(directory=os.path.realpath(folder), html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, of which Starlette looks at the first line of each header alone."""
        await super().__call__({**scope, "headers": [*first_values(scope["headers"]).items()]}, receive, send)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return where a file is, with what it is; None for one that may not be served, or cannot."""
        try:
            found, status = super().lookup_path(path)
        except (OSError, ValueError):  # a ring of links, a folder that may not be read, a NUL
            return "", None
        if status is None or _is_hidden(path) or _is_hidden(os.path.relpath(found, self.directory)):
            return "", None
        return found, status

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the response for a file; the request's scope, which is a copy, gets the ranges that count."""
        scope.update(with_ranges_that_count(scope, stat_result.st_size))
        return super().file_response(full_path, stat_result, scope, status_code)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in PurePath(path).parts)  # of which "." is none
