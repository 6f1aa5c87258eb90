"""`Guard`: the check of every request (Host, Origin, sizes), and the headers of every answer that fence the page in."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A page may load scripts, styles and data from its own server alone, holds nothing inline and sends no form; what it
# may be framed by is the caller's. The other headers keep its answers from being read by pages of other sites.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "worker-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware that refuses what another site's page could send, and fences every answer in.

    Another site's page can make a browser send requests here in two ways: under that site's name, which it lets point
    at this machine (DNS rebinding), or from that site's origin. The first is refused by its Host header, the second by
    its Origin header; no answer carries a CORS header. With `any_address` every IP address is an accepted host: an
    address is never looked up, so it cannot be rebound.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], *, max_query: int, max_body: int,
        frame_ancestors: str = "'self'", any_address: bool = False,
    ) -> None:  # fmt: skip
        """Guard `app`.

        Args:
            app: the application behind the guard.
            hosts: the names that it is reached by.
            max_query: the most bytes of an address's query.
            max_body: the most bytes of a body.
            frame_ancestors: the pages that may hold it in a frame, as CSP's directive of that name lists them.
            any_address: whether every IP address is a host too.
        """
        self.app, self.hosts, self.any_address = app, frozenset(host.lower() for host in hosts), any_address
        self.max_query, self.max_body = max_query, max_body
        self.headers = {name: value.format(ancestors=frame_ancestors) for name, value in _HEADERS.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
            await send(message)

        refused = self._refused(scope)
        app = self.app if refused is None else refused
        await app(scope, receive, send_fenced)

    def _refused(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        name = _name(host)
        if name not in self.hosts and not (self.any_address and _is_address(name)):
            names = ", ".join(sorted(self.hosts))
            return refusal(403, f"this server answers to {names}, got {host[:80]!r}; open the address that it printed")
        # A browser sends an Origin with each request that another page, or a script, made.
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return refusal(403, f"this server answers its own page, got a request from {origin[:80]!r}")
        if len(scope["query_string"]) > self.max_query:
            return refusal(413, f"an address may have {self.max_query} bytes, got a longer one; write less")
        if _body(headers, self.max_body + 1) > self.max_body:
            return refusal(413, f"a request may have {self.max_body >> 10} KiB, got a longer one; write a shorter one")
        return None


def _name(host: str) -> str:
    """Return the host without its port; brackets of IPv6 stay."""
    return host.rsplit(":", 1)[0] if ":" in host.rsplit("]", 1)[-1] else host


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        return (ip_address(name[1:-1] if bracketed else name).version == 6) == bracketed
    except ValueError:
        return False


def _body(headers: Headers, too_long: int) -> int:
    """Return the declared length of the body, `too_long` where it is no length."""
    # int() of thousands of digits takes seconds
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) <= 16 else too_long


def refusal(status: int, error: str) -> JSONResponse:
    """Return the response to a request that is refused: this status, and `{"error": …}`."""
    return JSONResponse({"error": error}, status_code=status)
