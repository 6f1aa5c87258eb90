"""Every lowering is the mask wherever its queries start: before position 0, and at one position for each batch row."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask, create_mask

import maskwork as mw
from helpers.strategies import BATCH, Case, atoms, once_shifted, ragged_grids
from helpers.strategies_sparse import sparse_atoms
from lower.test_varlen import cells, packed
from maskwork.errors import CannotExpress, MaskError
from maskwork.lower import to_additive, to_block_mask, to_code, to_dense, to_hf, to_sdpa, to_varlen

#: (q_start, q_len, kv_len)
RaggedGrid = tuple[int | list[int], int, int]

starting_cases = st.one_of(once_shifted(atoms()), once_shifted(st.one_of(sparse_atoms, atoms())))


@settings(max_examples=150, deadline=None)
@given(starting_cases, ragged_grids())
def test_dense_forms_are_the_mask(case: Case, grid: RaggedGrid):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    dense = case.dense(*grid)
    arguments = to_sdpa(bound)
    # SDPA's own triangle is aligned at the start
    triangle = torch.ones(q_len, kv_len, dtype=torch.bool).tril(0 if arguments["is_causal"] else kv_len)
    of_sdpa = triangle if arguments["attn_mask"] is None else arguments["attn_mask"]
    for form in (to_dense(bound), to_additive(bound) == 0, to_hf(bound).allowed, of_sdpa):
        assert np.array_equal(*np.broadcast_arrays(form.numpy(), dense))


@settings(max_examples=100, deadline=None)
@given(starting_cases, ragged_grids(least_queries=1), st.sampled_from([1, 3, 4, 16]))
def test_functions_of_flex_attention_and_transformers_are_the_mask(case: Case, grid: RaggedGrid, block_size: int):
    q_start, q_len, kv_len = grid
    if not kv_len:
        return
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    batch, heads = bound.grid.batch, bound.grid.heads
    dense = np.broadcast_to(case.dense(*grid), (batch, heads, q_len, kv_len))
    ours = to_block_mask(bound, block_size)
    assert np.array_equal(create_mask(ours.mask_mod, batch, heads, q_len, kv_len, "cpu").numpy(), dense)
    table = torch.from_numpy(dense.copy())
    theirs = create_block_mask(
        lambda b, h, q, k: table[b, h, q, k], batch, heads, q_len, kv_len, "cpu", BLOCK_SIZE=block_size
    )
    blocks = theirs.to_dense()
    assert torch.equal(*torch.broadcast_tensors(ours.to_dense()[..., : blocks.shape[-1]], blocks))
    if bound.shape[1] == 1:
        starts = torch.tensor(bound.grid.starts).view(-1, 1, 1, 1)
        b, h, q, k = (torch.from_numpy(index) for index in np.ogrid[:batch, :1, :q_len, :kv_len])
        assert np.array_equal(to_hf(bound).mask_function(b, h, starts + q, k).numpy(), dense[:, :1])


@settings(max_examples=200, deadline=None)
@given(st.one_of(atoms(), starting_cases), ragged_grids())
def test_variable_lengths_mean_the_mask_or_are_refused(case: Case, grid: RaggedGrid):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    try:
        arguments = to_varlen(bound)
    except CannotExpress:
        return
    assert np.array_equal(cells(arguments), packed(bound))


def test_sequences_of_unlike_length_are_variable_lengths():
    # flash-attention's `cache_seqlens`: two new queries in sequences of 2 and 4 keys
    bound = (mw.causal() & mw.padding([2, 4])).bind(2, 4, q_start=[0, 2])
    arguments = to_varlen(bound)
    assert arguments["causal"]
    assert np.array_equal(cells(arguments), packed(bound))
    assert bound.dense().astype(int)[:, 0].tolist() == [[[1, 0, 0, 0], [1, 1, 0, 0]], [[1, 1, 1, 0], [1, 1, 1, 1]]]


def made(library: str, space: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    if library == "maskwork":
        return space["bound"].dense()
    if library == "flex":
        return create_mask(space["mask_mod"], *shape, device="cpu").numpy()
    return (space["attention_mask"] == 0 if library == "hf" else space["mask"]).numpy()


@settings(max_examples=60, deadline=None)
@given(starting_cases, ragged_grids(least_queries=1), st.sampled_from(mw.lower.CODE_LIBRARIES))
def test_code_makes_the_mask(case: Case, grid: RaggedGrid, library: str):
    q_start, q_len, kv_len = grid
    if not kv_len:
        return
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    try:
        code = to_code(bound, library)
    except MaskError:  # no text carries a function
        return
    space: dict[str, Any] = {}
    exec(compile(code, f"<{library}>", "exec"), space)
    shape = (bound.grid.batch, bound.grid.heads, q_len, kv_len)
    assert np.array_equal(*np.broadcast_arrays(made(library, space, shape), case.dense(*grid)))
    if library == "maskwork":
        assert space["bound"].grid == bound.grid
    if library == "hf":
        assert np.array_equal(space["position_ids"].numpy(), bound.q_positions)


@pytest.mark.parametrize("library", mw.lower.CODE_LIBRARIES)
@pytest.mark.parametrize("q_start", [-3, [-3, 0, 2], [3, 3, 4]])
def test_code_of_numbers_and_of_tables_knows_the_starts(library: str, q_start: Any):
    mask = (mw.causal() & mw.band(3, 1)) | mw.chunked(2) & ~mw.document(ids=[0, 1] * 4)
    bound = mask.bind(4, 7, q_start=q_start, batch=BATCH)
    space: dict[str, Any] = {}
    exec(compile(to_code(bound, library), f"<{library}>", "exec"), space)
    assert np.array_equal(*np.broadcast_arrays(made(library, space, (BATCH, 1, 4, 7)), bound.dense()))
