"""PyTorch's own attention under our laws: what it fails, and what `impl="sdpa"` makes of that."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import Case, cases, grids
from maskwork.errors import CannotExpress
from maskwork.kernels import _sdpa

IMPLS = ("reference", "sdpa", "tiled")
CAUSAL = mw.causal()


def tensors(
    q_len: int = 150, kv_len: int | None = None, *, dim: int = 8, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    lengths = (q_len, *[q_len if kv_len is None else kv_len] * 2)
    return [torch.randn(1, 2, n, dim, generator=g, dtype=dtype) for n in lengths]


@given(st.one_of(cases), grids())
def test_unseen_keys_are_those_that_no_query_sees(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    assert np.array_equal(_sdpa._unseen_keys(bound.spans), ~bound.dense().any(-2))


@pytest.mark.parametrize("seen_by_some", [False, True])
def test_dense_sdpa_fails_both_laws_of_poison(seen_by_some: bool):
    """A NaN in a value that no row may see, and one that this row may not see: SDPA with a dense mask spreads both."""
    q, k, v = tensors(300)
    mask = mw.causal() & mw.sliding_window(40)
    if not seen_by_some:
        mask = mask - (mw.prefix(121) - mw.prefix(120))
    bound = mask.bind(300)
    clean = mw.attention(q, k, v, bound, impl="reference")
    assert (bound.last_seen()[0, 0, 120] == (159 if seen_by_some else -1)).all()
    v[:, :, 120] = math.nan
    blind = torch.from_numpy(~bound.dense()[0, 0, :, 120])
    assert blind.all() != seen_by_some
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=mw.lower.to_dense(bound))
    assert theirs[:, :, blind].isnan().any()
    beside = torch.from_numpy(~bound.dense()[0, 0, ~blind.numpy()].any(0))  # keys that blind rows alone see
    for impl in ("reference", "tiled") if seen_by_some else IMPLS:
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        out = mw.attention(*leaves, bound, impl=impl)
        torch.testing.assert_close(out[:, :, blind], clean[:, :, blind], rtol=1e-4, atol=1e-5)
        out[:, :, blind].sum().backward()
        for x, rows in zip(leaves, (blind, beside, beside), strict=True):
            assert x.grad[:, :, rows].isfinite().all()


@pytest.mark.parametrize("mask", [CAUSAL, CAUSAL - mw.sinks(2), mw.full()])
def test_sdpas_gradients_are_derivatives(mask: mw.Mask):
    leaves = [x.requires_grad_() for x in tensors(8, 11, dim=3, dtype=torch.float64)]
    attend = lambda q, k, v: mw.attention(q, k, v, mask, q_start=3, impl="sdpa")  # noqa: E731
    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


def test_a_generator_is_refused_where_it_would_be_ignored():
    g = torch.Generator().manual_seed(0)
    with pytest.raises(CannotExpress, match="its dropout takes no generator; impl='tiled' can"):
        mw.attention(*tensors(), CAUSAL, dropout_p=0.5, generator=g, impl="sdpa")
    assert mw.attention(*tensors(), CAUSAL, dropout_p=0.5, generator=g).isfinite().all()  # auto knows


@pytest.mark.parametrize(("mask", "looks"), [(mw.causal(), 0), (mw.full() - mw.sinks(1), 2)])
def test_keys_are_looked_at_only_where_one_is_hidden(mask: mw.Mask, looks: int, monkeypatch: pytest.MonkeyPatch):
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(_sdpa, "_finite", lambda x: seen.append(x) or True)
    x = torch.randn(1, 2, 6, 4)
    mw.attention(x, x, x, mask, impl="sdpa")
    assert len(seen) == looks
