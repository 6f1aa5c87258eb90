"""The explorer: a page in the browser that shows any mask at any length, and why. `maskwork explore` opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._shared.lazy import lazy_exports
from ._notebook import explore

if TYPE_CHECKING:
    from ._server.app import create_app
    from ._server.serve import serve

__all__ = ["create_app", "explore", "serve"]

# These need starlette and uvicorn, which the processes that compute answers do not load.
__getattr__ = lazy_exports(__name__, {"create_app": "_server.app", "serve": "_server.serve"})


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})
