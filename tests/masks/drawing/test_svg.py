"""SVG drawings tell the truth: exact at any length, well formed, labels in their place."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import maskwork as mw

SVG = "{http://www.w3.org/2000/svg}"


def test_svg_is_well_formed_and_has_a_title():
    for mask in (mw.within(mw.causal(), [300, 700]), mw.empty(), mw.full(), mw.padding([3, 1000])):
        root = ElementTree.fromstring(mask.bind(1000).svg())
        title = root.find(SVG + "title")
        assert title is not None
        assert repr(mask) in str(title.text)
    assert "url(#mw-" in mw.causal().bind(1000).svg(), "tiles allowed in part are patterned, not only coloured"
    assert "<style" not in mw.causal().bind(1000).svg(), "a style would leak into a notebook's page"


@pytest.mark.parametrize("grid", [(1, 1, 0), (5, 5, 0), (24, 24, 0), (33, 33, 0), (1, 90, 89), (96, 4, 0), (7, 60, 53)])
def test_svg_is_exact_cell_by_cell(grid: tuple[int, int, int]):
    q_len, kv_len, q_start = grid
    bound = (mw.causal() & (mw.sliding_window(8) | mw.sinks(2))).bind(q_len, kv_len, q_start=q_start)
    root = ElementTree.fromstring(bound.svg(labels=False))
    width, height = (float(root.attrib[side]) - 2 for side in ("width", "height"))
    painted = np.zeros((q_len, kv_len), dtype=bool)
    for path in root.iter(SVG + "path"):
        if path.attrib.get("fill") != "#1d4e89":
            continue
        for x0, y0, x1, y1 in re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H[\d.]+z", path.attrib["d"]):
            top, bottom = (round(float(y) * q_len / height) for y in (y0, y1))
            left, right = (round(float(x) * kv_len / width) for x in (x0, x1))
            painted[top:bottom, left:right] = True
    assert (painted == bound.dense()[0, 0]).all()


def test_svg_positions_are_round_and_in_their_place():
    root = ElementTree.fromstring(mw.causal().bind(1000).svg())
    keys = {t.text: float(t.attrib["x"]) for t in root.iter(SVG + "text") if t.attrib.get("text-anchor") == "middle"}
    assert list(keys) == ["0", "200", "400", "600", "800"]
    assert keys["800"] - keys["0"] == pytest.approx(0.8 * 384)
    late = ElementTree.fromstring(mw.causal().bind(300, 1000, q_start=650).svg())
    queries = [t.text for t in late.iter(SVG + "text") if t.attrib.get("text-anchor") == "end" and t.text[0].isdigit()]
    assert queries == ["650", "700", "750", "800", "850", "900"]


@pytest.mark.parametrize("length", [1, 5, 24, 100, 4096, 10**6, 2 * 10**9])
def test_svg_labels_stay_apart_and_inside(length: int):
    bound = (mw.causal() & mw.sliding_window(8)).bind(3, length + 3, q_start=length) if length > 10**6 else None
    bound = bound or (mw.causal() & mw.sliding_window(8)).bind(length)
    root = ElementTree.fromstring(bound.svg())
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    boxes = []
    for text in root.iter(SVG + "text"):
        if "transform" in text.attrib:
            continue
        wide = len(str(text.text)) * 7.0 * (1.05 if "font-weight" in text.attrib else 1)
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        left = x - wide * {"middle": 0.5, "end": 1.0}.get(text.attrib.get("text-anchor", ""), 0.0)
        assert left >= 0, text.text
        assert left + wide <= width + 1, text.text
        assert 12 <= y <= height - 4
        boxes.append((left, y - 9, left + wide, y + 2))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)


def test_an_svg_stays_small():
    assert len((mw.causal() & mw.sliding_window(100)).bind(10**6).svg()) < 16_000
    assert len(mw.within(mw.causal(), [9, 15]).bind(24).svg(size=144, labels=False)) < 2_000
