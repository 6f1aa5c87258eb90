"""Variable-length arguments mean the mask, as flash-attention reads them, or are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import LENGTH, Case, cases, grids, lengths
from maskwork.errors import CannotExpress
from maskwork.lower import VarlenArguments, to_varlen


def cells(arguments: VarlenArguments) -> np.ndarray:
    """flash-attention's definition, sequence by sequence and cell by cell, on packed tokens."""
    cu_q, cu_k = arguments["cu_seqlens_q"].tolist(), arguments["cu_seqlens_k"].tolist()
    left, right = arguments["window_size"]
    out = np.zeros((cu_q[-1], cu_k[-1]), dtype=bool)
    for q0, q1, k0, k1 in zip(cu_q, cu_q[1:], cu_k, cu_k[1:], strict=False):
        assert q1 - q0 <= arguments["max_seqlen_q"]
        assert k1 - k0 <= arguments["max_seqlen_k"]
        for q in range(q0, q1):
            for k in range(k0, k1):
                ahead = (k - k0) - (q - q0) - ((k1 - k0) - (q1 - q0))
                inside = (left < 0 or -ahead <= left) and (right < 0 or ahead <= right)
                out[q, k] = inside and (not arguments["causal"] or ahead <= 0)
    return out


def packed(bound: mw.BoundMask) -> np.ndarray:
    """The dense mask of all batch rows, block-diagonal, as packed tokens see it."""
    dense = np.broadcast_to(bound.dense(), (bound.grid.batch, 1, bound.grid.q_len, bound.grid.kv_len))[:, 0]
    batch, rows, keys = dense.shape
    out = np.zeros((batch, rows, batch, keys), dtype=bool)
    for i in range(batch):
        out[i, :, i] = dense[i]
    return out.reshape(batch * rows, batch * keys)


@given(cases, grids(), st.booleans())
def test_the_arguments_mean_the_mask_or_are_refused(case: Case, grid: tuple[int, int, int], wide: bool):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start, batch=3 if wide else None)
    try:
        arguments = to_varlen(bound)
    except CannotExpress:
        return
    assert arguments["cu_seqlens_q"].dtype == arguments["cu_seqlens_k"].dtype == torch.int32
    assert np.array_equal(cells(arguments), packed(bound))


@given(st.booleans().flatmap(lengths), st.sampled_from(["causal", "full", "causal & sliding_window(3)", "empty"]))
def test_whatever_is_block_diagonal_is_expressed(sizes: list, inner: str):
    bound = mw.within(mw.parse(inner), sizes).bind(LENGTH)
    assert np.array_equal(cells(to_varlen(bound)), packed(bound))


@given(lengths(False), st.integers(0, LENGTH), st.integers(0, LENGTH), st.integers(1, 5))
def test_a_slice_of_the_queries_is_expressed(sizes: list, i: int, j: int, window: int):
    bound = mw.within(mw.causal() & mw.sliding_window(window), sizes).bind(LENGTH).rows(min(i, j), max(i, j))
    assert np.array_equal(cells(to_varlen(bound)), packed(bound))


def test_names_and_numbers_are_flash_attentions():
    arguments = to_varlen(mw.within(mw.causal() & mw.sliding_window(4), [5, 0, 3]).bind(8))
    assert arguments["cu_seqlens_q"].tolist() == arguments["cu_seqlens_k"].tolist() == [0, 5, 8]
    assert (arguments["max_seqlen_q"], arguments["max_seqlen_k"]) == (5, 5)
    assert arguments["causal"] is True
    assert arguments["window_size"] == (3, 0)
    # five keys for eight queries, aligned at the end: query i sees three keys beyond the diagonal
    assert to_varlen((mw.causal() & mw.padding([5])).bind(8))["window_size"] == (-1, 3)
    full = to_varlen(mw.document([[5, 3], [2, 6]]).bind(8))
    assert full["cu_seqlens_q"].tolist() == [0, 5, 8, 10, 16]
    assert full["causal"] is False
    assert full["window_size"] == (-1, -1)


def test_the_spans_decide_and_not_the_expression():
    plain = to_varlen(mw.within(mw.causal(), [5, 3]).bind(8))
    roundabout = (mw.full() - ~mw.causal()) & mw.document(ids=[7, 7, 7, 7, 7, 2, 2, 2])
    assert str(to_varlen(roundabout.bind(8))) == str(plain)


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (mw.causal() & (mw.sliding_window(2) | mw.sinks(1)), "a row has 2 runs"),
        (mw.prefix(3) | mw.causal(), "aligned at their ends"),
        (mw.document(ids=[0, 1, 0, 1, 0, 1, 0, 1]), "a row has 4 runs"),
        (mw.within([mw.causal(), mw.full()], [4, 4]), "aligned at their ends"),
        (~mw.document([4, 4]), "aligned at their ends"),
        (~mw.document([4, 4]) & mw.document(ids=[0, 0, 0, -1, -1, 0, 0, 0]), "keys of an earlier block"),
    ],
)
def test_refused_with_a_reason(mask: mw.Mask, why: str):
    with pytest.raises(CannotExpress, match=f"{why}.*'flex' can"):
        to_varlen(mask.bind(8))
