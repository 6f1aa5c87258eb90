"""`RevalidatedFiles`: the files of a page, which the browser asks about anew before it runs them."""

from __future__ import annotations

import os

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class RevalidatedFiles(StaticFiles):
    """Static files that a browser may store but must revalidate.

    Without the header a browser guesses how long a file stays fresh, and after an upgrade runs some of the old modules
    beside some of the new ones. Revalidating costs one answer "304 Not Modified" per file.
    """

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the file, or that it has not changed, and say that it must be revalidated."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response
