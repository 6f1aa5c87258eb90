"""What every page and server of maskwork needs: the guard of requests, the listening socket, the server, its files."""

from ._guard import Guard, refusal
from ._server import Server, listen
from ._static import RevalidatedFiles

__all__ = ["Guard", "RevalidatedFiles", "Server", "listen", "refusal"]
