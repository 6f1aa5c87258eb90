"""`create_app`: the web application: the page's files, and one route for each question."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from ... import __version__
from ...errors import ArgumentError, MaskworkError
from ...web import Guard, RevalidatedFiles, refusal
from .. import _limits as limits
from .errors import Unanswered
from .openapi import description
from .routes import LOADING, QUESTIONS
from .worker import MODEL_ANSWERS, Worker

_log = logging.getLogger(__name__)


def create_app(
    hosts: Iterable[str] = ("127.0.0.1", "localhost", "[::1]"), token: str | None = None,
    frame_ancestors: str = "'self'", any_address: bool = False,
) -> Starlette:  # fmt: skip
    """Return the explorer as an ASGI application. `app.state.close()` ends its processes and what waits for them.

    Args:
        hosts: the names that it answers to.
        token: what a request must show that loads files; a fresh one when left out, in `app.state.token`.
        frame_ancestors: the pages that may hold it in a frame, as CSP's directive of that name lists them.
        any_address: whether it answers to every IP address too.
    """
    # The picture does not wait until everything about the mask is counted.
    pictures, numbers = Worker(), Worker()
    # A model is loaded by the process that holds torch, which is begun when one is first asked for.
    models = Worker(
        MODEL_ANSWERS,
        limits.MODEL_SECONDS,
        limits.MODEL_MEMORY,
        "take a shorter prompt, or a smaller model",
    )
    token = token or secrets.token_urlsafe(24)

    def route(question: str) -> Route:
        worker = pictures if question == "tile" else numbers

        async def answer(request: Request) -> Response:
            parameters = request.query_params.multi_items()
            if len({name for name, _ in parameters}) < len(parameters):
                return refusal(422, "a request gives each parameter once, got one twice")
            return await _answer(request, worker, question, dict(parameters))

        return Route(f"/api/{question}", answer, methods=["GET"])

    def loading_route(question: str) -> Route:
        async def answer(request: Request) -> Response:
            # The body is taken first: a connection closed on an unread one may lose the answer.
            try:
                body = await _body(request)
                header = request.headers.get("x-maskwork-token", "")
                if not secrets.compare_digest(header.encode(), token.encode()):
                    return refusal(403, "what reads files needs this launch's token; open the address that it printed")
                return await _answer(request, models, question, _object(body))
            except ArgumentError as error:
                return refusal(422, str(error))
            except ClientDisconnect:
                return _client_closed()

        return Route(f"/api/{question}", answer, methods=["POST"])

    def close() -> None:
        for worker in (pictures, numbers, models):
            worker.close()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # Before the first request, which would wait for it.
        for worker in (pictures, numbers):
            worker.start()
        yield
        close()

    app = Starlette(
        routes=[
            Route("/api/health", _health, methods=["GET"]),
            Route("/api/openapi.json", _openapi, methods=["GET"]),
            *(route(question) for question in QUESTIONS),
            *(loading_route(question) for question in LOADING),
            Mount("/", RevalidatedFiles(directory=str(files("maskwork.explorer") / "static"), html=True)),
        ],
        middleware=[
            Middleware(
                Guard,
                hosts=hosts,
                max_query=limits.MAX_QUERY_STRING,
                max_body=limits.MAX_BODY,
                frame_ancestors=frame_ancestors,
                any_address=any_address,
            )
        ],
        lifespan=lifespan,
    )
    app.state.token = token
    app.state.close = close
    return app


async def _answer(request: Request, worker: Worker, question: str, parameters: Mapping[str, Any]) -> Response:
    """Return the worker's answer, or status 499 as soon as the client has disconnected."""
    # Two tasks race: the answer, and the end of the connection. What loses is cancelled.
    asking = asyncio.ensure_future(worker.ask(question, parameters))
    leaving = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        asking.cancel()  # which does nothing to a task that is done
    if not asking.done():
        return _client_closed()
    try:
        answer = asking.result()
    except Unanswered as error:
        return refusal(503, str(error))
    except MaskworkError as error:
        return refusal(422, str(error))
    except Exception as error:  # answered here, so that this answer too has the guard's headers
        _log.exception("%s could not be answered", question)
        return refusal(500, f"a mistake of the explorer's own, please report it: {error}")
    if isinstance(answer, bytes):
        return Response(answer, media_type="application/octet-stream")
    return JSONResponse(answer)


async def _wait_for_disconnect(request: Request) -> None:
    """Return once the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _client_closed() -> Response:
    """Return status 499: the client has disconnected, and the server drops the response."""
    return Response(status_code=499)


async def _body(request: Request) -> bytes:
    """Return the body, whose length need not be declared."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.MAX_BODY:
            raise ArgumentError(
                f"a request may have {limits.MAX_BODY >> 10} KiB, got a longer one; write a shorter one"
            )
    return body


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ArgumentError(f"a request's body is a JSON object, got {body[:40]!r}")
    return value


async def _health(_: Request) -> JSONResponse:
    return JSONResponse({"maskwork": __version__})


async def _openapi(_: Request) -> JSONResponse:
    return JSONResponse(description())
