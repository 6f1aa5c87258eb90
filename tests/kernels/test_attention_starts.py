"""Attention at any starts: every implementation, position biases included, beside a float64 oracle."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.bias import causal_lower_right

import maskwork as mw
from helpers.strategies import BATCH, HEADS, LENGTH, Case, atoms, once_shifted, ragged_grids
from helpers.strategies_sparse import sparse_atoms
from maskwork.errors import ArgumentError, GridError
from maskwork.kernels import _flex

IMPLS = ("reference", "sdpa", "tiled")

starting_cases = st.one_of(once_shifted(atoms()), once_shifted(st.one_of(sparse_atoms, atoms())))


def tensors(q_len: int, kv_len: int, batch: int = BATCH) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    q = torch.randn(batch, HEADS, q_len, 8, generator=g)
    k, v = (torch.randn(batch, 2, kv_len, 8, generator=g) for _ in range(2))
    return q, k, v


def oracle(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, allowed: np.ndarray, bias: Any = None) -> torch.Tensor:
    """Softmax over the allowed keys alone, in float64; rows that see nothing are 0."""
    k, v = (x.double().repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = q.double() @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + (0.0 if bias is None else bias)
    weights = scores.masked_fill(~torch.from_numpy(allowed.copy()), -math.inf).softmax(-1)
    return weights.nan_to_num(0.0) @ v


def biases() -> list[tuple[str, mw.PositionBias, Any]]:
    """Return position biases, each with its definition of (h, q, k)."""
    slopes = torch.tensor([1.0, 0.5, 0.25, 0.7])
    table = torch.randn(8, HEADS, generator=torch.Generator().manual_seed(1))
    t5 = mw.relative_bias(table, max_distance=6, bidirectional=True)
    steps = torch.arange(-64, 65)
    by_step = t5.of_distances(steps).double()
    return [
        ("alibi", mw.alibi(slopes), lambda h, q, k: -slopes.double()[h] * abs(k - q)),
        ("signed", mw.alibi(slopes, signed=True), lambda h, q, k: slopes.double()[h] * (k - q)),
        ("relative", t5, lambda h, q, k: by_step[h, k - q + 64]),
    ]


@settings(max_examples=120, deadline=None)
@given(starting_cases, ragged_grids(), st.sampled_from(IMPLS), st.sampled_from([None, 0, 1, 2]))
def test_attention_is_the_definition_wherever_queries_start(case: Case, grid: Any, impl: str, number: int | None):
    q_start, q_len, kv_len = grid
    q, k, v = tensors(q_len, kv_len)
    bias = given_bias = None
    if number is not None:
        _, given_bias, of = biases()[number]
        _x, h, i, j = (torch.from_numpy(index) for index in np.ogrid[:BATCH, :HEADS, :q_len, :kv_len])
        bias = of(h, torch.tensor(q_start).view(-1, 1, 1, 1) + i, j)
    out = mw.attention(q, k, v, case.mask, q_start=q_start, bias=given_bias, impl=impl)
    expected = oracle(q, k, v, case.dense(*grid), bias)
    # float32: 12 terms of size about 1 each rounded at 2**-24, with a wide margin for scores up to 24
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("impl", ["sdpa", "tiled"])
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("q_start", [-3, [-3, 0, 4], [6, 2, 2]])
def test_gradients_at_any_starts_are_the_references(impl: str, number: int, q_start: Any):
    results = []
    for name in ("reference", impl):
        q, k, v = (x.requires_grad_() for x in tensors(6, LENGTH))
        out = mw.attention(q, k, v, mw.causal() | mw.sinks(1), q_start=q_start, bias=biases()[number][1], impl=name)
        (out * torch.arange(8.0)).sum().backward()
        results.append((out, q.grad, k.grad, v.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_bias_on_selected_keys_uses_their_positions(impl: str, number: int):
    _, bias, of = biases()[number]
    mask = mw.causal() & mw.sliding_window(5)
    pages = np.array([[4, 5, 2, 3, -1, 1], [9, 8, 7, 6, 5, 4], [-1, 0, -1, 2, 1, 3]])
    starts = np.array([4, 8, 2])
    bound = mask.bind(2, LENGTH, q_start=starts).select(k=pages)
    q, k, v = tensors(2, 6)
    out = mw.attention(q, k, v, bound, bias=bias, impl=impl)
    at_q, at_k = starts[:, None] + np.arange(2), pages
    _x, h = (torch.arange(n) for n in (BATCH, HEADS))
    cell = of(h.view(1, -1, 1, 1), torch.from_numpy(at_q)[:, None, :, None], torch.from_numpy(at_k)[:, None, None])
    distance = at_q[:, :, None] - at_k[:, None]
    allowed = ((distance >= 0) & (distance < 5) & (at_k >= 0)[:, None])[:, None]
    assert np.array_equal(bound.dense(), allowed)
    torch.testing.assert_close(out.double(), oracle(q, k, v, allowed, cell), rtol=1e-4, atol=1e-4)
    # the same keys in order, without holes, one batch row at a time
    for b in range(BATCH):
        order = np.argsort(pages[b])[(pages[b] < 0).sum() :]
        rows = mask.bind(2, LENGTH, q_start=int(starts[b])).select(k=pages[b, order])
        alone = mw.attention(q[b : b + 1], k[b : b + 1, :, order], v[b : b + 1, :, order], rows, bias=bias, impl=impl)
        torch.testing.assert_close(out[b : b + 1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("impl", [*IMPLS, "auto"])
def test_a_position_bias_needs_to_know_where_queries_stand(impl: str):
    q, k, v = tensors(2, 6)
    for mask in (
        mw.full(),
        mw.full().bind(2, 6),
        mw.padding([3, 6, 2]),
        mw.full().bind(2, 6).select(k=[5, 4, 3, 2, 1, 0]),
    ):
        with pytest.raises(GridError, match=r"q_start must be given .* positions.* pass q_start=0 .* q_start=4"):
            mw.attention(q, k, v, mask, bias=mw.alibi(HEADS), impl=impl)
        mw.attention(q, k, v, mask, impl=impl)  # without a bias nobody needs to know
    given_ = mw.full().bind(2, 6, q_start=4)
    at_end = mw.attention(q, k, v, given_, bias=mw.alibi(HEADS), impl=impl)
    assert torch.equal(at_end, mw.attention(q, k, v, q_start=4, bias=mw.alibi(HEADS), impl=impl))


def test_a_position_bias_refuses_a_selection_that_was_bound_anew():
    q, k, v = tensors(1, 4)
    selected = mw.causal().bind(1, 4, q_start=3).select(k=[3, 2, 1, 0])
    joined = selected.mask & mw.padding([1, 2, 3])
    with pytest.raises(ArgumentError, match="join the masks first, then bind and select"):
        mw.attention(q, k, v, joined, q_start=0, bias=mw.alibi(HEADS))
    mw.attention(q, k, v, joined, q_start=0)


def flash_attention(
    lengths_q: list[int], lengths_k: list[int], window: tuple[int, int], q_len: int, kv_len: int
) -> np.ndarray:
    """flash-attention's cells for padded batches: aligned at the end of each sequence's keys (`seqused_k`)."""
    out = np.zeros((len(lengths_k), 1, q_len, kv_len), dtype=bool)
    for b, (n, m) in enumerate(zip(lengths_q, lengths_k, strict=True)):
        for i, j in np.ndindex(q_len, m):
            ahead = j - (i + m - n)
            out[b, 0, i, j] = (window[0] < 0 or ahead >= -window[0]) and (window[1] < 0 or ahead <= window[1])
    return out


@pytest.mark.parametrize("q_len", [1, 2, 5, 9])
@pytest.mark.parametrize("window", [(-1, 0), (2, 0), (3, 1), (-1, -1)])
def test_sequences_in_a_cache_are_flash_attentions(q_len: int, window: tuple[int, int]):
    used = [2, 7, 4]
    left, right = (None if side < 0 else side for side in window)
    mask = mw.band(left, right) & mw.padding(used)
    q_start = [n - q_len for n in used]  # cache_seqlens, seqused_k
    expected = flash_attention([q_len] * 3, used, window, q_len, 8)
    assert np.array_equal(mask.bind(q_len, 8, q_start=q_start).dense(), expected)
    q, k, v = tensors(q_len, 8)
    for impl in IMPLS:
        out = mw.attention(q, k, v, mask, q_start=torch.tensor(used) - q_len, impl=impl)
        torch.testing.assert_close(out.double(), oracle(q, k, v, expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("q_len", "kv_len"), [(5, 2), (8, 8), (3, 7), (9, 1)])
def test_bottom_right_is_one_form_for_all_sizes(q_len: int, kv_len: int):
    # torch's causal_lower_right, xFormers' LowerTriangularFromBottomRightMask, flash-attention since 2.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their rows without a key are NaN; ours are 0
        theirs = causal_lower_right(q_len, kv_len)._materialize().numpy()
    bound = mw.causal().bind(q_len, kv_len, q_start=kv_len - q_len)
    assert np.array_equal(bound.dense()[0, 0], theirs)
    window = mw.sliding_window(3).bind(q_len, kv_len, q_start=kv_len - q_len)
    assert np.array_equal(window.dense()[0, 0], theirs & ~np.tri(q_len, kv_len, kv_len - q_len - 3, dtype=bool))
    q, k, v = tensors(q_len, kv_len)
    for impl in IMPLS:
        bias = -0.5 * abs(torch.arange(kv_len) - (torch.arange(q_len)[:, None] + kv_len - q_len)).double()
        out = mw.attention(q, k, v, bound, bias=mw.alibi(torch.full((HEADS,), 0.5)), impl=impl)
        torch.testing.assert_close(out.double(), oracle(q, k, v, theirs, bias), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("q_start", [-3, [-3, 0, 4], [6, 2, 2]])
def test_flex_attention_takes_any_starts(q_start: Any, monkeypatch: pytest.MonkeyPatch):
    uncompiled = torch.compile(_flex._flex, fullgraph=True, dynamic=False, backend="eager")
    monkeypatch.setattr(_flex, "_compiled", lambda: uncompiled)
    monkeypatch.setattr(_flex, "_no_cpu_kernel", lambda: None)
    q, k, v = tensors(6, LENGTH)
    mask = mw.causal() & (mw.sliding_window(4) | mw.sinks(1))
    out = mw.attention(q, k, v, mask, q_start=q_start, impl="flex")
    expected = oracle(q, k, v, np.broadcast_to(mask.bind(6, LENGTH, q_start=q_start).dense(), (BATCH, 1, 6, LENGTH)))
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
