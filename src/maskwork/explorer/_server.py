"""`serve`: the explorer on a port of this machine, and a browser that opens it."""

from __future__ import annotations

import logging
import socket
import threading
import webbrowser
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlencode

import uvicorn
from starlette.applications import Starlette

from ..errors import ArgumentError
from . import _limits as limits
from ._app import create_app

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
        ready: told the page's address once it can be opened.

    Raises:
        ArgumentError: the address can't be listened on.
    """
    listening = listen(host, port)
    at = ip_address(listening.getsockname()[0])
    six = isinstance(at, IPv6Address)
    if at.is_unspecified:  # all addresses of this machine are listened on, and this one can't be opened
        name = "[::1]" if six else "127.0.0.1"
        app = create_app((*_LOCAL, socket.gethostname()), any_address=True)
    else:
        name = f"[{at}]" if six else host
        app = create_app((*_LOCAL, name, str(at)))  # browsers write addresses in one way, however they were typed
    shown = {"mask": mask, "length": length}
    query = urlencode({key: value for key, value in shown.items() if value is not None})
    # The token comes after a #, which a browser sends to nobody.
    address = f"http://{name}:{listening.getsockname()[1]}/" + (f"?{query}" if query else "")
    address += f"#token={app.state.token}"
    ready(address)
    if open_browser:
        opening = threading.Timer(0.3, webbrowser.open, (address,))
        opening.daemon = True
        opening.start()
    Server(app).run(sockets=[listening])


class Server(uvicorn.Server):
    """uvicorn, that ends at once: what waits for an answer is refused, and a client that does not end is hung up on."""

    def __init__(self, app: Starlette, log_level: str = "warning") -> None:
        """`log_level` is how much uvicorn says of itself."""
        super().__init__(
            uvicorn.Config(
                app, log_level=log_level, lifespan="on", timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=limits.MAX_QUERY_STRING + (32 << 10),
            )
        )  # fmt: skip
        self._close = app.state.close

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the processes first: what waits for them would be waited for."""
        self._close()
        # It would tell, with a traceback, of each client that it hangs up on.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; on `::` it takes IPv4 too, where the machine can."""
    if not host.strip():
        raise ArgumentError("the explorer listens on an address; --host is empty; leave it out for this machine alone")
    six = ":" in host
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if six else socket.AF_INET,
            dualstack_ipv6=six and socket.has_dualstack_ipv6() and IPv6Address(host).is_unspecified,
        )  # fmt: skip
    except (OSError, OverflowError, ValueError) as error:  # ValueError: what is no name of a host
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(
            f"the explorer listens on a free port of this machine; {host}:{port} can't be had ({reason}); "
            "leave --port out to take a free one, and --host for this machine alone"
        ) from None
