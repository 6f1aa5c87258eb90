"""`Server` and `listen`: uvicorn on a socket that is opened first, so that a refused address is one line."""

from __future__ import annotations

import logging
import socket
from ipaddress import IPv6Address

import uvicorn
from starlette.applications import Starlette

from ..errors import ArgumentError


class Server(uvicorn.Server):
    """uvicorn, that ends at once: what waits for an answer is refused, and a client that does not end is hung up on."""

    def __init__(self, app: Starlette, *, max_incomplete: int, log_level: str = "warning") -> None:
        """Serve `app`, whose `state.close()` ends its processes.

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
        """End the processes first: what waits for them would be waited for."""
        self._close()
        # It would tell, with a traceback, of each client that it hangs up on.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; on `::` it takes IPv4 too, where the machine can."""
    if not host.strip():
        raise ArgumentError("a server listens on an address, got an empty --host; leave it out for this machine alone")
    six = ":" in host
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
