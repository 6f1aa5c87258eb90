"""Everything that users pass, to each implementation, against the float64 reference."""

import math
from collections.abc import Callable

import pytest
import torch

import maskwork as mw
from maskwork.errors import CannotExpress
from maskwork.kernels._tiled.schedule import read_schedule, to_tiles

IMPLS = ("reference", "sdpa", "tiled")
CAUSAL = mw.causal()
MASKS = {
    "sinks": CAUSAL & (mw.sliding_window(24) | mw.sinks(3)),
    "documents": CAUSAL & mw.document([30, 1, 60, 59]),
    "empty rows": CAUSAL - mw.sinks(20),
    "rows and heads": mw.per_head([CAUSAL, mw.full(), mw.sliding_window(5), mw.band(9, 2)]) & mw.padding([150, 77]),
}
Tensors = list[torch.Tensor]


def tensors(
    q_len: int = 150, kv_len: int | None = None, *, heads: int = 4, kv_heads: int = 2, dim: int = 8,
    v_dim: int | None = None, dtype: torch.dtype = torch.float32,
) -> Tensors:  # fmt: skip
    g = torch.Generator().manual_seed(0)
    kv_len = q_len if kv_len is None else kv_len
    shapes = (
        (2, heads, q_len, dim),
        (2, kv_heads, kv_len, dim),
        (2, kv_heads, kv_len, dim if v_dim is None else v_dim),
    )
    return [torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes]


def outcome(impl: str, qkv: Tensors, mask: mw.Mask | mw.BoundMask | None, **kw: object) -> Tensors:
    """Output and gradients, in float64."""
    leaves = [x.detach().requires_grad_() for x in qkv]
    out = mw.attention(*leaves, mask, impl=impl, **kw)
    assert out.dtype == qkv[0].dtype
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [x.double() for x in (out.detach(), *torch.autograd.grad(out, leaves, towards.to(out.dtype)))]


def same(impl: str, qkv: Tensors, mask: mw.Mask | mw.BoundMask | None, **kw: object) -> None:
    wanted = outcome("reference", [x.double() for x in qkv], mask, **kw)
    # sums of a few hundred products, each rounded once; 16-bit numbers are rounded again where they come out
    tolerance = max(64 * torch.finfo(qkv[0].dtype).eps, 1e-9)
    for a, b in zip(outcome(impl, qkv, mask, **kw), wanted, strict=True):
        size = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, size))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("dim", [1, 16, 31, 64, 80, 127, 128, 255, 256])
def test_widths_of_heads(impl: str, dim: int):
    same(impl, tensors(dim=dim), MASKS["sinks"])
    same(impl, tensors(70, dim=dim, v_dim=max(dim // 2, 1)), MASKS["empty rows"])


@pytest.mark.parametrize("dim", [16, 33, 80, 255, 256])
def test_widths_of_heads_where_the_fused_kernel_works(dim: int):
    mask = CAUSAL | mw.prefix(1030)
    assert read_schedule(to_tiles(mask.bind(1560))).segments
    same("tiled", [x[:1] for x in tensors(1560, heads=1, kv_heads=1, dim=dim)], mask)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", MASKS)
def test_dtypes(name: str, dtype: torch.dtype, impl: str):
    same(impl, tensors(dtype=dtype), MASKS[name])


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1), (6, 3), (1, 1)])
def test_grouped_query_heads(heads: tuple[int, int], impl: str):
    same(impl, tensors(heads=heads[0], kv_heads=heads[1]), MASKS["documents"])


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", MASKS)
def test_scale(name: str, impl: str):
    for scale in (0.0, 0.1, -1.0):
        same(impl, tensors(), MASKS[name], scale=scale)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "length before heads": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "every other number": lambda x: torch.stack([x, x * 9], -1)[..., 0],
    "one head for all": lambda x: x[:, :1].expand_as(x),
}


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_not_contiguous(layout: str, impl: str):
    same(impl, [LAYOUTS[layout](x) for x in tensors()], MASKS["sinks"])


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("q_len", "kv_len"), [(0, 0), (0, 3), (3, 0), (1, 1), (1, 65), (2, 1)])
@pytest.mark.parametrize("mask", [CAUSAL, mw.full(), mw.empty(), None])
def test_lengths_of_nothing_and_one(mask: mw.Mask | None, q_len: int, kv_len: int, impl: str):
    same(impl, tensors(q_len, kv_len), mask, q_start=max(kv_len - q_len, 0))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", MASKS)
def test_chunks_of_a_prefill_and_single_queries_are_rows_of_the_whole(name: str, impl: str):
    q, k, v = tensors()
    bound = MASKS[name].bind(150, batch=2, heads=4)
    whole = mw.attention(q, k, v, bound, impl=impl)
    for q0, q1 in ((0, 64), (64, 150), (149, 150), (70, 71), (0, 1)):
        chunk = mw.attention(q[:, :, q0:q1], k, v, bound.rows(q0, q1), impl=impl)
        torch.testing.assert_close(chunk, whole[:, :, q0:q1], rtol=1e-4, atol=1e-5)
        if name != "rows and heads":  # keys that are not there yet change nothing under a causal mask
            cut = MASKS[name].bind(q1 - q0, q1, q_start=q0)
            chunk = mw.attention(q[:, :, q0:q1], k[:, :, :q1], v[:, :, :q1], cut, impl=impl)
            torch.testing.assert_close(chunk, whole[:, :, q0:q1], rtol=1e-4, atol=1e-5)
            same(impl, [q[:, :, q0:q1], k[:, :, :q1], v[:, :, :q1]], cut)


@pytest.mark.parametrize("impl", ["sdpa", "auto"])
def test_dropout_without_a_generator_is_torchs_own(impl: str):
    q, k, v = tensors(200)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(mw.attention(q, k, torch.ones_like(v), MASKS["sinks"], dropout_p=0.25, impl=impl))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("impl", ["reference", "tiled"])
def test_dropout_has_the_distribution_of_sdpas(impl: str):
    """Uniform weights over 64 keys: how many are kept is binomial, and what is kept is scaled up."""
    p, n = 0.25, 64
    q, ones = torch.zeros(2, 4, 640, 4), torch.ones(2, 4, 640, 4)
    bound = mw.chunked(n).bind(640)
    torch.manual_seed(0)
    ours, theirs = (
        mw.attention(q, q, ones, bound, dropout_p=p, impl=name)[..., 0] * n * (1 - p) for name in (impl, "sdpa")
    )
    for kept in (ours, theirs):
        torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-3)
        m, variance = kept.numel(), n * p * (1 - p)
        # five standard deviations of a mean, and of a variance, of m such counts
        assert abs(kept.mean() - n * (1 - p)) < 5 * math.sqrt(variance / m)
        assert abs(kept.var() - variance) < 5 * variance * math.sqrt(2 / m)


@pytest.mark.parametrize("impl", IMPLS)
def test_a_second_derivative_is_right_or_raises(impl: str):
    q, k, v = (x.requires_grad_() for x in tensors(12, dim=4, dtype=torch.float64))
    (grad,) = torch.autograd.grad(mw.attention(q, k, v, MASKS["sinks"], impl=impl).square().sum(), q, create_graph=True)
    if impl == "reference":
        attend = lambda q: mw.attention(q, k.detach(), v.detach(), MASKS["sinks"], impl=impl)  # noqa: E731
        assert torch.autograd.gradgradcheck(attend, q, fast_mode=True)
    else:
        with pytest.raises((CannotExpress, RuntimeError), match=r"differentiates once|derivative .* not implemented"):
            torch.autograd.grad(grad.sum(), k)


def test_binding_and_lowering_are_paid_once(monkeypatch: pytest.MonkeyPatch):
    from maskwork.kernels._tiled import schedule as _tiles
    from maskwork.masks import _bound

    made: list[str] = []
    for module, name in ((_bound, "evaluate"), (_tiles, "_encode")):
        inner = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, inner=inner: made.append(name) or inner(*a))
    bound = (CAUSAL & mw.sliding_window(32)).bind(700)
    q, k, v = (x.requires_grad_() for x in tensors(700, dim=4))
    for _ in range(3):
        mw.attention(q, k, v, bound).sum().backward()
    assert made == ["evaluate", "_encode"]
