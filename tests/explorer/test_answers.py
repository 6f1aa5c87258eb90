"""Every answer is what the mask's own methods say, for random masks on random grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, HEADS, Case, cases, grids
from maskwork.errors import MaskworkError
from maskwork.explorer._answers.mask import ANSWERS
from maskwork.masks import BoundMask

few = settings(max_examples=40)

#: A case on a grid, as a request and as the dense array (B, H, Q, K) that its definition gives.
Asked = tuple[dict[str, str], BoundMask, np.ndarray]


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    case: Case = draw(cases)
    q_start, q_len, kv_len = draw(grids())
    assume(q_len and kv_len)
    text = case.mask.to_text(arrays="full")
    parameters = {
        "mask": text, "q_len": str(q_len), "kv_len": str(kv_len), "q_start": str(q_start), "batch": str(BATCH),
        "heads": str(HEADS), "b": str(draw(st.integers(0, BATCH - 1))), "h": str(draw(st.integers(0, HEADS - 1))),
    }  # fmt: skip
    bound = mw.parse(text).bind(q_len, kv_len, q_start=q_start, batch=BATCH, heads=HEADS)
    return parameters, bound, np.broadcast_to(case.dense(q_start, q_len, kv_len), (BATCH, HEADS, q_len, kv_len))


def ask(question: str, parameters: dict[str, str], **more: Any) -> Any:
    return ANSWERS[question](parameters | {name: str(value) for name, value in more.items()})


def counts(tile: bytes, *shape: int) -> np.ndarray:
    """A tile's counts, whose type its length tells."""
    kind = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<f8"}[len(tile) // np.prod(shape)]
    return np.frombuffer(tile, kind).reshape(shape).astype(float)


def plane_of(parameters: dict[str, str], dense: np.ndarray) -> np.ndarray:
    return dense[int(parameters["b"]), int(parameters["h"])]


@few
@given(asked())
def test_a_mask_is_described_by_exact_counts(case: Asked):
    parameters, bound, dense = case
    found = ask("describe", parameters)
    assert found["text"] == repr(bound.mask)
    assert found["allowed"] * dense.size == int(dense.sum()) * found["cells"]
    assert found["shape"] == list(bound.shape)
    # Planes that do not differ are counted once, as the mask itself counts them.
    assert found["allowed"] == bound.allowed
    assert found["empty_rows"] == int(bound.empty_rows().sum())


@few
@given(asked(), st.data())
def test_a_tile_holds_dense_counts_whatever_its_step_and_corner(case: Asked, data: st.DataObject):
    parameters, _, dense = case
    step, shrink, rows, columns = (data.draw(st.integers(1, high)) for high in (16, 8, 7, 7))
    q0, k0 = (data.draw(st.integers(0, 20)) for _ in range(2))
    tile = ask("tile", parameters, step=step, shrink=shrink, rows=rows, columns=columns, q0=q0, k0=k0)
    found = counts(tile, rows, columns)
    cells = plane_of(parameters, dense)
    for i in range(rows):
        for j in range(columns):
            (top, bottom), (left, right) = (
                (first + at * step // shrink, first + (at + 1) * step // shrink) for first, at in ((q0, i), (k0, j))
            )
            assert found[i, j] == cells[top:bottom, left:right].sum()


@few
@given(asked(), cases, st.integers(1, 9))
def test_a_tile_of_two_masks_counts_what_both_and_what_one_alone_allow(case: Asked, other: Case, step: int):
    parameters, bound, left = case
    grid = bound.grid
    right = np.broadcast_to(other.dense(grid.q_start, grid.q_len, grid.kv_len), left.shape)
    tile = ask("tile", parameters, other=other.mask.to_text(arrays="full"), step=step, rows=4, columns=5)
    for plane, cells in zip(counts(tile, 3, 4, 5), (left & right, left & ~right, right & ~left), strict=True):
        cells = plane_of(parameters, cells)
        for i, j in np.ndindex(4, 5):
            assert plane[i, j] == cells[i * step : (i + 1) * step, j * step : (j + 1) * step].sum()


@pytest.mark.parametrize(("mask", "other"), [("causal", "per_head([full, sliding_window(2)])"),
                                             ("per_row([empty, causal])", "per_head([full, sliding_window(2)])"),
                                             ("per_head([full, sliding_window(2)])", "causal")])  # fmt: skip
def test_two_masks_may_differ_along_other_axes(mask: str, other: str):
    planes = [mw.parse(text).bind(6).dense() for text in (mask, other)]
    left, right = (plane[min(1, len(plane) - 1), min(1, plane.shape[1] - 1)] for plane in planes)
    found = ask("tile", {"mask": mask, "other": other, "length": "6", "b": "1", "h": "1"}, rows=6, columns=6)
    expected = np.stack([left & right, left & ~right, right & ~left])
    assert np.array_equal(counts(found, 3, 6, 6), expected)


def test_two_masks_are_laid_over_each_other_through_layers_too():
    texts, grid = ("causal & sliding_window(2)", "per_head([band(0, 1), sinks(1)])"), {"length": "9", "layers": "3"}
    left, right = (mw.parse(text).bind(9).reach(3).dense()[0, 0] for text in texts)
    parameters = {"mask": texts[0], "other": texts[1], **grid}
    found = counts(ask("tile", parameters, rows=9, columns=9), 3, 9, 9)
    assert np.array_equal(found, np.stack([left & right, left & ~right, right & ~left]))
    compared = ask("compare", parameters)
    assert [compared[name] for name in ("both", "only_left", "only_right")] == found.sum((1, 2)).tolist()


def test_two_of_the_longest_texts_are_joined():
    mask, other = (" | ".join([f"sliding_window({window})"] * 700) for window in (3, 4))
    assert len(mask) + len(other) > 16_000 > max(len(mask), len(other))
    found = ask("tile", {"mask": mask, "other": other, "length": "8"}, step=8, rows=1, columns=1)
    assert counts(found, 3).tolist() == [21, 0, 5]


@pytest.mark.parametrize(("length", "size"), [(15, 1), (16, 2), (255, 2), (256, 4), (1 << 16, 8)])
def test_counts_come_in_the_smallest_type_that_holds_them(length: int, size: int):
    tile = ask("tile", {"mask": "full", "length": str(length)}, step=length, rows=1, columns=2)
    assert len(tile) == 2 * size
    assert counts(tile, 2).tolist() == [length**2, 0]


@pytest.mark.parametrize(
    ("question", "more"), [("tile", {}), ("why", {"q": 3, "k": 1}), ("row", {"q": 3}), ("column", {"k": 1}),
                           ("cells", {}), ("svg", {}), ("path", {"q": 3, "k": 1})],
)  # fmt: skip
@pytest.mark.parametrize(
    "parameters", [{"mask": "causal"}, {"mask": "per_head([causal, full])", "layers": "2", "heads": "2"}]
)
def test_where_nothing_differs_any_batch_row_and_head_will_do(
    question: str, more: dict[str, int], parameters: dict[str, str]
):
    parameters = {**parameters, "length": "6"}
    assert ask(question, parameters, b=7, h=1, **more) == ask(question, parameters, **more)


@few
@given(asked(), st.data())
def test_a_cell_is_explained_as_the_mask_explains_it(case: Asked, data: st.DataObject):
    parameters, bound, dense = case
    q, k = data.draw(st.integers(0, dense.shape[2] - 1)), data.draw(st.integers(0, dense.shape[3] - 1))
    q_start = bound.grid.q_start
    found = ask("why", parameters, q=q + q_start, k=k)
    expected = bound.explain(q + q_start, k, int(parameters["b"]), int(parameters["h"]))
    assert found["allowed"] == found["why"]["allowed"] == plane_of(parameters, dense)[q, k]
    assert found["text"] == str(expected)
    assert found["why"]["reason"] == expected.reason
    assert len(found["why"]["children"]) == len(expected.children)


@few
@given(asked(), st.data())
def test_a_row_and_a_column_are_those_of_the_dense_matrix(case: Asked, data: st.DataObject):
    parameters, bound, dense = case
    cells, q_start = plane_of(parameters, dense), bound.grid.q_start
    q, k = data.draw(st.integers(0, len(cells) - 1)), data.draw(st.integers(0, cells.shape[1] - 1))
    row = ask("row", parameters, q=q + q_start)
    seen = [key for start, end in row["runs"] for key in range(start, end)]
    assert seen == np.flatnonzero(cells[q]).tolist()
    assert row["count"] == len(seen)
    assert row["more"] == 0
    who = np.flatnonzero(cells[:, k])
    assert ask("column", parameters, k=k) == {"last_seen": int(who[-1]) + q_start if len(who) else -1}


@few
@given(asked())
def test_cells_are_the_dense_matrix_written_out(case: Asked):
    parameters, bound, dense = case
    found, cells = ask("cells", parameters), plane_of(parameters, dense)
    assert [[int(cell) for cell in line] for line in found["rows"]] == cells.astype(int).tolist()
    assert found["q_start"] == bound.grid.q_start
    assert len(found["last_seen"]) == cells.shape[1]


@few
@given(asked(), cases)
def test_two_masks_are_compared_cell_for_cell(case: Asked, other: Case):
    parameters, bound, left = case
    grid = bound.grid
    right = np.broadcast_to(other.dense(grid.q_start, grid.q_len, grid.kv_len), left.shape)
    found = ask("compare", parameters, other=other.mask.to_text(arrays="full"))
    counts = [found["both"], found["only_left"], found["only_right"], found["neither"]]
    expected = [(left & right).sum(), (left & ~right).sum(), (~left & right).sum(), (~left & ~right).sum()]
    # Planes that differ in neither mask may be counted once: all four in one proportion.
    assert [count * left.size for count in counts] == [int(n) * sum(counts) for n in expected]
    for places, where in ((found["first_left"], left & ~right), (found["first_right"], ~left & right)):
        assert bool(places) == bool(where.any())
        for b, h, q, k in places:
            assert where[b, h, q - grid.q_start, k]


@pytest.mark.parametrize(
    "text", ["causal & (sliding_window(5) | sinks(2))", "per_head([causal, full, full, causal])", "empty"]
)
def test_costs_are_those_of_the_mask(text: str):
    found = ask("cost", {"mask": text, "length": "200"}, model_layers=3, query_heads=4, kv_heads=2, head_dim=8,
                dtype="float16", block_size=16)  # fmt: skip
    bound = mw.parse(text).bind(200)
    cost = bound.cost(3, 4, 2, 8, "float16", 16)
    for name in ("flops", "block_flops", "dense_flops", "block_waste", "bytes_moved", "intensity", "cache_bytes"):
        assert found[name] == getattr(cost, name)
    for entry in found["waste"]:
        edge = entry["block_size"]
        computed = bound.blocks(edge).cells
        assert entry["waste"] == (1 - bound.allowed / computed if computed else 0)
    sizes = {entry["name"].split()[0]: entry["bytes"] for entry in found["storage"]}
    dense = bound.dense()
    assert sizes["dense"] == dense.nbytes
    assert sizes["additive"] == 2 * dense.size
    starts, ends = bound.spans.starts, bound.spans.ends
    planes = dense.shape[0] * dense.shape[1]
    assert sizes["spans"] == 2 * 4 * planes * 200 * bound.spans.runs >= (starts.nbytes + ends.nbytes) / 2


@given(st.sampled_from(["sliding_window(3)", "causal & chunked(4)", "dilated(1, 2)"]), st.integers(1, 5))
def test_layers_show_the_reach(text: str, layers: int):
    found = ask("cells", {"mask": text, "length": "12", "layers": str(layers)})
    expected = mw.parse(text).bind(12).reach(layers).dense()[0, 0]
    assert found["rows"] == ["".join("01"[cell] for cell in row) for row in expected.tolist()]


def test_a_path_is_of_the_asked_row_and_layers():
    parameters = {"mask": "per_row([causal, sliding_window(2)])", "length": "4", "layers": "3"}
    assert ask("path", parameters, q=3, k=0, b=0)["path"] == [3, 0]
    assert ask("path", parameters, q=3, k=0, b=1)["path"] == [3, 2, 1, 0]
    assert ask("path", parameters | {"layers": "2"}, q=3, k=0, b=1)["path"] is None


def test_queries_beyond_the_keys_have_paths_where_rows_say_so():
    grid = {"mask": "causal & (sliding_window(3) | sinks(1))", "q_len": "6", "kv_len": "8", "q_start": "6"}
    for layers in (1, 2, 3):
        for q in range(6, 12):
            row = ask("row", grid, q=q, layers=layers)["runs"]
            reached = {key for start, end in row for key in range(start, end)}
            for k in range(8):
                found = ask("path", grid, q=q, k=k, layers=layers)["path"]
                assert (found is not None) == (k in reached)


def test_queries_stand_as_far_along_as_a_grid_may_say():
    last = {"mask": "band(None, 0) & ~sinks(1048575)", "length": "1048576", "q_start": "1048576"}
    assert ask("row", last, q=2097151)["runs"] == [(1048575, 1048576)]
    assert ask("why", last, q=2097151, k=1048575)["allowed"]


def test_a_drawing_is_the_masks_own():
    assert ask("svg", {"mask": "causal", "length": "20"}, size=256)["svg"] == mw.causal().bind(20).svg(size=256)


@pytest.mark.parametrize(
    ("question", "parameters", "said"),
    [
        ("describe", {}, "names its mask in mask"),
        ("describe", {"mask": "  "}, "names its mask in mask"),
        ("describe", {"mask": "causl"}, "did you mean 'causal'"),
        ("describe", {"mask": "causal", "length": "0"}, "length is a number from 1 to 1048576"),
        ("describe", {"mask": "causal", "length": "1048577"}, "got '1048577'"),
        ("describe", {"mask": "causal", "length": "9" * 10_000}, "length is a number"),
        ("describe", {"mask": "causal", "length": "1_000"}, "got '1_000'"),
        ("describe", {"mask": "causal", "length": "٣"}, "length is a number"),
        ("describe", {"mask": "causal", "length": "²"}, "length is a number"),
        ("describe", {"mask": "causal", "length": " 7 "}, "length is a number"),
        ("describe", {"mask": "causal", "length": "1e3"}, "length is a number"),
        ("describe", {"mask": "causal", "q_start": "-1"}, "q_start is a number"),
        ("describe", {"mask": "document([3, 4])", "length": "8"}, "reach 7"),
        ("describe", {"mask": "causal" + " & causal" * 2000}, "16000 characters"),
        ("describe", {"mask": "(" * 5000 + "causal"}, "nested"),
        ("tile", {"mask": "causal", "rows": "513"}, "rows is a number from 1 to 512"),
        ("tile", {"mask": "causal", "step": "0"}, "step is a number"),
        ("tile", {"mask": "causal", "b": "256"}, "b is a number from 0 to 255"),
        ("tile", {"mask": "per_head([causal, full])", "h": "2"}, "2 heads, got batch row 0 and head 2"),
        ("tile", {"mask": "causal", "heads": "2", "h": "2"}, "2 heads, got batch row 0 and head 2"),
        ("tile", {"mask": "causal", "other": "per_row([causal, full])", "b": "2"}, "2 batch rows"),
        ("tile", {"mask": "per_head([causal, full])", "other": "per_head([full, full, causal])"}, "heads"),
        ("tile", {"mask": "causal", "other": "causl"}, "did you mean 'causal'"),
        ("why", {"mask": "causal"}, "q is a number"),
        ("why", {"mask": "causal", "q": "64", "k": "0"}, "64"),
        ("row", {"mask": "causal", "q": "64"}, r"\[0, 64\)"),
        ("column", {"mask": "causal", "k": "64"}, r"\[0, 64\)"),
        ("cells", {"mask": "causal", "length": "257"}, "at most 256 positions"),
        ("compare", {"mask": "causal"}, "in other"),
        ("compare", {"mask": "causal", "other": "per_head([causal, full])", "heads": "3"}, "3"),
        ("code", {"mask": "causal", "to": "jax"}, "maskwork, flex, sdpa, hf"),
        ("code", {"mask": "causal", "layers": "2"}, "leave layers at 0"),
        ("cost", {"mask": "causal", "dtype": "int3"}, "dtype"),
        ("path", {"mask": "causal", "q": "3", "k": "64"}, r"\[0, 64\)"),
        ("svg", {"mask": "causal", "size": "1"}, "size is a number"),
    ],
)
def test_what_breaks_a_rule_is_said_in_one_line_with_a_fix(question: str, parameters: dict[str, str], said: str):
    with pytest.raises(MaskworkError, match=said) as caught:
        ANSWERS[question](parameters)
    first, *caret = str(caught.value).splitlines()
    assert len(caret) in (0, 2)
    assert len(first) < 400


def test_the_picture_to_take_away_is_the_masks_drawing() -> None:
    asked = {"mask": "causal", "length": "12", "size": "100"}
    assert ANSWERS["svg"](asked) == {"svg": mw.causal().bind(12).svg(size=100)}
    with pytest.raises(mw.errors.ArgumentError, match="size is a number from 64 to 4096, got '9999'"):
        ANSWERS["svg"]({**asked, "size": "9999"})
