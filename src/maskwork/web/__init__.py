"""What every page and server of maskwork needs: the guard of requests, the listening socket, the server."""

from ._guard import Guard
from ._server import Server, listen

__all__ = ["Guard", "Server", "listen"]
