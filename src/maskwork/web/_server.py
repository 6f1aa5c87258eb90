"""`Server` and `listen`: uvicorn on a socket that is opened first, so that a refused address is one line."""

from __future__ import annotations

import logging
import socket
from ipaddress import IPv6Address

import uvicorn
from starlette.applications import Starlette

from ..errors import ArgumentError


class Server(uvicorn.Server):
    """A uvicorn server that ends at once: waiting requests are refused, and open connections are closed."""

    def __init__(self, app: Starlette, *, max_incomplete: int, log_level: str = "warning") -> None:
        """Prepare to serve `app`, whose `state.close()` ends its processes.

        Args:
            max_incomplete: the most bytes of a request's head.
            log_level: how much uvicorn logs.
        """
        super().__init__(
            uvicorn.Config(
                app, log_level=log_level, lifespan="on", timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=max_incomplete,
            )
        )  # fmt: skip
        self._close = app.state.close

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the application first: uvicorn waits for open requests, and these wait for its processes."""
        self._close()
        # uvicorn would log, with a traceback, each connection that it closes.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; on `::` it takes IPv4 too, where the machine can.

    Raises:
        ArgumentError: the address or the port cannot be listened on.
    """
    if not host.strip():
        raise ArgumentError("a server listens on an address, got an empty --host; leave it out for this machine alone")
    six = ":" in host  # an IPv6 address
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if six else socket.AF_INET,
            dualstack_ipv6=six and socket.has_dualstack_ipv6() and IPv6Address(host).is_unspecified,
        )  # fmt: skip
    except (OSError, OverflowError, ValueError) as error:  # ValueError: what is no name of a host
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(
            f"a server listens on a free port of this machine, {host}:{port} can't be had ({reason}); "
            "leave --port out to take a free one, and --host for this machine alone"
        ) from None
