"""Schedules run where it would be easiest to be wrong: odd memory, odd numbers, odd schedules, odd callers."""

import copy
import math
import pickle
import threading
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import maskwork as mw
from helpers.tiled_cases import CAUSAL, MASKS, WINDOW, Tensors, tensors
from maskwork.errors import CannotExpress
from maskwork.kernels._tiled.schedule import read_schedule, to_tiles

pytestmark = pytest.mark.usefixtures("tiles")

SEGMENTED = CAUSAL | mw.prefix(1030)  # long enough for the fused kernel's rectangles and triangles
SEGMENTED_LENGTH = 1560


def results(impl: str, inputs: Tensors, mask: mw.Mask, **kw: object) -> list[torch.Tensor]:
    """Output, log-sum-exp, and the gradients of q, k and v."""
    q, k, v = (x.detach().requires_grad_() for x in inputs)
    out, lse = mw.attention(q, k, v, mask, impl=impl, return_lse=True, **kw)
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out.detach(), lse.detach(), *torch.autograd.grad(out, (q, k, v), towards.to(out.dtype))]


def same(
    inputs: Tensors, mask: mw.Mask, tolerance: float = 5e-5, expected: list[torch.Tensor] | None = None, **kw: object
) -> None:
    """Assert that tiles give what the reference gives, or `expected` where that was computed before."""
    for a, b in zip(
        results("tiled", inputs, mask, **kw), expected or results("reference", inputs, mask, **kw), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "length before heads": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "head_dim before length": lambda x: x.mT.contiguous().mT,
    "every other number": lambda x: torch.stack([x, x * 9], -1)[..., 0],
    "behind other numbers": lambda x: torch.cat([torch.full_like(x, 7e3), x], -1)[..., x.shape[-1] :],
    "behind other rows": lambda x: torch.cat([torch.full_like(x, 7e3), x], 2)[:, :, x.shape[2] :],
    "one number for a head": lambda x: x[..., :1].expand_as(x),
    "one head for all": lambda x: x[:, :1].expand_as(x),
    "one batch row for all": lambda x: x[:1].expand_as(x),
    "one position for all": lambda x: x[:, :, :1].expand_as(x),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MASKS)
def test_memory_layouts(name: str, layout: str):
    same(tuple(map(LAYOUTS[layout], tensors())), MASKS[name])


@cache
def inputs_of_layout(layout: str) -> tuple[Tensors, list[torch.Tensor]]:
    """Segmented tensors in the layout, and the reference's results, which both kinds of tiles are compared with."""
    q, k, v = map(LAYOUTS[layout], tensors(SEGMENTED_LENGTH, 2, 1, batch=1))
    return (q, k, v), results("reference", (q, k, v), SEGMENTED)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layouts_of_the_fused_kernel(layout: str):
    # It takes for granted that the numbers of a head lie side by side, and reads beyond the tensor where they do not.
    assert read_schedule(to_tiles(SEGMENTED.bind(SEGMENTED_LENGTH))).segments
    # twice SDPA's own error, which is 5.8e-5 where sums of a thousand equal numbers cancel ("one position for all")
    inputs, expected = inputs_of_layout(layout)
    same(inputs, SEGMENTED, 1.2e-4, expected)


@pytest.mark.parametrize("layout", ["one number for a head", "head_dim before length", "one position for all"])
@pytest.mark.parametrize("mask", [WINDOW, SEGMENTED])
def test_memory_layouts_of_the_gradient_that_comes_back(mask: mw.Mask, layout: str):
    inputs = tensors(150 if mask is WINDOW else SEGMENTED_LENGTH, 2, 1, batch=1)
    towards = LAYOUTS[layout](torch.randn_like(inputs[0]))
    grads = []
    for impl in ("tiled", "reference"):
        q, k, v = (x.clone().requires_grad_() for x in inputs)
        grads.append(torch.autograd.grad(mw.attention(q, k, v, mask, impl=impl), (q, k, v), towards))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-3)


def test_one_tensor_as_query_key_and_value():
    grads = []
    for impl in ("tiled", "reference"):
        x = tensors()[0].requires_grad_()
        grads.append(torch.autograd.grad(mw.attention(x, x, x, WINDOW, impl=impl).square().sum(), x))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("q_len", "kv_len"), [(0, 5), (5, 0), (0, 0), (1, 1), (1, 700), (700, 1)])
@pytest.mark.parametrize("batch", [0, 1])
def test_extents_of_nothing_and_one(batch: int, q_len: int, kv_len: int):
    q = torch.randn(batch, 4, q_len, 8)
    k, v = (torch.randn(batch, 2, kv_len, 8) for _ in range(2))
    same((q, k, v), CAUSAL, q_start=max(kv_len - q_len, 0))


def test_no_batch_rows_for_the_fused_kernel():
    q, k, v = tensors(SEGMENTED_LENGTH, batch=0)
    assert results("tiled", (q, k, v), SEGMENTED)[2].shape == q.shape


@pytest.mark.parametrize("mask", [CAUSAL, WINDOW, mw.full(), CAUSAL - mw.sinks(5)])
@pytest.mark.parametrize("score", [-800.0, 800.0, 43.0, -43.0])
def test_rows_of_any_size_of_scores(mask: mw.Mask, score: float):
    """Sums of exp(score) that overflow, or underflow to 0 in some rows or in all."""
    q, k, v = tensors(100, dim=4, dtype=torch.float64)
    k[..., 0] = 1.0
    for rows in (slice(None), slice(20, 30), slice(99, None)):
        sized = q.clone()
        sized[:, :, rows, 0] = 2 * score  # scale is 1/2
        same((sized, k, v), mask, 1e-9)


def test_underflowing_rows_do_not_cost_the_nan_safe_path(monkeypatch: pytest.MonkeyPatch, tiles: str):
    from maskwork.kernels._tiled import run as _run

    taken = []
    inner = _run._forward
    monkeypatch.setattr(
        _run, "_forward", lambda *a, **kw: taken.append((kw["safe_softmax"], kw["nan_safe"])) or inner(*a, **kw)
    )
    q, k, v = tensors(100, dim=4)
    k[..., 0] = 1.0
    q[:, :, 60:, 0] = -400.0
    assert mw.attention(q, k, v, CAUSAL - mw.sinks(2), impl="tiled").isfinite().all()
    assert taken == ([] if tiles == "compiled" else [(False, False), (True, False)])


@pytest.mark.parametrize("mask", [CAUSAL, WINDOW, CAUSAL - mw.sinks(2)])
def test_a_row_whose_every_score_is_minus_infinity_is_empty(mask: mw.Mask):
    bias = torch.zeros(60, 60)
    bias[5], bias[7, :3] = -math.inf, -math.inf
    same(tensors(60), mask, bias=bias)
    q, k, v = tensors(60)
    k[:, :, 0] = -math.inf
    same((q.abs(), k, v), mask)
    # what comes back for its log-sum-exp does not matter, as in any empty row
    q, k, v = (x.requires_grad_() for x in tensors(60))
    _, lse = mw.attention(q, k, v, mask, bias=bias, impl="tiled", return_lse=True)
    towards = torch.ones_like(lse).masked_fill_(lse.detach() == -math.inf, math.nan)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(lse, (q, k, v), towards))


@pytest.mark.parametrize("value", [math.nan, math.inf, torch.finfo(torch.float32).min])
def test_strange_biases(value: float):
    bias = torch.zeros(60, 60)
    bias[5, 2], bias[9], bias[2, 30:] = value, value, value
    same(tensors(60), CAUSAL, bias=bias)


@cache
def poisoned(name: str, which: str, bad: float, place: int) -> tuple[Tensors, tuple[torch.Tensor, ...]]:
    """Tensors of which one position is bad, and the reference's results, which both kinds of tiles must equal."""
    mask, sizes = (SEGMENTED, (SEGMENTED_LENGTH, 1, 1)) if name == "segmented" else (MASKS[name], (150, 4, 2))
    inputs = tensors(*sizes, dim=2, batch=1)
    inputs["qkv".index(which)][:, :, place] = bad
    return inputs, tuple(results("reference", inputs, mask))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["q", "k", "v"])
@pytest.mark.parametrize("name", [*MASKS, "segmented"])
def test_poison_spreads_as_far_as_the_mask_and_no_farther(name: str, which: str, bad: float):
    mask, length = (SEGMENTED, SEGMENTED_LENGTH) if name == "segmented" else (MASKS[name], 150)
    for place in (length // 3, length - 50):
        inputs, expected = poisoned(name, which, bad, place)
        ours, theirs = results("tiled", inputs, mask), list(expected)
        if which == "q":  # a key that the row may not see: the reference multiplies its 0 with NaN
            allowed = torch.tensor(np.broadcast_to(mask.bind(length).dense(), (1, inputs[0].shape[1], length, length)))
            sees = allowed[:, :, place].unflatten(1, (inputs[1].shape[1], -1)).any(2)
            assert ours[3][~sees].isfinite().all()
            ours[3], theirs[3] = ours[3][sees], theirs[3][sees]
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_poison_everywhere_takes_no_longer_than_products():
    q, k, v = tensors(1024, dim=64)
    mw.attention(q, k, v, WINDOW, impl="tiled")
    start = time.perf_counter()
    assert mw.attention(q, k * math.nan, v * math.nan, CAUSAL, impl="tiled").isnan().all()
    assert time.perf_counter() - start < 10  # it takes 0.2 s; key by key it took a hundred times as long


@pytest.mark.parametrize("towards", [math.nan, math.inf])
def test_a_poisoned_gradient_reaches_what_its_row_sees(towards: float):
    q, k, v = (x.requires_grad_() for x in tensors())
    d_out = torch.ones_like(q)
    d_out[:, :, 100] = towards
    d_q, d_k, d_v = torch.autograd.grad(mw.attention(q, k, v, WINDOW, impl="tiled"), (q, k, v), d_out)
    assert d_q.isfinite().all(-1).logical_not().nonzero()[:, 2].unique().tolist() == [100]
    for grad in (d_k, d_v):
        assert grad.isfinite().all(-1).logical_not().nonzero()[:, 2].unique().tolist() == list(range(77, 101))


BIASES = {
    "alibi": lambda: mw.alibi(torch.rand(4, dtype=torch.float64, requires_grad=True)),
    "cells": lambda: torch.randn(18, 18, dtype=torch.float64, requires_grad=True),
    "keys of a batch row": lambda: torch.randn(2, 1, 1, 18, dtype=torch.float64, requires_grad=True),
    "rows of a head": lambda: torch.randn(4, 18, 1, dtype=torch.float64, requires_grad=True),
    "transposed": lambda: torch.randn(2, 4, 18, 18, dtype=torch.float64).mT.requires_grad_(),
    "one number": lambda: torch.randn((), dtype=torch.float64, requires_grad=True),
}


@pytest.mark.parametrize("name", BIASES)
@pytest.mark.parametrize("mask", [WINDOW, mw.band(3, 2) | mw.sinks(1), CAUSAL & mw.dilated(4, 3), MASKS["heads"]])
def test_biases_and_their_gradients(mask: mw.Mask, name: str):
    bias = BIASES[name]()
    learned = (bias,) if isinstance(bias, torch.Tensor) else (bias.slopes,)
    grads = []
    for impl in ("tiled", "reference"):
        q, k, v = (x.requires_grad_() for x in tensors(18, dtype=torch.float64))
        out = mw.attention(q, k, v, mask, bias=bias, impl=impl)
        grads.append([out, *torch.autograd.grad(out.square().sum(), (q, k, v, *learned))])
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("mask", [WINDOW, MASKS["dilated"], MASKS["heads"]])
def test_gradients_are_derivatives(mask: mw.Mask):
    inputs = [x.requires_grad_() for x in tensors(20, dim=4, dtype=torch.float64)]

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **kw: object) -> tuple[torch.Tensor, ...]:
        out, lse = mw.attention(q, k, v, mask, impl="tiled", return_lse=True, **kw)
        return out, lse.masked_fill(lse == -math.inf, 0.0)

    assert torch.autograd.gradcheck(attend, inputs, fast_mode=True)
    assert torch.autograd.gradcheck(lambda q, k, v: attend(q * 30, k, v), inputs, fast_mode=True)
    dropped = lambda q, k, v: attend(q, k, v, dropout_p=0.3, generator=torch.Generator().manual_seed(3))  # noqa: E731
    assert torch.autograd.gradcheck(dropped, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("mask", "size"), [(WINDOW, 1.0), (WINDOW, 8.0), (CAUSAL, 1.0), (CAUSAL, 8.0)])
def test_errors_are_within_twice_those_of_sdpa(mask: mw.Mask, size: float, dtype: torch.dtype):
    q, k, v = (x.to(dtype) for x in tensors(400, 2, 2, 32, batch=1))
    towards = torch.randn(q.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    allowed = torch.tensor(mask.bind(400).dense())

    def both(attend: Callable[..., torch.Tensor], at: torch.dtype) -> list[torch.Tensor]:
        inputs = [x.to(at).requires_grad_() for x in (q * size, k, v)]
        out = attend(*inputs)
        return [out.detach().double(), *(g.double() for g in torch.autograd.grad(out, inputs, towards.to(at)))]

    sdpa = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)  # noqa: E731
    exact, theirs = both(sdpa, torch.float64), both(sdpa, dtype)
    ours = both(lambda q, k, v: mw.attention(q, k, v, mask, impl="tiled"), dtype)
    for truth, a, b in zip(exact, ours, theirs, strict=True):
        few = 4 * torch.finfo(dtype).eps * truth.abs().max()
        assert (a - truth).abs().max() <= 2 * (b - truth).abs().max() + few
        assert (a - truth).norm() <= 2 * (b - truth).norm()


def test_dropout_is_that_of_independent_coins():
    bound = (CAUSAL & mw.sliding_window(64)).bind(700)
    q, v = torch.zeros(2, 4, 700, 4), torch.ones(2, 4, 700, 4)
    kept = []
    for seed in range(8):
        out = mw.attention(q, q, v, bound, dropout_p=0.25, generator=torch.Generator().manual_seed(seed), impl="tiled")
        kept.append(out[..., 64:, 0] * 48)  # of 64 keys, how many were kept
    counts = torch.stack(kept)
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)
    n = counts.numel()
    assert abs(counts.mean() - 48) < 4 * math.sqrt(12 / n)
    assert abs(counts.var() - 12) < 4 * 12 * math.sqrt(2 / n)
    # neither rows, nor heads, nor seeds share their coins
    centred = counts - 48
    for lag in (1, 8, 64, 72, 80, 88, 96, 104, 112, 120, 128):
        assert abs((centred[..., lag:] * centred[..., :-lag]).mean()) < 12 * 5 / math.sqrt(n)
    assert torch.corrcoef(centred.flatten(0, 2)).fill_diagonal_(0).abs().max() < 6 / math.sqrt(636)


@pytest.mark.parametrize("kv_heads", [1, 4])
def test_dropout_depends_on_the_seed_alone(kv_heads: int):
    mask, inputs = CAUSAL & mw.sliding_window(64), tensors(700, 4, kv_heads)
    threads, runs = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            runs.append(results("tiled", inputs, mask, dropout_p=0.5, generator=torch.Generator().manual_seed(5)))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*runs, rtol=1e-4, atol=1e-4)
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(mw.attention(*inputs, mask, dropout_p=0.5, impl="tiled"))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_drops_the_same_weights_again(use_reentrant: bool):
    def attend(*inputs: torch.Tensor) -> torch.Tensor:
        return mw.attention(*inputs, WINDOW, dropout_p=0.3, impl="tiled")

    grads = []
    for run in (attend, lambda *inputs: checkpoint(attend, *inputs, use_reentrant=use_reentrant)):
        inputs = [x.requires_grad_() for x in tensors()]
        torch.manual_seed(0)
        run(*inputs).sum().backward()
        grads.append([x.grad for x in inputs])
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_autocast_casts_at_the_door_and_does_not_reach_inside():
    for mask, inputs in ((WINDOW, tensors()), (SEGMENTED, tensors(SEGMENTED_LENGTH, 1, 1, batch=1))):
        half = [x.bfloat16() for x in inputs]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = mw.attention(*inputs, mask, impl="tiled")
        assert torch.equal(inside, mw.attention(*half, mask, impl="tiled"))


def test_a_mask_used_in_inference_mode_trains_afterwards():
    bound = (CAUSAL & (mw.sliding_window(8) | mw.dilated(9, 5))).bind(150)
    with torch.inference_mode():
        before = mw.attention(*tensors(), bound, impl="tiled")
        mw.attention(*tensors(), bound, impl="tiled", dropout_p=0.1)
    results("tiled", tensors(), bound, dropout_p=0.1)
    for again in (bound, copy.deepcopy(bound), pickle.loads(pickle.dumps(bound))):
        assert torch.equal(results("tiled", tensors(), again)[0], before)


def test_threads_share_a_bound_mask():
    bound, inputs = (CAUSAL & (mw.sliding_window(64) | mw.dilated(9, 5))).bind(150), tensors()
    expected, wrong = results("tiled", inputs, bound), []

    def work() -> None:
        for _ in range(5):
            wrong.extend(1 for a, b in zip(results("tiled", inputs, bound), expected, strict=True) if not a.equal(b))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_second_derivative_says_that_there_is_none():
    q, k, v = (x.requires_grad_() for x in tensors(20))
    (grad,) = torch.autograd.grad(mw.attention(q, k, v, WINDOW, impl="tiled").square().sum(), q, create_graph=True)
    with pytest.raises(CannotExpress, match="differentiates once"):
        grad.sum().backward()


def test_the_schedule_of_shreds_is_right_all_the_same():
    mask = mw.from_dense(np.random.default_rng(0).random((2, 150, 150)) < 0.5)
    same(tensors(), mask)
