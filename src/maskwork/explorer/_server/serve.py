"""`serve`: the explorer on a port of this machine, and a browser that opens it."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlencode

from ...web import Server, listen
from .. import _limits as limits
from .app import create_app

_LOCAL = ("127.0.0.1", "localhost", "[::1]")


def serve(
    *, mask: str | None = None, length: int | None = None, host: str = "127.0.0.1", port: int = 0,
    open_browser: bool = True, ready: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Serve the explorer until it is interrupted.

    Args:
        mask: the mask that the page shows first.
        length: its length.
        host: the address to listen on; the default is reached from this machine alone.
        port: 0 takes a free one.
        open_browser: whether to open the page.
        ready: called with the page's address once it can be opened.

    Raises:
        ArgumentError: the address can't be listened on.
    """
    listening = listen(host, port)
    address = ip_address(listening.getsockname()[0])
    six = isinstance(address, IPv6Address)
    if address.is_unspecified:  # all addresses of this machine are listened on, and this one can't be opened
        name = "[::1]" if six else "127.0.0.1"
        app = create_app((*_LOCAL, socket.gethostname()), any_address=True)
    else:
        name = f"[{address}]" if six else host
        app = create_app((*_LOCAL, name, str(address)))  # browsers write addresses in one way, however they were typed
    parameters = {"mask": mask, "length": length}
    query = urlencode({key: value for key, value in parameters.items() if value is not None})
    # The token comes after a #, which a browser sends to no server.
    page = f"http://{name}:{listening.getsockname()[1]}/" + (f"?{query}" if query else "")
    page += f"#token={app.state.token}"
    ready(page)
    if open_browser:
        opening = threading.Timer(0.3, webbrowser.open, (page,))
        opening.daemon = True
        opening.start()
    Server(app, max_incomplete=limits.MAX_HEAD).run(sockets=[listening])
