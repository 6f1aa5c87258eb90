"""The `BlockMask` from spans is the one that torch finds by asking about every cell."""

from typing import Any, cast

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
FIELDS = [name for pair in PAIRS for name in pair]


def torchs(bound: mw.BoundMask, block_size: int | tuple[int, int]) -> BlockMask:
    """Torch's own block mask of the same cells."""
    dense = torch.from_numpy(bound.dense())
    return create_block_mask(
        lambda b, h, q, k: dense[b, h, q, k], *dense.shape, device="cpu", BLOCK_SIZE=cast(Any, block_size)
    )


def assert_same_fields(ours: BlockMask, theirs: BlockMask) -> None:
    """Assert that every tensor is torch's, slot for slot, and so what torch says of it."""
    for name in FIELDS:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert mine.dtype == other.dtype == torch.int32, name
        assert torch.equal(mine, other), name
    assert (ours.shape, ours.BLOCK_SIZE, ours.seq_lengths) == (theirs.shape, theirs.BLOCK_SIZE, theirs.seq_lengths)
    assert ours.numel() == theirs.numel()
    assert ours.sparsity() == theirs.sparsity()
    assert torch.equal(ours.to_dense(), theirs.to_dense())
    assert ours.to_string() == theirs.to_string()


def assert_same_blocks(bound: mw.BoundMask, block_size: int | tuple[int, int]) -> None:
    assert_same_fields(to_block_mask(bound, block_size), torchs(bound, block_size))


@settings(max_examples=60, deadline=None)
@given(cases, grids(), st.sampled_from([1, 2, 3, 5, 16, (4, 2), (2, 4), (1, 16), (7, 3)]))
def test_the_blocks_are_torchs(case: Case, grid: tuple[int, int, int], block_size: int | tuple[int, int]):
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


@pytest.mark.parametrize("block_size", [16, 128, (64, 128), (128, 64), (256, 32), (48, 100)])
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
def test_long_enough_for_full_blocks(text: str, block_size: int | tuple[int, int]):
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


TEXTS = ["causal & (sliding_window(70) | sinks(4))", "document([130, 41, 200]) - sinks(3)", "padding([300, 371])"]


def cut(whole: BlockMask, q_len: int, kv_len: int) -> BlockMask:
    """The blocks of torch's block mask in the first rows and columns, laid by torch."""
    rows, columns = -(-q_len // whole.BLOCK_SIZE[0]), -(-kv_len // whole.BLOCK_SIZE[1])
    fields = []
    for number, index in PAIRS[:2]:
        sizes, table = getattr(whole, number)[..., :rows], getattr(whole, index)[..., :rows, :]
        blocks = [
            [c for c in row[:n].tolist() if c < columns]
            for row, n in zip(table.reshape(-1, table.shape[-1]), sizes.reshape(-1), strict=True)
        ]
        laid = [row + [c for c in range(columns) if c not in row] for row in blocks]
        fields += [
            torch.tensor([len(row) for row in blocks], dtype=torch.int32).reshape(sizes.shape),
            torch.tensor(laid, dtype=torch.int32).reshape(*sizes.shape, columns),
        ]
    return BlockMask.from_kv_blocks(*fields, BLOCK_SIZE=whole.BLOCK_SIZE, seq_lengths=(q_len, kv_len))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("lengths", [(371, 371), (256, 256), (100, 371), (371, 65), (1, 1)])
@pytest.mark.parametrize("block_size", [64, (128, 32)])
def test_cut_to_a_shorter_length(text: str, lengths: tuple[int, int], block_size: int | tuple[int, int]):
    bound = mw.parse(text).bind(371)
    ours = to_block_mask(bound, block_size)._adjust(*lengths)
    assert_same_fields(ours, cut(torchs(bound, block_size), *lengths))
    cells = create_mask(ours.mask_mod, *bound.shape[:2], *lengths, "cpu")
    assert np.array_equal(cells.numpy(), bound.dense()[..., : lengths[0], : lengths[1]])
    assert type(ours.to("meta")) is type(ours)  # the tables of its mask_mod are still beside it


@pytest.mark.parametrize("text", ["causal & (sliding_window(70) | sinks(4))", "causal & document([130, 41, 200])"])
@pytest.mark.parametrize("length", [371, 320, 256, 1])
def test_cut_as_torch_cuts(text: str, length: int):
    """Torch's `_adjust` is right where no row has a block beyond the new length; elsewhere it may raise."""
    bound = mw.parse(text).bind(371)
    for block_size in (64, (64, 32), (32, 64)):
        ours, theirs = (
            made._adjust(length, length) for made in (to_block_mask(bound, block_size), torchs(bound, block_size))
        )
        for number, index in PAIRS:
            sizes, table, other = getattr(ours, number), getattr(ours, index), getattr(theirs, index)
            assert torch.equal(sizes, getattr(theirs, number))
            used = torch.arange(table.shape[-1]) < sizes.unsqueeze(-1)
            assert torch.equal(table[used], other[used])  # an unused slot of torch's may hold a block that was cut off
        assert torch.equal(ours.to_dense(), theirs.to_dense())
        assert (ours.to_string(), ours.sparsity(), ours.shape) == (theirs.to_string(), theirs.sparsity(), theirs.shape)


def test_a_block_mask_does_not_grow():
    with pytest.raises(ArgumentError, match=r"at most its own lengths \(371, 371\), got \(371, 372\)"):
        to_block_mask(mw.causal().bind(371))._adjust(371, 372)


def test_slices_are_torchs():
    bound = mw.parse("padding([300, 371])").bind(371)
    ours, theirs = to_block_mask(bound, 64), torchs(bound, 64)
    for index in (1, (slice(0, 2), 0), (0, 0, torch.tensor([2, 5]))):
        assert_same_fields(ours[index], theirs[index])


@pytest.mark.parametrize("text", [*TEXTS, "empty", "full", "causal"])
def test_tables_too_large_to_be_wide_are_widened_on_use(text: str, monkeypatch: pytest.MonkeyPatch):
    from maskwork.lower import _block_mask

    monkeypatch.setattr(_block_mask, "MAX_WIDE_TABLE", 1)
    monkeypatch.setattr(_block_mask, "_LEAST_WIDTH", 2)
    bound = mw.parse(text).bind(371)
    ours, theirs = to_block_mask(bound, (16, 32)), torchs(bound, (16, 32))
    for number, index in PAIRS:
        sizes = getattr(ours, number)
        assert torch.equal(sizes, getattr(theirs, number))
        used = torch.arange(getattr(theirs, index).shape[-1]) < sizes.unsqueeze(-1)
        narrow = torch.zeros_like(getattr(theirs, index))
        width = min(narrow.shape[-1], getattr(ours, index).shape[-1])
        narrow[..., :width] = getattr(ours, index)[..., :width]
        assert torch.equal(narrow[used], getattr(theirs, index)[used])
    assert torch.equal(ours.to_dense(), theirs.to_dense())
    assert_same_fields(ours._adjust(300, 200), cut(theirs, 300, 200))
    assert_same_fields(ours[:, 0], theirs[:, 0])


def test_a_million_tokens_have_narrow_tables():
    block_mask = to_block_mask((mw.causal() & mw.sliding_window(40)).bind(1 << 19), device="meta")
    assert block_mask.kv_indices.shape == block_mask.q_indices.shape == (1, 1, 4096, 64)


def test_a_mask_that_ignores_the_query_has_one_row():
    real = np.random.default_rng(0).random((2, 3000)) < 0.9
    block_mask = to_block_mask(mw.real(real).bind(3000))
    starts, ends = block_mask.tables
    assert starts.shape == ends.shape == (2, 1, 1, 512)
    queries, keys = torch.arange(3000)[:, None], torch.arange(3000)[None]
    for b in range(2):
        cells = block_mask.mask_mod(torch.tensor(b), torch.tensor(0), queries, keys)
        assert np.array_equal(cells.numpy(), np.broadcast_to(real[b], (3000, 3000)))


def test_too_many_runs_say_how_many(monkeypatch: pytest.MonkeyPatch):
    from maskwork.lower import _block_mask

    monkeypatch.setattr(_block_mask, "MAX_TABLE", 100)
    with pytest.raises(CannotExpress, match=r"with 3 runs a row \(padded to 4\) x 30 rows"):
        to_block_mask((mw.causal() - (mw.prefix(9) - mw.prefix(8)) - (mw.prefix(5) - mw.prefix(4))).bind(30))
    with pytest.raises(ArgumentError, match="at least 1, got 0"):
        to_block_mask(mw.causal().bind(3), block_size=0)
    with pytest.raises(ArgumentError, match=r"one number or a pair \(q, kv\), got 3 numbers"):
        to_block_mask(mw.causal().bind(3), block_size=cast(Any, (1, 2, 3)))


def test_memoised():
    bound = mw.causal().bind(300)
    assert to_block_mask(bound) is to_block_mask(bound, 128, "cpu")
    assert to_block_mask(bound, 64) is not to_block_mask(bound)
