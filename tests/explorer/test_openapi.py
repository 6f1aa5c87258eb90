"""The described API, asked by a machine that reads the description: it answers as described and never breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from maskwork.explorer import create_app
from maskwork.explorer._answers.mask import ANSWERS
from maskwork.explorer._server.openapi import description
from maskwork.explorer._server.routes import LOADING, QUESTIONS

# An answer given up for its time or memory is a described 503; a 500 is not described.
CHECKS = (content_type_conformance, response_schema_conformance, status_code_conformance)

#: Requests take their time, and what is odd is rarer than health checks like; a failure is shown as it was found.
few = settings(max_examples=6, phases=[Phase.generate], suppress_health_check=list(HealthCheck))

schema = schemathesis.openapi.from_dict(description())


@schema.hook
def map_query(context: schemathesis.HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the masks are masks, so that what stands beside them is looked at too."""
    if query and len(str(query.get("mask", "odd"))) % 2 == 0:
        query["mask"] = "causal & (sliding_window(3) | sinks(1))"
    return query


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", [*QUESTIONS, *LOADING])
@few
@given(st.data())
def test_it_answers_as_described(
    name: str, mode: GenerationMode, address: str, session: requests.Session, data: st.DataObject
):
    operation = schema[f"/api/{name}"]["post" if name in LOADING else "get"]
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        return  # nothing is asked for, so nothing can be asked wrongly
    case = data.draw(operation.as_strategy(generation_mode=mode))
    case.validate_response(case.call(base_url=address, session=session, timeout=300), checks=CHECKS)


def test_all_that_is_answered_is_described(client: httpx2.Client):
    assert set(QUESTIONS) == set(ANSWERS)
    assert client.get("/api/openapi.json").json() == description()
    routes = {route.path for route in create_app().routes if route.path.startswith("/api/")}
    assert routes == {f"/api/{name}" for name in (*QUESTIONS, *LOADING, "health", "openapi.json")}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_parameter_that_is_read_is_described(name: str):
    """Each question reads its numbers by name: what it asks for must be in its description."""

    class Noted(dict[str, str]):
        read: set[str]

        def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
            self.read.add(key)
            return super().get(key, default)

    parameters = Noted({"mask": "causal", "other": "full", "length": "8", "q": "3", "k": "2"})
    parameters.read = set()
    ANSWERS[name](parameters)
    assert parameters.read <= {parameter.name for parameter in QUESTIONS[name]}
