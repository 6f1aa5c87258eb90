"""Every panel says of a mask what the mask's own methods say."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import maskwork as mw
from maskwork.explorer._answers.gallery import PATTERNS

TEXT = "causal & (sliding_window(6) | sinks(1))"
N = 16
BOUND = mw.parse(TEXT).bind(N)
DENSE = BOUND.dense()[0, 0]


def opened(page: Page, panel: str, **asked: object) -> None:
    page.goto("/?" + urlencode({"mask": TEXT, "length": N, "panel": panel} | asked))
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")
    expect(page.locator("#panel h2").first).to_be_attached()


def number(text: str) -> float:
    """A number as the page writes it; what is masked with -inf too."""
    return float(text.strip().split(" ")[0].replace("−", "-").replace(",", "").replace("∞", "inf"))


def columns(page: Page, name: str) -> dict[str, list[str]]:
    """A table's rows by their heads."""
    table = page.locator(f"#panel table.{name} tbody tr")
    expect(table.first).to_be_visible()  # the first answer has come
    rows = table.all()
    return {
        (row.locator("th").text_content() or "").strip(): [
            text.strip() for text in row.locator("td").all_text_contents()
        ]
        for row in rows
    }


@pytest.mark.parametrize(("q", "k"), [(9, 2), (9, 0), (9, 9), (2, 9)])
def test_why(page: Page, q: int, k: int):
    opened(page, "why", cell=f"{q},{k}")
    explained = BOUND.explain(q, k)
    verdict = "allowed" if explained.allowed else "blocked"
    expect(page.locator("#panel h2")).to_have_text(f"query {q}, key {k}: {verdict}")
    reasons = page.locator("#panel .tree span").all_text_contents()

    def said(part: mw.Explanation) -> list[str]:
        return [part.reason, *(reason for child in part.children for reason in said(child))]

    assert reasons == said(explained)
    keys = np.flatnonzero(DENSE[q])
    expect(page.locator("#panel dd").first).to_contain_text(f"{len(keys)} key")
    last = BOUND.last_seen()[0, 0, k]
    expect(page.locator("#panel dd").last).to_contain_text(f"query {last}" if last >= 0 else "no query")


def test_why_follows_the_mouse_and_a_click_pins(page: Page):
    opened(page, "why", view="0,0,16", length=64)
    cells = page.locator(".cells")
    x, y = (float(cells.get_attribute(f"data-{name}") or 0) for name in "xy")
    at = {"x": x + 16 * 3 + 5, "y": y + 16 * 7 + 5}
    page.locator(".over").hover(position=at)
    expect(page.locator("#panel h2")).to_have_text("query 7, key 3: allowed")
    page.locator(".over").click(position=at)
    page.wait_for_url(lambda url: "cell=7%2C3" in url)


def test_why_goes_to_the_cell_whose_numbers_are_written(page: Page):
    opened(page, "why", length=1 << 20, mask="causal & sliding_window(4096)")
    query, key = (page.get_by_role("spinbutton", name=name, exact=True) for name in ("query", "key"))
    query.fill("700000")
    query.press("Enter")
    expect(page.locator("#panel h2")).to_have_text("query 700,000, key 0: blocked")
    key.fill("9999999")
    key.press("Enter")
    expect(page.locator("#panel h2")).to_have_text("query 700,000, key 1,048,575: blocked")
    key.fill("695905")
    key.press("Enter")
    expect(page.locator("#panel h2")).to_have_text("query 700,000, key 695,905: allowed")
    at = {name: float(page.locator(".cells").get_attribute(f"data-{name}") or 0) for name in "qk"}
    assert 0 < 700_000 - at["q"] < 20
    assert 0 < 695_905 - at["k"] < 20
    # The numbers are those of the kept cell: the back button brings them back.
    page.go_back()
    expect(key).to_have_value("1048575")


def test_softmax_shows_every_step_of_it(page: Page):
    opened(page, "softmax", cell="9,2")
    expect(page.locator(".verdict")).to_contain_text("no weight is on forbidden keys")
    steps = columns(page, "steps")
    assert len(steps) == N
    scores = np.array([number(row[0]) for row in steps.values()])
    masked = np.array([number(row[1]) for row in steps.values()])
    weights = np.array([number(row[4]) for row in steps.values()])
    seen = DENSE[9]
    assert (np.isneginf(masked) == ~seen).all()
    assert (masked[seen] == scores[seen]).all()
    right = np.where(seen, np.exp(scores - scores[seen].max()), 0)
    right /= right.sum()
    # Scores are shown to 3 digits: they are off by 0.0005, weights by a factor of exp(0.002) and their own rounding.
    assert np.abs(weights - right).max() <= 0.0005 + np.expm1(0.002)
    assert (weights[~seen] == 0).all()
    page.get_by_role("radio", name="−1", exact=True).click()
    expect(page.locator(".verdict")).to_contain_text("of the weight is on forbidden keys")
    leaking = np.array([number(row[4]) for row in columns(page, "steps").values()])
    assert (leaking[~seen] > 0).any()
    page.get_by_role("radio", name="no mask").click()
    unmasked = np.array([number(row[4]) for row in columns(page, "steps").values()])
    right = np.exp(scores - scores.max())
    assert np.abs(unmasked - right / right.sum()).max() <= 0.0005 + np.expm1(0.002)


def test_softmax_of_a_row_that_sees_nothing(page: Page):
    opened(page, "softmax", mask="causal - sinks(2)", **{"softmax.row": 0})
    expect(page.locator(".verdict")).to_contain_text("This row may see no key")
    expect(page.locator(".verdict")).to_contain_text("NaN")


def test_patterns_load(page: Page):
    opened(page, "patterns")
    cards = page.locator("#panel .card")
    expect(cards).to_have_count(len(PATTERNS))
    for pattern in (PATTERNS[0], PATTERNS[7], PATTERNS[-1]):
        page.locator("#panel .card", has=page.get_by_text(pattern.name, exact=True)).first.click()
        bound = mw.parse(pattern.mask).bind(pattern.length)
        expect(page.locator("#facts")).to_contain_text(f"{bound.allowed:,} of ")
        query = parse_qs(urlsplit(page.url).query)
        # what is the page's default is not in its address
        assert query.get("mask", ["causal & (sliding_window(8) | sinks(2))"]) == [pattern.mask]


def test_training_and_decoding_count_their_work(page: Page):
    opened(page, "play")
    counts = DENSE.sum(1)
    fresh = sum(counts[: t + 1].sum() for t in range(N))
    last = BOUND.last_seen()[0, 0]
    kept = max(sum(last[k] >= t for k in range(t + 1)) for t in range(N))
    rows = columns(page, "numbers")
    assert number(rows["pairs with a cache"][2]) == counts.sum() == BOUND.allowed
    assert number(rows["pairs without a cache"][2]) == fresh
    assert number(rows["cache entries, all kept"][2]) == N
    assert number(rows["cache entries, evicting"][2]) == kept
    for _ in range(3):
        page.get_by_role("button", name="Next ›").click()
    expect(page.locator("#panel")).to_contain_text(f"Query 3 reads {counts[3]} of 4 keys.")
    assert number(columns(page, "numbers")["pairs with a cache"][0]) == counts[3]
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#panel")).to_contain_text(f"Query {N - 1} reads {counts[-1]} of {N} keys.")
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # it has stopped by itself


def test_training_without_a_mask_is_said_to_leak(page: Page):
    opened(page, "play", mask="full")
    expect(page.locator("#panel .bad")).to_contain_text("own label")


def scaled(text: str, unit: str) -> float:
    value, prefix = text.split(" ")
    return float(value) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "Ki": 2**10, "Mi": 2**20,
                           "Gi": 2**30, "Ti": 2**40}[prefix.removesuffix(unit)]  # fmt: skip


def test_cost(page: Page):
    asked = {"length": 4096, "cost.model_layers": 4, "cost.kv_heads": 2, "cost.query_heads": 8, "cost.head_dim": 64}
    opened(page, "cost", **asked)
    bound = mw.parse(TEXT).bind(4096)
    cost = bound.cost(layers=4, heads=8, kv_heads=2, head_dim=64, dtype="bfloat16", block_size=128)
    expect(page.locator("#panel")).to_contain_text(f"{bound.allowed:,} of {4096**2:,}")
    bars = columns(page, "bars")
    figures = {"no mask": cost.dense_flops, "in blocks": cost.block_flops, "allowed alone": cost.flops}
    for name, wanted in figures.items():
        assert scaled(bars[name][0], "FLOP") == pytest.approx(wanted, rel=0.005)  # three digits are shown
    assert scaled(bars["all kept"][0], "B") == pytest.approx(cost.cache_bytes, rel=0.005)
    assert scaled(bars["evicting"][0], "B") == pytest.approx(cost.cache_bytes_kept, rel=0.005)
    assert scaled(bars["dense bool (SDPA)"][0], "B") == 4096**2
    for size in (16, 64, 256):
        waste = 1 - bound.allowed / bound.blocks(size).cells
        assert number(bars[str(size)][0]) == pytest.approx(100 * waste, abs=0.05)


def test_depth(page: Page):
    opened(page, "depth", layers=2, cell="9,2")
    expect(page.locator("#facts")).to_contain_text(f"{BOUND.reach(2).allowed} of {N * N} pairs reached")
    expect(page.locator("#panel .verdict")).to_contain_text("In 2 of 2 layers")
    path = [int(text) for text in page.locator("#panel .path .at").all_text_contents()]
    assert (path[0], path[-1]) == (9, 2)
    assert all(DENSE[q, k] for q, k in itertools.pairwise(path))
    rows = columns(page, "bars")
    for layers in (1, 2):
        assert number(rows[str(layers)][0]) == BOUND.reach(layers).dense()[0, 0, 9].sum()
    page.get_by_role("slider", name="Layers").fill("1")
    expect(page.locator("#panel .verdict")).to_contain_text("Not through 1 layer")
    # the picture and its count stay the mask's own once another panel is open
    page.get_by_role("tab", name="Cost").click()
    expect(page.locator("#facts")).to_contain_text(f"{BOUND.allowed} of {N * N} pairs allowed")


def test_compare(page: Page):
    opened(page, "compare", other="sliding_window(9)")
    diff = BOUND.diff(mw.sliding_window(9))
    expect(page.locator("#panel .verdict")).to_contain_text(f"differ in {diff.only_left + diff.only_right} cells")
    rows = columns(page, "numbers")
    wanted = {"both allow": diff.both, "only this one": diff.only_left, "only the other": diff.only_right,
              "neither": diff.neither}  # fmt: skip
    assert {name: number(row[0]) for name, row in rows.items()} == wanted
    _, _, q, k = diff.first_left[0]
    page.get_by_role("button", name=f"query {q}, key {k}").first.click()
    page.wait_for_url(lambda url: f"cell={q}%2C{k}" in url)
    page.get_by_role("textbox", name="The other mask").fill("causal & causal & (sinks(1) | sliding_window(6))")
    expect(page.locator("#panel .verdict")).to_contain_text("equal, cell for cell")


@pytest.mark.parametrize("to", ["maskwork", "SDPA"])
def test_code_to_take_away_makes_the_mask(page: Page, to: str):
    opened(page, "take")
    page.get_by_role("radio", name=to).click()
    code = page.locator("#panel pre.code")
    expect(code).to_contain_text("mw.attention" if to == "maskwork" else "scaled_dot_product_attention")
    names: dict[str, object] = {}
    exec(code.text_content() or "", names)
    made: Any = names["bound"].dense() if to == "maskwork" else names["mask"].numpy()  # type: ignore[attr-defined]
    assert (made == BOUND.dense()).all()


def test_pictures_to_take_away(page: Page, tmp_path: Path):
    opened(page, "take")
    with page.expect_download() as taking:
        page.get_by_role("button", name="SVG of the whole").click()
    taking.value.save_as(tmp_path / "mask.svg")
    assert (tmp_path / "mask.svg").read_text(encoding="utf-8") == BOUND.svg(size=768)
    with page.expect_download() as taking:
        page.get_by_role("button", name="PNG of what is shown").click()
    taking.value.save_as(tmp_path / "mask.png")
    data = (tmp_path / "mask.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    size = page.locator(".cells").evaluate("(canvas) => [canvas.width, canvas.height]")
    assert list(struct.unpack(">II", data[16:24])) == size
