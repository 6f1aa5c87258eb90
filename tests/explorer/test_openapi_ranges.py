"""The range of each number is written once, in Python: answers keep it, and the page reads it from the description."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

import maskwork as mw
from maskwork.errors import ArgumentError, MaskworkError
from maskwork.explorer._answers.mask import ANSWERS
from maskwork.explorer._server.openapi import description
from maskwork.explorer._server.routes import QUESTIONS, Parameter

STATIC = Path(str(files("maskwork.explorer"))) / "static"
SOURCES = {path.relative_to(STATIC).as_posix(): path.read_text(encoding="utf-8") for path in STATIC.rglob("*.js")}
BOUNDED = [(name, one) for name, parameters in QUESTIONS.items() for one in parameters if one.low is not None]
RANGES = {one.name: (one.low, one.high) for _, one in BOUNDED}

#: Parameters with which every question has an answer.
VALID = {"mask": "causal", "other": "full", "length": "8", "q": "3", "k": "2"}

#: The description, as the page imports it.
IMPORTED = "/api/openapi.json"

READ = """
const { ranges } = await import(process.env.STATIC + "/ranges.js");
const { readAddress } = await import(process.env.STATIC + "/state.js");
console.log(JSON.stringify({ ranges, states: JSON.parse(process.env.ADDRESSES).map(readAddress) }));
"""


def test_a_name_has_one_range():
    assert all(RANGES[one.name] == (one.low, one.high) for _, one in BOUNDED)


@pytest.mark.parametrize(("question", "parameter"), BOUNDED, ids=lambda value: getattr(value, "name", value))
def test_an_answer_keeps_the_described_range(question: str, parameter: Parameter):
    assert parameter.low is not None
    assert parameter.high is not None
    for outside in (parameter.low - 1, parameter.high + 1):
        refused = rf"^{parameter.name} is a number from {parameter.low} to {parameter.high}\b"
        with pytest.raises(ArgumentError, match=refused):
            ANSWERS[question](VALID | {parameter.name: str(outside)})


def test_the_page_writes_no_bound_itself():
    named = set(re.findall(r"\branges\.(\w+)", "".join(SOURCES.values()))) - {"js"}
    named |= set(re.findall(r'\["(\w+)", "[\w ]+", \d+\],', SOURCES["panels/cost.js"]))
    assert named <= set(RANGES)
    assert {"length", "q_len", "q_start", "b", "h", "batch", "heads", "layers", "shrink", "head_dim"} <= named
    bounds = {high for low, high in RANGES.values() if high is not None and high > 1 << 16}
    for name, source in SOURCES.items():
        assert not [bound for bound in bounds if re.search(rf"\b{bound}\b|\b{bound:_}\b", source)], name
        assert "1 << 20" not in source, name
        # 0 and 0: the page sets the bounds later, by the mask or the model.
        for low, high in re.findall(r"low: ([\w.-]+), high: ([\w.-]+)", source):
            assert not low.isdigit() or high in ("0", "MAX_SEED", "schema.maximum"), (name, low, high)
    assert not re.search(r'\b(min|max)="', (STATIC / "index.html").read_text(encoding="utf-8"))


@pytest.mark.skipif(not shutil.which("node"), reason="the page's modules run in node here, which is not installed")
def test_an_address_is_read_within_the_described_ranges(tmp_path: Path):
    keys = {"length": "length", "q_len": "qLen", "q_start": "qStart", "batch": "batch", "heads": "heads",
            "b": "b", "h": "h", "layers": "layers"}  # fmt: skip
    cases = [(name, value) for name in keys for value in (RANGES[name][0], RANGES[name][1])]
    outside = [(name, RANGES[name][1] + 1) for name in keys]  # type: ignore[operator]
    page = tmp_path / "static"
    shutil.copytree(STATIC, page)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (page / "openapi.json").write_text(json.dumps(description()))
    assert IMPORTED in SOURCES["ranges.js"]
    (page / "ranges.js").write_text(SOURCES["ranges.js"].replace(IMPORTED, "./openapi.json"), encoding="utf-8")
    addresses = [f"?{name}={value}" for name, value in (*cases, *outside)]
    surroundings = {"STATIC": page.as_uri(), "ADDRESSES": json.dumps(addresses)}
    command = [str(shutil.which("node")), "--input-type=module", "--eval", READ]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ranges"] == {name: {"low": low, "high": high} for name, (low, high) in RANGES.items()}
    states = [state[keys[name]] for (name, _), state in zip((*cases, *outside), found["states"], strict=True)]
    defaults = {"length": 32, "b": 0, "h": 0, "layers": 0}
    assert states == [value for _, value in cases] + [defaults.get(name) for name, _ in outside]


def test_the_names_and_lower_bounds_of_sliders_are_those_of_the_atoms():
    source = SOURCES["sliders.js"]
    table = dict(re.findall(r"^  (\w+): \[(.*)\],$", source, re.MULTILINE))
    assert set(table) == {"band", "dilated", "random_blocks"}
    for name, arguments in table.items():
        written = [argument.strip(' "').replace(" ", "_") for argument in arguments.split(",")]
        assert written == list(inspect.signature(getattr(mw, name)).parameters)[: len(written)]
    positive = re.search(r"POSITIVE = /\^\(([\w|]+)\)/", source)
    assert positive
    for name in positive[1].split("|"):
        with pytest.raises(MaskworkError):
            mw.parse(f"{name}({', '.join('0' for _ in table.get(name, '1').split(','))})")
    for name in ("band", "prefix", "sinks", "padding"):
        assert name not in positive[1]
        mw.parse(f"{name}({'0, 0' if name == 'band' else '0'})")


def test_the_dtypes_of_a_cost_are_known():
    table = re.search(r"DTYPES = \[(.*)\]", SOURCES["panels/cost.js"])
    assert table
    names = re.findall(r'"(\w+)"', table[1])
    assert len(names) == 3
    for name in names:
        ANSWERS["cost"](VALID | {"dtype": name})
