"""The Model panel shows what a model attends to: a planted leak's weight on forbidden cells, a clean model's 0."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import maskwork as mw
from helpers.small_models import IDS, write_folders
from maskwork.explorer._answers.model import ANSWERS

from .conftest import Server

#: The colours in the middle of cells' upper edges, where no sign is drawn over them: queries x keys x (r, g, b).
COLOURS = """(canvas) => {
    const { width, height } = canvas, side = Number(canvas.dataset.cells), step = width / side;
    const copy = new OffscreenCanvas(width, height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, width, height);
    const at = (q, k) => 4 * (Math.floor(q * step + 1) * width + Math.floor((k + 0.5) * step));
    const all = [...Array(side).keys()];
    return all.map((q) => all.map((k) => [...data.slice(at(q, k), at(q, k) + 3)]));
}"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_folders(root)
    return root


def opened(page: Page, server: Server, mask: str, **asked: object) -> None:
    query = urlencode({"mask": mask, "panel": "model", "theme": "light"} | asked)
    page.goto(f"/?{query}#token={server.token}")
    expect(page.get_by_role("heading", name="What a model really attends to")).to_be_visible()


def rgb(page: Page, name: str) -> list[int]:
    """A colour of the page's style."""
    written = page.evaluate("(name) => getComputedStyle(document.documentElement).getPropertyValue(name)", name)
    return [int(written.strip()[at : at + 2], 16) for at in (1, 3, 5)]


def assert_drawn(page: Page, answer: dict[str, Any]) -> None:
    """Each cell has the colour of its weight, and an alarm's where the weight is forbidden."""
    side = len(answer["tokens"])
    weights = np.frombuffer(base64.b64decode(answer["weights"]), "<f8").reshape(side, side)
    allowed = np.array([[cell == "1" for cell in row] for row in answer["allowed"]])
    colours = page.evaluate("async () => (await import('/matrix/paint.js')).palette()")
    found = np.array(page.locator("canvas.weights").evaluate(COLOURS), dtype=float)
    none, full = np.array(colours["none"]), np.array(colours["all"])
    wanted = none + (full - none) * np.sqrt(weights)[..., None]
    # A canvas keeps an alpha in eight bits: off by half of 1/255, and its own rounding.
    assert np.abs(found - wanted)[allowed].max() <= 2
    alarm = (found == rgb(page, "--bad")).all(-1)
    assert (alarm == (~allowed & (weights != 0))).all()


def verdict(answer: dict[str, Any]) -> str:
    forbidden = answer["forbidden"]
    if not forbidden["cells"]:
        return f"✓ weight on forbidden cells: 0 (exactly), on all {forbidden['of']} of them"
    return f" of {len(answer['tokens'])} in all, on {forbidden['cells']} of {forbidden['of']} such cells"


@pytest.mark.parametrize("name", ["keeps the mask", "forgets the mask", "shifts its labels"])
def test_examples_are_one_click_away(page: Page, server: Server, name: str):
    mask = "causal & (sliding_window(6) | sinks(1))"
    example = {"keeps the mask": "honest", "forgets the mask": "no-mask", "shifts its labels": "shifted-labels"}[name]
    body = {"path": f"example:{example}", "prompt": "The cat ate the fish", "mask": mask}
    opened(page, server, mask)
    page.get_by_role("button", name=name).click()
    answer = ANSWERS["model"](body)
    leaks = example == "no-mask"
    assert (answer["forbidden"]["cells"] > 0) == leaks
    expect(page.locator("#panel .verdict").first).to_contain_text(verdict(answer))
    expect(page.locator("#panel .verdict.leak")).to_have_count(int(leaks))
    if leaks:
        expect(page.locator("#panel .verdict").first).to_contain_text(str(answer["forbidden"]["weight"]))
        expect(page.locator("#panel")).to_contain_text("Of all 8 heads, 8 put weight on forbidden cells")
    assert_drawn(page, answer)
    page.get_by_role("button", name="Audit it").click()
    report = ANSWERS["audit"](body)
    assert report["ok"] == (example == "honest")
    expect(page.locator("#panel .audit .verdict")).to_contain_text("it keeps the mask" if report["ok"] else "leak")
    expect(page.locator("#panel .findings > li")).to_have_count(len(report["findings"]))
    for finding in report["findings"]:
        expect(page.locator("#panel .findings")).to_contain_text(finding["text"])
        expect(page.locator("#panel .findings pre").first).to_have_text(finding["picture"])


@pytest.mark.parametrize("name", ["clean", "ahead", "llama", "bert"])
def test_a_model_in_a_folder(page: Page, server: Server, folders: Path, name: str):
    opened(page, server, "causal")
    page.get_by_label("folder of a run").fill(str(folders / name))
    page.get_by_role("textbox", name="prompt").fill(" ".join(map(str, IDS)))
    page.get_by_role("radio", name="token ids").click()
    page.get_by_role("button", name="Show its weights").click()
    body = {"path": str(folders / name), "ids": IDS, "mask": "causal"}
    answer = ANSWERS["model"](body)
    leaks = {"clean": 0, "ahead": len(IDS) - 1, "llama": 0, "bert": 66}[name]
    assert answer["forbidden"]["cells"] == leaks
    expect(page.locator("#panel .verdict").first).to_contain_text(verdict(answer))
    assert_drawn(page, answer)
    # another layer and head are other weights, and all of it is in the address
    page.get_by_role("spinbutton", name="layer").fill("1")
    page.get_by_role("spinbutton", name="layer").press("Enter")
    page.get_by_role("spinbutton", name="head").fill("1")
    page.get_by_role("spinbutton", name="head").press("Enter")
    answer = ANSWERS["model"]({**body, "layer": 1, "head": 1})
    page.wait_for_url(lambda url: "model.head=1" in url)
    expect(page.locator("[data-shown]")).to_have_attribute("data-shown", "1,1")
    assert_drawn(page, answer)
    weights = np.frombuffer(base64.b64decode(answer["weights"]), "<f8").reshape(len(IDS), -1)
    page.locator("canvas.weights").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator("#panel .readout")).to_contain_text("query 2")
    said = page.locator("#panel .readout").text_content() or ""
    assert float(said.split(": ")[1].split(",")[0].replace(" (exactly)", "")) == weights[2, 0]


def test_the_declared_mask_may_be_the_models_own(page: Page, server: Server, folders: Path):
    opened(page, server, "causal", **{"model.path": folders / "ahead", "model.prompt": "1 2 3 4", "model.kind": "ids"})
    expect(page.locator("#panel .verdict").first).to_be_hidden()  # a link opens no file by itself
    page.get_by_role("button", name="Show its weights").click()
    expect(page.locator("#panel .verdict").first).to_contain_text("on 3 of 6 such cells")
    page.get_by_role("radio", name="the model's own").click()
    own = mw.parse("causal | band(0, 1)").bind(4)
    expect(page.locator("#panel .verdict").first).to_contain_text(f"0 (exactly), on all {16 - own.allowed} of them")


def test_without_the_launchs_token_nothing_is_loaded(page: Page, faults: list[str]):
    page.goto("/?panel=model")
    page.get_by_role("button", name="keeps the mask").click()
    expect(page.get_by_role("alert").last).to_contain_text("it ends with the token")
    assert all("403" in fault for fault in faults)
    faults.clear()
