"""The OpenAPI description of the explorer's questions."""

from __future__ import annotations

from typing import Any

from ... import __version__
from .. import _limits as limits
from .routes import LOADING, QUESTIONS, Parameter


def description() -> dict[str, Any]:
    """Return the description in the form of OpenAPI 3.1, as a JSON value."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "maskwork explorer", "version": __version__},
        "paths": {
            **{f"/api/{name}": {"get": _operation(name, parameters)} for name, parameters in QUESTIONS.items()},
            **{f"/api/{name}": {"post": _loading(name)} for name in LOADING},
        },
        "components": {"securitySchemes": {"launch": {"type": "apiKey", "in": "header", "name": "x-maskwork-token"}}},
    }


def _operation(name: str, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    kind = "application/octet-stream" if name == "tile" else "application/json"
    return {
        "operationId": name,
        "parameters": [_parameter(parameter) for parameter in parameters],
        "responses": _responses(kind),
    }


def _loading(name: str) -> dict[str, Any]:
    index = {"type": "integer", "minimum": 0}
    body = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "maxLength": limits.MAX_PATH},
            "prompt": {"type": "string", "maxLength": limits.MAX_EXPRESSION},
            "ids": {"type": "array", "items": index, "maxItems": limits.MAX_PROMPT},
            "mask": {"type": ["string", "null"], "maxLength": limits.MAX_EXPRESSION},
            "layer": index,
            "head": index,
        },
        "required": ["path"],
    }
    return {
        "operationId": name,
        "security": [{"launch": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {**_responses("application/json"), "403": _refused("the same, or the launch's token is missing")},
    }


def _responses(kind: str) -> dict[str, Any]:
    return {
        "200": {"description": "the answer", "content": {kind: {}}},
        "403": _refused("the request names a host, or comes from a page, that is not this server's own"),
        "413": _refused("the request is too long"),
        "422": _refused("the mask or a number breaks a rule"),
        "503": _refused("the answer would take too long, or too much memory; too many wait; its process ended"),
    }


def _refused(description: str) -> dict[str, Any]:
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {"description": description, "content": {"application/json": {"schema": error}}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if parameter.low is not None:
        schema = {"type": "integer", "minimum": parameter.low, "maximum": parameter.high}
    return {"name": parameter.name, "in": "query", "required": parameter.required, "schema": schema}
