"""Exported code, executed: what it makes is the mask, cell for cell, for every pattern and every library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

import maskwork as mw
from maskwork.explorer._answers.gallery import PATTERNS, GalleryEntry
from maskwork.explorer._answers.mask import ANSWERS
from maskwork.explorer._answers.request import MaskRequest

#: The one pattern that is there for its length alone.
SHORT = [pattern for pattern in PATTERNS if pattern.length <= 512]


def executed(to: str, mask: str, **grid: int) -> dict[str, Any]:
    found = ANSWERS["code"]({"mask": mask, "to": to, **{name: str(size) for name, size in grid.items()}})
    assert isinstance(found, dict)
    space: dict[str, Any] = {}
    exec(compile(found["code"], f"<{to}>", "exec"), space)
    return space


def made(to: str, space: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    if to == "maskwork":
        return space["bound"].dense()
    if to == "flex":
        return create_mask(space["mask_mod"], *shape, device="cpu").numpy()
    if to == "sdpa":
        return space["mask"].numpy()
    added = space["attention_mask"]
    assert added.dtype == torch.float32
    assert set(added.unique().tolist()) <= {0.0, torch.finfo(torch.float32).min}
    return (added == 0).numpy()


def test_all_patterns_but_the_long_one_are_executed():
    assert [pattern.name for pattern in PATTERNS if pattern not in SHORT] == ["StreamingLLM, long"]


@pytest.mark.parametrize("to", ["maskwork", "flex", "sdpa", "hf"])
@pytest.mark.parametrize("pattern", SHORT, ids=lambda pattern: pattern.name)
def test_code_makes_the_mask(pattern: GalleryEntry, to: str):
    dense = mw.parse(pattern.mask).bind(pattern.length).dense()
    space = executed(to, pattern.mask, length=pattern.length)
    assert np.array_equal(np.broadcast_to(made(to, space, dense.shape), dense.shape), dense)


@pytest.mark.parametrize("to", ["maskwork", "flex", "sdpa", "hf"])
@pytest.mark.parametrize(
    "mask", ["causal & (sliding_window(3) | sinks(1))", "random_blocks(2, 2, 6, 1) | ~chunked(3)", "band(null, 2)"]
)
def test_code_knows_where_the_first_query_stands(mask: str, to: str):
    mask = mask.replace("null", "None")
    dense = mw.parse(mask).bind(4, 12, q_start=7).dense()
    space = executed(to, mask, q_len=4, kv_len=12, q_start=7)
    assert np.array_equal(made(to, space, dense.shape), dense)
    if to == "hf":
        assert space["position_ids"].tolist() == [[7, 8, 9, 10]]


@pytest.mark.parametrize("to", ["maskwork", "flex", "sdpa", "hf"])
def test_arrays_longer_than_a_repr_are_in_the_code(to: str):
    lengths = [3, 5] * 20
    dense = (mw.causal() & mw.document(lengths)).bind(160).dense()
    space = executed(to, f"causal & document({lengths})", length=160)
    assert np.array_equal(made(to, space, dense.shape), dense)


@pytest.mark.parametrize("to", ["maskwork", "flex", "sdpa", "hf"])
@pytest.mark.parametrize(
    ("mask", "grid"),
    [
        ("document([5, 7, 4])", {"length": 10}),
        ("document([5, 7, 4])", {"length": 16}),
        ("per_head([causal, document([5, 7, 4])])", {"length": 10}),
        ("causal", {"length": 10, "batch": 3, "heads": 2}),
        ("causal", {"q_len": 3, "kv_len": 10}),
        ("causal", {"q_len": 10, "kv_len": 3}),
        ("causal", {"length": 10, "q_start": 2}),
    ],
)
def test_code_is_of_the_grid_that_is_shown(mask: str, grid: dict[str, int], to: str):
    asked = MaskRequest.read({"mask": mask, **{name: str(size) for name, size in grid.items()}})
    shown = mw.parse(mask).bind(
        asked.q_len, asked.kv_len, q_start=asked.q_start, batch=asked.batch, heads=asked.heads
    )  # fmt: skip
    space = executed(to, mask, **grid)
    dense = shown.dense()
    assert np.array_equal(np.broadcast_to(made(to, space, dense.shape), dense.shape), dense)
    if to == "maskwork":
        assert space["bound"].grid == shown.grid


def test_code_says_no_more_of_the_grid_than_it_needs():
    assert "mask.bind(16)\n" in ANSWERS["code"]({"mask": "document([5, 7, 4])", "length": "16"})["code"]
    assert "mask.bind(10, 10, q_start=0)\n" in ANSWERS["code"]({"mask": "document([5, 7, 4])", "length": "10"})["code"]


def test_code_is_of_masks_that_the_grid_takes():
    with pytest.raises(mw.errors.GridError, match="reach 7"):
        ANSWERS["code"]({"mask": "document([3, 4])", "length": "8"})
