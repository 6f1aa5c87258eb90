"""`impl="tiled"` against the float64 reference: outputs, log-sum-exps and gradients, where tiles are many."""

import math
import time
from functools import cache

import numpy as np
import pytest
import torch

import maskwork as mw
from helpers.tiled_cases import CAUSAL, LONG
from maskwork.errors import ArgumentError, CannotExpress

pytestmark = pytest.mark.usefixtures("tiles")

HEADS = mw.per_head([CAUSAL, mw.sliding_window(5), mw.full(), mw.band(30, 3)])
MASKS = {**LONG, "per head": HEADS & mw.padding([300, 160])}
#: long enough for the fused kernel to take rectangles and triangles
LARGE = {
    "causal": CAUSAL,
    "prefix": CAUSAL | mw.prefix(700),
    "prefix and padding": (CAUSAL | mw.prefix(1100)) & mw.padding([2100, 1800]),
}


def tensors(length: int, heads: int, kv_heads: int, dim: int, v_dim: int, dtype: torch.dtype, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    shapes = ((2, heads, length, dim), (2, kv_heads, length, dim), (2, kv_heads, length, v_dim))
    return [torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes]


def outcome(qkv: list[torch.Tensor], mask: mw.Mask, impl: str, lse: bool = True, **options):
    """Output, log-sum-exp, gradients of q, k, v for one fixed gradient that comes back."""
    leaves = [x.clone().requires_grad_() for x in qkv]
    if lse:
        out, row_lse = mw.attention(*leaves, mask, impl=impl, return_lse=True, **options)
    else:
        out, row_lse = mw.attention(*leaves, mask, impl=impl, **options), None
    return differentiated(leaves, out, row_lse)


def differentiated(leaves: list[torch.Tensor], out: torch.Tensor, row_lse: torch.Tensor | None) -> list[torch.Tensor]:
    """The output, the log-sum-exp where it is differentiated too, and the gradients of the leaves."""
    g = torch.Generator().manual_seed(9)
    total = 0.0
    if row_lse is not None:
        back = torch.randn(row_lse.shape, generator=g, dtype=torch.float64).to(row_lse.dtype)
        seen = row_lse > -math.inf
        total = (row_lse * back)[seen].sum()
    total = total + (out * torch.randn(out.shape, generator=g, dtype=torch.float64).to(out.dtype)).sum()
    grads = torch.autograd.grad(total, leaves, retain_graph=True)
    return [*(x.detach() for x in (out, row_lse) if x is not None), *grads]


@cache
def expected_outcomes(
    name: str, length: int, heads: int, kv_heads: int, dim: int, v_dim: int
) -> dict[bool, list[torch.Tensor]]:
    """The reference's outcome without and with a gradient of the log-sum-exp, the same for both kinds of tiles."""
    leaves = [x.requires_grad_() for x in tensors(length, heads, kv_heads, dim, v_dim, torch.float64)]
    out, row_lse = mw.attention(*leaves, {**MASKS, **LARGE}[name], impl="reference", return_lse=True)
    return {lse: differentiated(leaves, out, row_lse if lse else None) for lse in (False, True)}


@pytest.mark.parametrize(("kv_heads", "dim", "v_dim"), [(4, 8, 8), (2, 8, 8), (1, 7, 5)])
@pytest.mark.parametrize("name", MASKS)
def test_equals_the_reference(name: str, kv_heads: int, dim: int, v_dim: int):
    qkv = tensors(300, 4, kv_heads, dim, v_dim, torch.float64)
    wanted = expected_outcomes(name, 300, 4, kv_heads, dim, v_dim)[True]
    for ours, expected in zip(outcome(qkv, MASKS[name], "tiled"), wanted, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("bad", [0.0, math.nan])
@pytest.mark.parametrize("rows", [1, 3, 15, 17])
def test_few_queries_against_a_cache(rows: int, bad: float):
    q, k, v = tensors(300, 4, 2, 8, 8, torch.float64)
    k[:, :, 100], v[:, :, 100] = bad, bad  # no row of these sees it
    q = q[:, :, :rows]
    ours, expected = (
        outcome([q, k, v], MASKS["window and sinks"], impl, q_start=300 - rows) for impl in ("tiled", "reference")
    )
    for x, y in zip(ours, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("lse", [False, True])  # with a gradient of it, tiles take over from the fused kernel
@pytest.mark.parametrize("name", LARGE)
def test_large_rectangles_and_triangles_equal_the_reference(name: str, lse: bool):
    qkv = tensors(2100, 2, 1, 4, 4, torch.float64)
    wanted = expected_outcomes(name, 2100, 2, 1, 4, 4)[lse]
    for ours, expected in zip(outcome(qkv, LARGE[name], "tiled", lse), wanted, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["window and sinks", "documents per row", "globals"])
def test_its_error_is_within_twice_that_of_sdpa(name: str, dtype: torch.dtype):
    qkv = tensors(300, 4, 2, 16, 16, dtype)
    exact = outcome([x.double() for x in qkv], MASKS[name], "reference", lse=False)
    errors = {
        impl: [
            float((ours.double() - expected).abs().max())
            for ours, expected in zip(outcome(qkv, MASKS[name], impl, lse=False), exact, strict=True)
        ]
        for impl in ("tiled", "sdpa")
    }
    for ours, theirs, expected in zip(errors["tiled"], errors["sdpa"], exact, strict=True):
        few_units = 4 * torch.finfo(dtype).eps * float(expected.abs().max())
        assert ours <= 2 * theirs + few_units, errors


@pytest.mark.parametrize("size", [1.0, 30.0, 300.0, 3000.0])
def test_scores_of_any_size(size: float):
    q, k, v = tensors(200, 2, 2, 16, 16, torch.float64)
    mask = CAUSAL & mw.sliding_window(50)
    expected = outcome([q * size, k, v], mask, "reference")
    for ours, exact in zip(outcome([q * size, k, v], mask, "tiled"), expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-8, atol=1e-8 * max(1.0, float(exact.abs().max())))


def test_scores_that_all_underflow_are_still_a_softmax():
    q, k, v = tensors(64, 1, 1, 4, 4, torch.float32)
    q, k = q.abs() * 30, -k.abs() * 30 - 1
    mask = CAUSAL & mw.sliding_window(20)
    expected = outcome([q.double(), k.double(), v.double()], mask, "reference")
    for ours, exact in zip(outcome([q, k, v], mask, "tiled"), expected, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-3, atol=1e-3 * max(1.0, float(exact.abs().max())))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["k", "v"])
@pytest.mark.parametrize("name", ["window", "documents", "globals"])
def test_nan_reaches_only_rows_that_see_it(name: str, which: str, bad: float):
    q, k, v = tensors(300, 2, 1, 8, 8, torch.float32)
    {"k": k, "v": v}[which][:, :, 120] = bad
    ours, expected = (outcome([q, k, v], MASKS[name], impl, lse=False) for impl in ("tiled", "reference"))
    for x, y in zip(ours, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4, equal_nan=True)
    clean = outcome(tensors(300, 2, 1, 8, 8, torch.float32), MASKS[name], "reference", lse=False)[0]
    blind = ~torch.tensor(MASKS[name].bind(300).dense()[0, 0, :, 120])
    torch.testing.assert_close(ours[0][:, :, blind], clean[:, :, blind], rtol=1e-4, atol=1e-4)


def test_dense_sdpa_lets_a_nan_through_that_tiles_keep_out():
    """Why the check exists: PyTorch's own kernel fails the law that a masked key changes nothing."""
    q, k, v = tensors(300, 1, 1, 8, 8, torch.float32)
    v[:, :, 120] = math.nan
    bound = MASKS["window"].bind(300)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mw.lower.to_dense(bound))
    ours = mw.attention(q, k, v, bound, impl="tiled")
    assert theirs[:, :, :120].isnan().any()  # none of them sees key 120
    assert ours[:, :, :120].isfinite().all()
    assert ours.isnan().any(-1)[0, 0].nonzero().flatten().tolist() == list(range(120, 160))


def test_a_bias_that_hides_all_that_a_row_sees():
    qkv = tensors(100, 2, 2, 8, 8, torch.float64)
    bias = torch.zeros(100, 100, dtype=torch.float64)
    bias[30:40] = -math.inf
    ours, expected = (outcome(qkv, MASKS["window"], impl, bias=bias) for impl in ("tiled", "reference"))
    assert (ours[0][:, :, 30:40] == 0).all()
    for x, y in zip(ours, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)


def test_dropout_is_seeded_and_differentiated_through():
    q, k, v = (x[:1, :1] for x in tensors(64, 1, 1, 4, 4, torch.float64))
    mask = CAUSAL & mw.sliding_window(20)

    def run(*qkv: torch.Tensor, seed: int = 1) -> torch.Tensor:
        g = torch.Generator().manual_seed(seed)
        return mw.attention(*qkv, mask, impl="tiled", dropout_p=0.3, generator=g)

    assert torch.equal(run(q, k, v), run(q, k, v))
    assert not torch.equal(run(q, k, v), run(q, k, v, seed=2))
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_dropout_keeps_the_mean_and_drops_as_many_as_it_says():
    length, p = 256, 0.3
    q = torch.zeros(1, 1, length, 1)
    v = torch.eye(length)[None, None]
    mask = mw.chunked(64)
    g = torch.Generator().manual_seed(0)
    weights = torch.cat([mw.attention(q, q, v, mask, impl="tiled", dropout_p=p, generator=g) for _ in range(20)])
    weights = weights[:, :, torch.tensor(mask.bind(length).dense()[0, 0])] * 64
    n = weights.numel()
    torch.testing.assert_close(weights.unique(), torch.tensor([0.0, 1 / (1 - p)]))
    # five standard deviations of a coin tossed n times
    assert abs(float((weights == 0).float().mean()) - p) < 5 * (p * (1 - p) / n) ** 0.5


def test_it_differentiates_once():
    q, k, v = (x.requires_grad_() for x in tensors(40, 1, 1, 4, 4, torch.float64))
    out = mw.attention(q, k, v, CAUSAL, impl="tiled")
    (grad,) = torch.autograd.grad(out.sum(), q, create_graph=True)
    with pytest.raises(CannotExpress, match=r"differentiates once.*impl='reference'"):
        torch.autograd.grad(grad.sum(), q)


def test_plan_says_what_it_takes_and_why(tiles: str):
    q = torch.zeros(1, 1, 2048, 8)
    assert mw.plan(q, q, q, CAUSAL & mw.sliding_window(64)).impl == "tiled"
    assert mw.plan(q, q, q, CAUSAL).impl == {"compiled": "tiled", "operators": "sdpa"}[tiles]
    assert mw.plan(q, q, q, mw.full()).impl == "sdpa"
    heads = q.expand(1, 8, 2048, 8)
    plan = mw.plan(heads, heads, heads, ~mw.band(3, 3))
    if tiles == "operators":
        assert plan.impl == "sdpa"
        assert "of all pairs" in plan.why_not["tiled"]
    else:
        assert plan.impl == "tiled"
    short = q[:, :, :600]
    plan = mw.plan(short, short, short, mw.from_dense(np.random.default_rng(0).random((600, 600)) < 0.5))
    assert plan.impl == "sdpa"
    assert "to cut its tiles" in plan.why_not["tiled"]
    plan = mw.plan(q[:, :, :64], q[:, :, :64], q[:, :, :64], CAUSAL & mw.sliding_window(4))
    assert plan.impl == "sdpa"
    assert "auto cuts tiles from 256 keys and 4194304 cells" in plan.why_not["tiled"]
    batch = torch.zeros(16, 8, 256, 8)
    plan = mw.plan(batch, batch, batch, CAUSAL & mw.sliding_window(4))
    assert plan.impl == {"compiled": "tiled", "operators": "sdpa"}[tiles]
    assert tiles == "compiled" or "from 513 keys where they are not compiled" in plan.why_not["tiled"]
    decode = (CAUSAL & mw.sliding_window(64)).bind(1, 2048, q_start=2047)
    many = torch.zeros(1, 256, 2048, 8)
    assert mw.plan(q[:, :, :1], q, q, decode).impl == "sdpa"
    assert mw.plan(many[:, :, :1], many, many, decode).impl == "tiled"


def test_auto_does_not_cut_what_is_cheaper_dense():
    rng = np.random.default_rng(0)
    shreds = mw.from_dense(rng.random((1024, 1024)) < 0.5).bind(1024)
    q, k, v = tensors(1024, 4, 2, 8, 8, torch.float32)
    start = time.perf_counter()
    assert "takes longer than SDPA" in mw.plan(q, k, v, shreds).why_not["tiled"]
    assert time.perf_counter() - start < 1
    for mask in (CAUSAL & mw.sliding_window(64), CAUSAL & mw.dilated(8, 8), CAUSAL & mw.document([256] * 4)):
        assert mw.plan(q, k, v, mask).impl == "tiled"


def test_arguments_that_do_not_fit():
    q, k, v = tensors(20, 4, 2, 8, 8, torch.float32)
    with pytest.raises(ArgumentError, match="share dtype"):
        mw.attention(q, k.double(), v, MASKS["window"], impl="tiled")
    with pytest.raises(ArgumentError, match="must agree"):
        mw.attention(q, k[:, :, 1:], v, MASKS["window"], q_start=0, impl="tiled")
    with pytest.raises(CannotExpress, match="are for the CPU"):
        mw.attention(*(x.to("meta") for x in (q, k, v)), MASKS["window"], impl="tiled")
    with pytest.raises(CannotExpress, match="float8"):
        mw.attention(*(x.to(torch.float8_e4m3fn) for x in (q, k, v)), MASKS["window"], impl="tiled")
