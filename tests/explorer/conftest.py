"""The explorer as it is served: on a port of this machine, by a thread, and asked over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx2
import pytest

from maskwork.explorer import _limits as limits
from maskwork.explorer import create_app
from maskwork.web import Server, listen

TOKEN = "this-launch"


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where it is served, such as `http://127.0.0.1:12345`."""
    listening = listen("127.0.0.1", 0)
    server = Server(create_app(token=TOKEN), max_incomplete=limits.MAX_HEAD, log_level="critical")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address, timeout=300, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def token() -> dict[str, str]:
    """The header that shows this launch's token."""
    return {"x-maskwork-token": TOKEN}
