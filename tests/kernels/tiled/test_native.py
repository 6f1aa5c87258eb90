"""The compiled tiles: what only they do. That they are right, test_attend.py shows."""

from functools import cache

import pytest
import torch

import maskwork as mw
from maskwork.errors import GridError
from maskwork.kernels._tiled import native as _native
from maskwork.kernels._tiled.op import tiled_attention
from maskwork.kernels._tiled.schedule import to_tiles

compiler = pytest.mark.skipif(not _native.available(torch.float32), reason="needs a C compiler")
WINDOW = mw.causal() & mw.sliding_window(20)


def results(mask: mw.Mask, q_len: int, heads: int, kv_heads: int, impl: str, dtype: torch.dtype) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, h, q_len, 24, generator=g, dtype=dtype) for h in (heads, kv_heads, kv_heads))
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    out, lse = mw.attention(q, k, v, mask, impl=impl, return_lse=True)
    total = (out * out.detach().cos()).sum() + lse[lse.isfinite()].sin().sum()
    return [out, lse, *torch.autograd.grad(total, (q, k, v))]


@cache
def reference(number: int, heads: int, kv_heads: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """The reference's results of one of `masks(heads)`, which do not depend on the threads."""
    return results(masks(heads)[number], 130, heads, kv_heads, "reference", dtype)


def masks(heads: int) -> tuple[mw.Mask, ...]:
    if heads >= 10:
        return (WINDOW,)
    return (WINDOW, mw.causal(), mw.dilated(4, 3), mw.per_head([WINDOW] * (heads - 1) + [mw.full()]))


@compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 1), (3, 3), (400, 1)])
def test_threads_share_the_work_whatever_the_heads(threads: int, heads: int, kv_heads: int, dtype: torch.dtype):
    before = torch.get_num_threads()
    for number, mask in enumerate(masks(heads)):
        expected = reference(number, heads, kv_heads, dtype)
        try:
            torch.set_num_threads(threads)
            ours = results(mask, 130, heads, kv_heads, "tiled", dtype)
            again = results(mask, 130, heads, kv_heads, "tiled", dtype)
        finally:
            torch.set_num_threads(before)
        for x, same, y in zip(ours, again, expected, strict=True):
            assert torch.equal(x, same), "sums must not depend on which thread came first"
            tolerance = 1e-11 if dtype == torch.float64 else 2e-4
            torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


@compiler
@pytest.mark.parametrize("heads", [5, 23, 65, 100])
def test_parts_of_a_tile_are_of_whole_rows_and_fit(heads: int):
    # 192 rows go together: of 100 heads, one row of each
    for q_len in (3, 115):
        ours, expected = (results(mw.full(), q_len, heads, 1, impl, torch.float64) for impl in ("tiled", "reference"))
        for x, y in zip(ours, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e3, -1e4, 1e8, -1e20])
def test_gradients_of_huge_scores(size: float, dtype: torch.dtype, tiles: str):
    # all scores of a row as large: what the log-sum-exp lost in rounding was a wrong factor of every weight
    g = torch.Generator().manual_seed(0)
    v, d_out = (torch.randn(1, 2, 60, 8, generator=g, dtype=dtype) for _ in range(2))
    q = torch.full_like(v, abs(size) ** 0.5)
    k = q.copysign(torch.tensor(size))
    grads = []
    for impl in ("tiled", "reference"):
        inputs = [x.clone().requires_grad_() for x in (q, k, v)]
        out = mw.attention(*inputs, WINDOW, impl=impl)
        grads.append(torch.autograd.grad((out * d_out).sum(), inputs)[2])  # the others cancel, but for rounding
    assert (grads[0] - grads[1]).abs().max() <= 1e-4 * grads[1].abs().max()


@compiler
@pytest.mark.parametrize(
    "shapes", [((1, 2, 39, 8), (1, 2, 40, 8)), ((1, 2, 40, 8), (1, 2, 39, 8)), ((1, 1, 40, 8), (1, 1, 40, 8))]
)
def test_a_schedule_of_another_grid_is_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]):
    schedule = to_tiles(mw.per_head([WINDOW, mw.causal()]).bind(40))
    q, k = (torch.randn(shape) for shape in shapes)
    with pytest.raises(GridError, match="belongs to one grid"):
        tiled_attention(q, k, k, schedule, None, False, 1.0, 0.0, 0.0, None, False)
