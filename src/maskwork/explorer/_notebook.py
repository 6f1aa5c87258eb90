"""`explore`: the explorer within a notebook, served by the notebook's own process."""

from __future__ import annotations

import atexit
import threading
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from .._shared.numbers import at_least
from ..errors import ArgumentError, MaskError
from ..masks import BoundMask, Grid, Mask, parse
from . import _limits as limits
from ._answers.request import MaskRequest

#: Who may hold the page in a frame: notebooks that this machine serves on any port, and VS Code, whose notebooks are
#: pages of its own schemes. A page of the web is none of these, so no site can lay itself over the explorer.
NOTEBOOKS = (
    "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview: vscode-file:"
)


@dataclass(frozen=True)
class Page:
    """The explorer on one mask. A notebook shows it in a frame; elsewhere its text is the address to open.

    The address ends with a token that the page needs to load models; it is worth nothing once this process has ended.
    """

    address: str
    height: int

    def __repr__(self) -> str:
        return self.address

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{escape(self.address)}" title="maskwork explorer" width="100%" height="{self.height}" '
            'style="border: 0" allow="clipboard-write"></iframe>'
        )


def explore(mask: Mask | BoundMask | str, *, length: int | None = None, height: int = 600) -> Page:
    """Return the explorer on this mask, in a notebook's frame.

    The page is served on 127.0.0.1 by a thread of this process, begun at the first call and ended with the process. The
    browser must run on the same machine: for a kernel elsewhere, forward the port of the address.

    Args:
        mask: a mask, its text, or a bound mask, which brings its grid.
        length: positions; 32 when left out.
        height: of the frame, in CSS pixels.

    Raises:
        ArgumentError: the mask has no text form that the page could edit, the grid is not one that the page shows, or
            a length is given for a bound mask.
        ParseError: the text is no mask. GridError: it does not fit the length.

    >>> import maskwork as mw
    >>> page = mw.explore(mw.causal() & mw.sliding_window(8), length=64)        # doctest: +SKIP
    """
    if not isinstance(mask, Mask | BoundMask | str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(
            f"the explorer takes a mask, its text or a bound mask, got {type(mask).__name__}; build one with "
            "mw.causal() …"
        )
    height = at_least(height, 1, "height")
    if isinstance(mask, BoundMask):
        if length is not None:
            raise ArgumentError(f"a bound mask has its length, got length={length} too; leave it out, or pass the mask")
        grid = _grid_parameters(mask.grid)
        mask = mask.mask
    else:
        mask = parse(mask) if isinstance(mask, str) else mask
        grid = {"length": mask.bind(32 if length is None else length).grid.kv_len}
    try:
        text = mask.to_text(arrays="full")
    except MaskError as error:
        raise ArgumentError(f"the explorer edits a mask as text: {error}") from None
    parameters = {"mask": text, **{name: str(size) for name, size in grid.items()}}
    MaskRequest.read(parameters)  # the page would show something else where these parameters are refused
    query = urlencode(parameters)
    port, token = _served()
    return Page(f"http://127.0.0.1:{port}/?{query}#token={token}", height)


def _grid_parameters(grid: Grid) -> dict[str, int]:
    """Return a grid as parameters of the page's address, without those that have their usual value."""
    if isinstance(grid.q_start, tuple) or grid.q_start < 0:
        raise ArgumentError(
            f"the explorer shows queries from one position on, at least 0, got q_start={grid.q_start}; pass one batch "
            "row's queries from 0 on, or draw the mask with bound.show(b=…)"
        )
    parameters = {"length": grid.kv_len}
    if (grid.q_len, grid.q_start) != (grid.kv_len, 0):
        parameters |= {"q_len": grid.q_len, "q_start": grid.q_start}
    return parameters | {name: size for name, size in (("batch", grid.batch), ("heads", grid.heads)) if size > 1}


_lock = threading.Lock()
_serving: tuple[int, str] | None = None


def _served() -> tuple[int, str]:
    """Return port and token of this process's server, which is started if need be."""
    global _serving
    with _lock:
        if _serving is None:
            try:
                from ..web import Server, listen
                from ._server.app import create_app
            except ModuleNotFoundError as error:
                raise ArgumentError(
                    f"the explorer needs starlette and uvicorn; {error.name} is not installed; "
                    "pip install 'maskwork[explore]'"
                ) from None
            listening = listen("127.0.0.1", 0)
            app = create_app(frame_ancestors=NOTEBOOKS)
            atexit.register(app.state.close)
            server = Server(app, max_incomplete=limits.MAX_HEAD)
            threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
            _serving = listening.getsockname()[1], app.state.token
        return _serving
