"""Questions that wait keep neither files nor the other process's questions waiting, and end with who asked them."""

from __future__ import annotations

import asyncio
import http.client
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from maskwork.explorer._server.worker import Worker

#: More than a pool of threads holds.
MANY = 60


def test_nothing_else_waits_and_who_leaves_is_forgotten(
    address: str, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
):
    real = Worker.ask
    begun, ended = threading.Semaphore(0), threading.Semaphore(0)

    async def ask(self: Worker, question: str, parameters: Any) -> Any:
        if question != "path":
            return await real(self, question, parameters)
        begun.release()
        try:
            await asyncio.Event().wait()  # nothing sets it
        finally:
            ended.release()

    monkeypatch.setattr(Worker, "ask", ask)
    waiting = [http.client.HTTPConnection(urlsplit(address).netloc) for _ in range(MANY)]
    for connection in waiting:
        connection.request("GET", "/api/path?mask=causal&length=8&q=3&k=1")
    for _ in waiting:
        assert begun.acquire(timeout=300)
    assert client.get("/main.js").status_code == 200
    assert client.get("/api/tile?mask=causal&length=4").status_code == 200
    for connection in waiting:
        connection.close()
    for _ in waiting:
        assert ended.acquire(timeout=300)
    assert client.get("/api/describe?mask=causal&length=8").json()["allowed"] == 36
