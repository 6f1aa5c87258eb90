"""Every pixel of the drawn matrix is the colour of the exact count of allowed pairs under it."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

import maskwork as mw

from .conftest import Server, watch

#: Positions, and a zoom between the whole matrix and single cells, in pixels a cell.
SIZES = [(150, 7.0), (700, 2.0), (5000, 0.5), (60_000, 0.0625)]

#: Forget that the last picture was finished, go to another address without loading the page, as the back button does.
GO = """(address) => {
    delete document.getElementById("matrix").dataset.settled;
    history.pushState(null, "", address);
    dispatchEvent(new PopStateEvent("popstate"));
}"""

#: The picture as base64 of its bytes, in pieces, for a function takes only so many arguments. It is read off a copy:
#: Chromium warns of a canvas that is read again and again.
READ = """(name) => {
    const cells = document.querySelector(".cells");
    const at = Object.fromEntries(Object.entries(cells.dataset).map(([name, value]) => [name, Number(value)]));
    const copy = new OffscreenCanvas(at.wide, at.high).getContext("2d");
    copy.drawImage(document.querySelector(name), -at.x, -at.y);
    const { data } = copy.getImageData(0, 0, at.wide, at.high);
    let text = "";
    for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
    return { ...at, pixels: btoa(text) };
}"""


def lengths(rng: random.Random, total: int) -> list[int]:
    """Documents that fill a row."""
    cuts = sorted(rng.sample(range(1, total), rng.randint(1, 5)))
    return [after - before for before, after in zip([0, *cuts], [*cuts, total], strict=True)]


def atom(rng: random.Random, n: int) -> str:
    far = rng.randint(1, n)
    return rng.choice(
        [
            "causal",
            "full",
            f"sliding_window({far})",
            f"sinks({far})",
            f"prefix({far})",
            f"padding({far})",
            f"padding(starts={far})",
            f"band({far}, {rng.randint(0, n // 4)})",
            f"chunked({far})",
            f"dilated({rng.randint(1, 5)}, {rng.randint(1, n // 8)})",
            f"global_tokens({sorted(rng.sample(range(n), 3))})",
            f"document({lengths(rng, n)})",
            f"block_causal({lengths(rng, n)})",
            f"within(causal | prefix({far}), {lengths(rng, n)})",
            f"causal.shift(q=0, k={far})",
            f"per_head([causal, sliding_window({far})])",
        ]
    )


def expression(rng: random.Random, n: int, depth: int = 3) -> str:
    if depth == 0 or rng.random() < 0.2:
        return atom(rng, n)
    if rng.random() < 0.15:
        return f"~({expression(rng, n, depth - 1)})"
    left, right = expression(rng, n, depth - 1), expression(rng, n, depth - 1)
    return f"({left}) {rng.choice('&|^-')} ({right})"


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """One page for all pictures, which goes from address to address; in the end it must have complained of nothing."""
    faults: list[str] = []
    context = browser.new_context(base_url=server.address, viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    watch(opened, server, faults)
    opened.goto("/?length=8")
    yield opened
    context.close()
    assert not faults


def show(page: Page, asked: dict[str, Any]) -> None:
    page.evaluate(GO, f"/?{urlencode(asked)}")
    settled(page)


def settled(page: Page) -> None:
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")


def canvas(page: Page, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """What a canvas shows of the matrix, uint8 (high, wide, 4), and where that is."""
    at = page.evaluate(READ, name)
    pixels = np.frombuffer(base64.b64decode(at.pop("pixels")), dtype=np.uint8).reshape(int(at["high"]), -1, 4)
    assert pixels.shape[1] == at["wide"]
    return pixels, at


def picture(page: Page) -> tuple[np.ndarray, dict[str, Any]]:
    """uint8 (high, wide, 3) and where it is; no pixel of it lets anything through."""
    pixels, at = canvas(page, ".cells")
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3], at


def edges(first: float, pixels: int, zoom: float, end: int) -> np.ndarray:
    """Where the pixels of a side begin and end, in cells; at one cell a pixel and more, the cells of the side."""
    if zoom >= 1:
        return np.minimum(int(first) + np.arange(-(-pixels // int(zoom)) + 1), end)
    step = round(8 / zoom) / 8 if 1 / zoom < 8 else round(1 / zoom)
    return np.minimum(np.floor(first + step * np.arange(pixels + 1)).astype(int), end)


def counted(bound: mw.BoundMask, at: dict[str, Any], head: int) -> tuple[np.ndarray, np.ndarray]:
    """Allowed pairs and all pairs under each pixel, (high, wide)."""
    _, _, q_len, kv_len = bound.shape
    q = edges(at["q"], int(at["high"]), at["zoom"], q_len)
    k = edges(at["k"], int(at["wide"]), at["zoom"], kv_len)
    tiles = bound.tiles(q + bound.grid.q_start, k)
    counts = tiles[0, min(head, tiles.shape[1] - 1)]
    cells = np.diff(q)[:, None] * np.diff(k)
    size = max(1, int(at["zoom"]))
    wide, high = int(at["wide"]), int(at["high"])
    return tuple(part.repeat(size, 0).repeat(size, 1)[:high, :wide] for part in (counts, cells))  # type: ignore[return-value]


def rounded(values: np.ndarray) -> np.ndarray:
    """As JavaScript rounds: halves upwards."""
    return np.floor(values + 0.5).astype(np.uint8)


def ramp(counts: np.ndarray, cells: np.ndarray, colours: dict[str, Any]) -> np.ndarray:
    """What `ramp` of paint.js says of each pixel: uint8 (high, wide, 3)."""
    low, middle, high = (np.array(colour, dtype=float) for colour in colours["part"])
    at = (counts / cells * 2)[..., None]
    out = rounded(np.where(at < 1, low + (middle - low) * at, middle + (high - middle) * (at - 1)))
    out[counts == 0] = colours["none"]
    out[counts == cells] = colours["all"]
    return out


def four_way(kinds: dict[str, np.ndarray], cells: np.ndarray, colours: dict[str, Any]) -> np.ndarray:
    """What `fourWay` of paint.js says: the mixture of both, only left, only right and neither."""
    mixed = sum(counts[..., None] * np.array(colours[kind]) for kind, counts in kinds.items())
    return rounded(mixed / cells[..., None])


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    wrong = np.argwhere((found != wanted).any(-1))
    at = tuple(wrong[0]) if len(wrong) else ()
    assert not len(wrong), f"{len(wrong)} pixels differ; the first, {at}: {found[at]} is drawn, {wanted[at]} is right"


def views(rng: random.Random, n: int, zoom: float) -> list[str | None]:
    """The whole, a part of it, and single cells, from anywhere."""
    near = rng.choice([11, 23, 40])
    return [None, *(f"{rng.randrange(n)},{rng.randrange(n)},{pixels}" for pixels in (zoom, near))]


@pytest.mark.parametrize("seed", range(30))
def test_every_pixel_is_the_exact_density(page: Page, seed: int):
    rng = random.Random(seed)
    n, zoom = SIZES[seed % len(SIZES)]
    text = expression(rng, n)
    head = rng.randrange(2) if "per_head" in text else 0
    asked: dict[str, Any] = {"mask": text, "length": n, "theme": rng.choice(["light", "dark"]), "h": head}
    q_len = n
    if seed % 3 == 2:  # the queries are not all positions, nor the last
        q_len = rng.randrange(n // 2, n)
        asked |= {"q_len": q_len, "q_start": rng.randrange(n - q_len)}
    bound = mw.parse(text).bind(q_len, n, q_start=asked.get("q_start", 0))
    show(page, asked)
    colours = page.evaluate("async () => (await import('/matrix/paint.js')).palette()")
    zooms = set()
    for view in views(rng, n, zoom):
        show(page, asked | ({"view": view} if view else {}))
        found, at = picture(page)
        zooms.add(at["zoom"])
        same(found, ramp(*counted(bound, at, head), colours))
    assert len(zooms) == 3


@pytest.mark.parametrize("seed", range(6))
def test_every_pixel_of_two_masks_says_which_of_them_allow_it(page: Page, seed: int):
    rng = random.Random(100 + seed)
    n, zoom = SIZES[seed % len(SIZES)]
    this, other = (expression(rng, n, 2) for _ in range(2))
    asked = {"mask": this, "other": other, "length": n, "panel": "compare", "theme": ["light", "dark"][seed % 2]}
    masks = {"all": f"({this}) & ({other})", "left": f"({this}) - ({other})", "right": f"({other}) - ({this})"}
    bounds = {kind: mw.parse(text).bind(n) for kind, text in masks.items()}
    show(page, asked)
    colours = page.evaluate("async () => (await import('/matrix/paint.js')).palette()")
    for view in views(rng, n, zoom):
        show(page, asked | ({"view": view} if view else {}))
        found, at = picture(page)
        kinds = {kind: counted(bound, at, 0)[0] for kind, bound in bounds.items()}
        cells = counted(bounds["all"], at, 0)[1]
        kinds["none"] = cells - kinds["all"] - kinds["left"] - kinds["right"]
        same(found, four_way(kinds, cells, colours))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("n", "view"), [(60, None), (700, "150,40,3"), (5000, None)])
def test_what_only_one_mask_allows_has_a_pattern_of_its_own(page: Page, theme: str, n: int, view: str | None):
    this, other = f"causal & sliding_window({n // 6})", f"causal & chunked({n // 3})"
    asked = {"mask": this, "other": other, "length": n, "panel": "compare", "theme": theme} | (
        {"view": view} if view else {}
    )
    show(page, asked)
    drawn, at = canvas(page, ".over")
    colours = page.evaluate("async () => (await import('/matrix/paint.js')).palette()")
    counts = {
        kind: counted(mw.parse(text).bind(n), at, 0)[0]
        for kind, text in {"stripe": f"({this}) - ({other})", "dot": f"({other}) - ({this})"}.items()
    }
    for kind, found in counts.items():
        of_kind = (drawn[..., 3] > 200) & (np.abs(drawn[..., :3].astype(int) - colours[kind]) <= 2).all(-1)
        assert of_kind[found > 0].mean() > 0.05  # lines between cells lie over some of it
        assert not of_kind[found == 0].any()
    alone = sum(counts.values()) > 0
    step = max(1, int(at["zoom"]))
    if step < 8:  # there are no lines between cells
        assert not drawn[..., 3][~alone].any()
