"""The `BlockMask` from spans is the one that torch finds by asking about every cell."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask

import maskwork as mw
from helpers.strategies import BATCH, HEADS, Case, cases, grids
from maskwork.errors import ArgumentError, CannotExpress
from maskwork.lower import to_block_mask

PAIRS = (
    ("kv_num_blocks", "kv_indices"),
    ("full_kv_num_blocks", "full_kv_indices"),
    ("q_num_blocks", "q_indices"),
    ("full_q_num_blocks", "full_q_indices"),
)


def index_sets(block_mask: BlockMask, shape: tuple[int, int]) -> Iterator[tuple[str, np.ndarray, list[list[int]]]]:
    """Per index table, how many blocks each row has and which, with batch and heads broadcast to `shape`."""
    for number, index in PAIRS:
        sizes, columns = getattr(block_mask, number), getattr(block_mask, index)
        assert sizes.dtype == columns.dtype == torch.int32
        sizes = sizes.expand(*shape, -1).reshape(-1)
        columns = columns.expand(*shape, -1, -1).reshape(-1, columns.shape[-1])
        yield number, sizes.numpy(), [row[:n].tolist() for row, n in zip(columns, sizes, strict=True)]


def assert_same_blocks(bound: mw.BoundMask, block_size: int) -> None:
    ours = to_block_mask(bound, block_size)
    dense = torch.from_numpy(bound.dense())
    batch, heads, q_len, kv_len = dense.shape
    theirs = create_block_mask(
        lambda b, h, q, k: dense[b, h, q, k], batch, heads, q_len, kv_len, "cpu", BLOCK_SIZE=block_size
    )
    assert ours.shape == theirs.shape
    assert ours.BLOCK_SIZE == theirs.BLOCK_SIZE
    for (name, sizes, rows), (_, their_sizes, their_rows) in zip(
        index_sets(ours, (batch, heads)), index_sets(theirs, (batch, heads)), strict=True
    ):
        assert np.array_equal(sizes, their_sizes), name
        assert rows == their_rows, name


@settings(max_examples=60, deadline=None)
@given(cases, grids(), st.sampled_from([1, 2, 3, 4, 5, 16]))
def test_the_blocks_are_torchs(case: Case, grid: tuple[int, int, int], block_size: int):
    q_start, q_len, kv_len = grid
    if q_len and kv_len:
        assert_same_blocks(case.mask.bind(q_len, kv_len, q_start=q_start), block_size)


@settings(max_examples=60, deadline=None)
@given(cases, grids())
def test_the_mask_mod_is_the_mask(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    if q_len and kv_len:
        mask_mod = to_block_mask(bound, 4).mask_mod
        asked = create_mask(mask_mod, BATCH, HEADS, q_len, kv_len, "cpu")
        assert np.array_equal(asked.numpy(), np.broadcast_to(bound.dense(), asked.shape))


@pytest.mark.parametrize("block_size", [16, 64, 128])
@pytest.mark.parametrize(
    "text",
    [
        "causal & (sliding_window(70) | sinks(4))",
        "within(causal & sliding_window(90), [100, 1, 250, 20])",
        "document([130, 41, 200]) - sinks(3)",
        "full",
        "empty",
        "padding([300, 371])",
    ],
)
def test_long_enough_for_full_blocks(text: str, block_size: int):
    assert_same_blocks(mw.parse(text).bind(371), block_size)


@pytest.mark.parametrize("lengths", [(200, 371, 171), (371, 200, 0), (1, 371, 370)])
def test_more_keys_than_queries_and_the_reverse(lengths: tuple[int, int, int]):
    q_len, kv_len, q_start = lengths
    assert_same_blocks((mw.causal() & mw.sliding_window(150)).bind(q_len, kv_len, q_start=q_start), 64)


def test_shapes_repeat_from_mask_to_mask():
    masks = ["causal", "full", "empty", "causal & sliding_window(100)", "document([900, 1148])"]
    shapes = {
        tuple(getattr(to_block_mask(mw.parse(text).bind(2048)), name).shape for pair in PAIRS for name in pair)
        for text in masks
    }
    assert len(shapes) == 1


def test_wide_tables_are_padded_to_a_power_of_two():
    block_mask = to_block_mask(mw.causal().bind(1600), block_size=16)
    assert block_mask.kv_indices.shape == (1, 1, 100, 128)
    assert block_mask.q_indices.shape == block_mask.full_q_indices.shape == (1, 1, 100, 128)
    window = to_block_mask((mw.causal() & mw.sliding_window(40)).bind(1600), block_size=16)
    assert window.q_indices.shape == (1, 1, 100, 64)


def test_too_many_runs_say_how_many(monkeypatch: pytest.MonkeyPatch):
    from maskwork.lower import _block_mask

    monkeypatch.setattr(_block_mask, "MAX_TABLE", 100)
    with pytest.raises(CannotExpress, match=r"with 3 runs a row \(padded to 4\) x 30 rows"):
        to_block_mask((mw.causal() - (mw.prefix(9) - mw.prefix(8)) - (mw.prefix(5) - mw.prefix(4))).bind(30))
    with pytest.raises(ArgumentError, match="at least 1, got 0"):
        to_block_mask(mw.causal().bind(3), block_size=0)


def test_memoised():
    bound = mw.causal().bind(300)
    assert to_block_mask(bound) is to_block_mask(bound, 128, "cpu")
    assert to_block_mask(bound, 64) is not to_block_mask(bound)
