"""`mw.nn.Attention` against torch's own module with the same weights, and against itself: cached, cut, saved, moved."""

import copy
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.cache import KVCache
from maskwork.errors import ArgumentError, GridError
from maskwork.nn import Attention, Rotary

WINDOW = mw.causal() & (mw.sliding_window(4) | mw.sinks(1))


def x_of(batch: int = 2, length: int = 9, width: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed))


def make(*args: object, **named: object) -> Attention:
    torch.manual_seed(0)
    return Attention(*args, **named).eval()  # type: ignore[arg-type]


def torchs(layer: Attention) -> torch.nn.MultiheadAttention:
    """torch's module with this one's weights."""
    width, context_width = layer.width, layer.context_width
    other = torch.nn.MultiheadAttention(
        width, layer.heads, kdim=context_width, vdim=context_width, bias=layer.out.bias is not None, batch_first=True
    ).eval()
    with torch.no_grad():
        if context_width is None:
            other.in_proj_weight.copy_(layer.qkv.weight)
            biases = layer.qkv.bias
        else:
            key, value = layer.kv.weight.chunk(2)
            if other.in_proj_weight is None:
                other.q_proj_weight.copy_(layer.q.weight)
                other.k_proj_weight.copy_(key)
                other.v_proj_weight.copy_(value)
            else:
                other.in_proj_weight.copy_(torch.cat([layer.q.weight, key, value]))
            biases = None if layer.q.bias is None else torch.cat([layer.q.bias, layer.kv.bias])
        if biases is not None:
            other.in_proj_bias.copy_(biases)
            other.out_proj.bias.copy_(layer.out.bias)
        other.out_proj.weight.copy_(layer.out.weight)
    return other


def ignored(mask: mw.Mask, q_len: int, kv_len: int, q_start: int = 0) -> torch.Tensor:
    """The mask as torch's module wants it: True = may NOT attend."""
    return ~torch.from_numpy(mask.bind(q_len, kv_len, q_start=q_start).dense())[0, 0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mask", [None, mw.causal(), WINDOW])
def test_self_attention_is_that_of_torch(bias: bool, mask: mw.Mask | None):
    layer, x = make(24, 4, bias=bias), x_of()
    attn_mask = None if mask is None else ignored(mask, 9, 9)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = layer(ours, mask=mask)
    expected, _ = torchs(layer)(theirs, theirs, theirs, attn_mask=attn_mask, need_weights=False)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("context_width", [24, 10])
@pytest.mark.parametrize(("q_len", "kv_len"), [(5, 9), (9, 5), (1, 7), (6, 1)])
def test_cross_attention_is_that_of_torch(bias: bool, context_width: int, q_len: int, kv_len: int):
    layer = make(24, 4, context_width=context_width, bias=bias)
    x, context = x_of(length=q_len), x_of(length=kv_len, width=context_width, seed=1)
    lengths = [kv_len, max(kv_len - 3, 1)]
    padded = torch.arange(kv_len) >= torch.tensor(lengths)[:, None]  # True = ignore
    expected, _ = torchs(layer)(x, context, context, key_padding_mask=padded, need_weights=False)
    out = layer(x, context=context, mask=mw.padding(lengths))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    mask = mw.band(2, 2)
    expected, _ = torchs(layer)(x, context, context, attn_mask=ignored(mask, q_len, kv_len), need_weights=False)
    out = layer(x, context=context, mask=mask, q_start=0)
    # torch's module is NaN where a query sees nothing; ours is the projection of 0
    sees = torch.from_numpy(~mask.bind(q_len, kv_len, q_start=0).empty_rows())[0, 0]
    torch.testing.assert_close(out[:, sees], expected[:, sees], rtol=1e-5, atol=1e-6)
    nothing = torch.zeros(24) if layer.out.bias is None else layer.out.bias
    assert (out[:, ~sees] == nothing).all()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_heads_are_repeated_heads(kv_heads: int):
    layer, whole = make(24, 4, kv_heads, head_dim=5), make(24, 4, head_dim=5)
    q, k, v = layer.qkv.weight.unflatten(0, (-1, 5)).split([4, kv_heads, kv_heads])
    with torch.no_grad():
        repeated = [q, k.repeat_interleave(4 // kv_heads, 0), v.repeat_interleave(4 // kv_heads, 0)]
        whole.qkv.weight.copy_(torch.cat(repeated).flatten(0, 1))
        whole.out.weight.copy_(layer.out.weight)
    torch.testing.assert_close(layer(x_of(), mask=WINDOW), whole(x_of(), mask=WINDOW))


@pytest.mark.parametrize("head_dim", [1, 5, 7, 32])
def test_head_dim_may_be_any(head_dim: int):
    layer = make(20, 3, head_dim=head_dim)
    assert layer(x_of(width=20), mask=mw.causal()).shape == (2, 9, 20)
    assert layer.out.weight.shape == (20, 3 * head_dim)


@pytest.mark.parametrize("cross", [False, True])
def test_every_weight_has_a_gradient(cross: bool):
    layer = make(24, 4, 2, bias=True, context_width=10 if cross else None)
    context = x_of(length=5, width=10).requires_grad_() if cross else None
    table = torch.nn.Parameter(torch.zeros(8, 4))
    bias = mw.relative_bias(table, bidirectional=True)
    x = x_of().requires_grad_()
    layer(x, context=context, mask=mw.causal(), q_start=0, bias=bias).square().sum().backward()
    given = [x, table, *layer.parameters(), *([context] if cross else [])]
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in given)


@pytest.mark.parametrize("steps", [(9,), (1,) * 9, (4, 1, 3, 1), (0, 9), (8, 1)])
@pytest.mark.parametrize("bias", [None, mw.alibi(4)])
@pytest.mark.parametrize("kept", [False, True])
@torch.no_grad()
def test_in_steps_with_a_cache_it_is_one_pass(steps: tuple[int, ...], bias: object, kept: bool):
    layer = make(24, 4, 2, precompute=(WINDOW, 16) if kept else None)
    mask = None if kept else WINDOW
    rotary = Rotary(6, 16)
    x = x_of()
    whole = layer(x, mask=WINDOW, bias=bias, rotary=rotary(torch.arange(9)[None]))
    cache = KVCache(layers=1, batch=2, kv_heads=2, capacity=12, head_dim=6)
    parts = []
    for start, length in zip(itertools.accumulate(steps, initial=0), steps, strict=False):
        positions = torch.arange(start, start + length)[None]
        part = x[:, start : start + length]
        parts.append(layer(part, mask=mask, bias=bias, rotary=rotary(positions), cache=cache))
        cache.advance(length)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_context_is_given_once_to_a_cache():
    layer = make(24, 4, 2, context_width=10)
    x, context = x_of(length=3), x_of(length=5, width=10)
    mask = mw.padding([5, 2])
    cache = KVCache(layers=1, batch=2, kv_heads=2, capacity=5, head_dim=6)
    first = layer(x[:, :1], context=context, mask=mask, cache=cache)
    cache.advance(5)
    rest = [layer(x[:, i : i + 1], mask=mask, cache=cache) for i in (1, 2)]
    torch.testing.assert_close(torch.cat([first, *rest], 1), layer(x, context=context, mask=mask))


def test_rotary_and_alibi_make_order_matter():
    layer, x = make(24, 4), x_of()
    swapped = x[:, [1, 0, *range(2, 9)]]
    rotary = Rotary(6, 16)(torch.arange(9)[None])
    last = {}
    for name, named in {"nothing": {}, "rotary": {"rotary": rotary}, "alibi": {"bias": mw.alibi(4)}}.items():
        last[name] = [layer(y, **named)[:, -1] for y in (x, swapped)]
    torch.testing.assert_close(*last["nothing"])
    assert not torch.allclose(*last["rotary"], atol=1e-4)
    assert not torch.allclose(*last["alibi"], atol=1e-4)


def test_cross_attention_turns_both_sides_by_their_own_positions():
    layer = make(24, 4, context_width=24)
    rotary, x, context = Rotary(6, 64), x_of(length=3), x_of(length=5, seed=1)

    def at(q: int, k: int) -> torch.Tensor:
        turns = rotary(torch.arange(q, q + 3)[None]), rotary(torch.arange(k, k + 5)[None])
        return layer(x, context=context, rotary=turns[0], context_rotary=turns[1])

    torch.testing.assert_close(at(4, 1), at(30, 27), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(at(4, 1), at(5, 1), atol=1e-4)
    with pytest.raises(ArgumentError, match="both or neither"):
        layer(x, context=context, rotary=rotary(torch.arange(3)[None]))


def test_scale_and_dropout():
    layer, x = make(24, 4, scale=0.0), x_of()
    uniform = layer(x)
    torch.testing.assert_close(uniform, uniform[:, :1].expand_as(uniform))  # each key weighs the same
    layer = make(24, 4, dropout_p=0.5)
    assert torch.equal(layer(x), layer(x))
    layer.train()
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("kept", [False, True])
def test_no_position_and_one_position(length: int, kept: bool):
    layer = make(24, 4, 2, bias=True, precompute=(WINDOW, 16) if kept else None)
    x = x_of(length=length).requires_grad_()
    out = layer(x, mask=None if kept else WINDOW)
    assert out.shape == (2, length, 24)
    out.sum().backward()
    assert x.grad.shape == x.shape
    cross = make(24, 4, 2, bias=True, context_width=10)
    out = cross(x_of(), context=x_of(length=length, width=10))
    assert out.shape == (2, 9, 24)
    if not length:
        assert (out == cross.out.bias).all()  # no key at all: every row is empty
    assert layer(x[:0], mask=mw.causal()).shape == (0, length, 24)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_moves_to_another_dtype(dtype: torch.dtype):
    layer = make(24, 4, 2, precompute=(WINDOW, 16)).to(dtype)
    out = layer(x_of().to(dtype))
    assert out.dtype == dtype
    assert layer.precomputed.starts.dtype == torch.int32
    torch.testing.assert_close(out.float(), make(24, 4, 2)(x_of(), mask=WINDOW), rtol=0.05, atol=0.05)


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # see tests/kernels/test_bias.py
def test_it_may_be_compiled():
    layer = make(24, 4, 2, precompute=(WINDOW, 16))
    compiled = torch.compile(layer, backend="eager")
    for length in (9, 5):
        torch.testing.assert_close(compiled(x_of(length=length)), layer(x_of(length=length)))


def test_names_of_weights():
    assert list(make(24, 4, 2, bias=True).state_dict()) == ["qkv.weight", "qkv.bias", "out.weight", "out.bias"]
    assert list(make(24, 4, 2, context_width=10).state_dict()) == ["q.weight", "kv.weight", "out.weight"]
    kept = make(24, 4, precompute=(mw.causal(), 8))
    assert list(kept.state_dict()) == ["qkv.weight", "out.weight"]


def test_a_deep_copy_and_a_state_dict_are_the_same_layer():
    layer = make(24, 4, 2, bias=True, precompute=(WINDOW, 16), persistent=True)
    expected = layer(x_of())
    assert torch.equal(copy.deepcopy(layer)(x_of()), expected)
    torch.manual_seed(1)
    other = Attention(24, 4, 2, bias=True, precompute=(WINDOW, 16), persistent=True).eval()
    assert not torch.equal(other(x_of()), expected)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x_of()), expected)


def test_mistakes_say_rule_finding_and_mend():
    for args in ((24, 5), (24, 4, 3)):
        with pytest.raises(ArgumentError, match="width must be a multiple of heads"):
            Attention(*args)
    for args, name in (((24, 0), "heads"), ((24, 4, 0), "kv_heads"), ((0, 4), "width")):
        with pytest.raises(ArgumentError, match=f"^{name} must be at least 1, got 0"):
            Attention(*args)
    layer, cross = make(24, 4), make(24, 4, context_width=10)
    with pytest.raises(ArgumentError, match=r"x must be \(batch, length, 24\), got \(9, 24\)"):
        layer(x_of()[0])
    with pytest.raises(ArgumentError, match=r"context must be \(batch, length, 10\)"):
        cross(x_of(), context=x_of())
    with pytest.raises(ArgumentError, match="made for self-attention, got a context"):
        layer(x_of(), context=x_of())
    with pytest.raises(ArgumentError, match="needs a context"):
        cross(x_of())
    with pytest.raises(GridError, match="q_start=0"):
        cross(x_of(), context=x_of(length=5, width=10), mask=mw.causal())
    with pytest.raises(ArgumentError, match=r"made for q's heads"):
        layer(x_of(), bias=mw.alibi(3))
    with pytest.raises(ArgumentError, match=r"raw array.*mw\.from_dense.*mw\.real"):
        layer(x_of(), mask=torch.ones(9, 9, dtype=torch.bool))
    with pytest.raises(ArgumentError, match=r"pass mw\.parse"):
        layer(x_of(), mask="causal")


def test_a_function_may_be_passed_that_attends_in_place_of_ours():
    layer, x = make(24, 4, 2), x_of()
    calls = []

    def attend(*args: object, **options: object) -> torch.Tensor:
        calls.append((args, options))
        return mw.attention(*args, **options)

    assert torch.equal(layer(x, mask=WINDOW, attend=attend), layer(x, mask=WINDOW))
    (((q, k, v, mask), options),) = calls
    assert (q.shape, k.shape, v.shape) == ((2, 4, 9, 6), (2, 2, 9, 6), (2, 2, 9, 6))
    assert mask == WINDOW
    assert options["impl"] == "auto"


@pytest.mark.parametrize("module", [lambda n: Attention(24, n).heads, lambda n: KVCache(1, 1, 1, n, 4).capacity])
def test_integers_of_numpy_are_integers(module: Callable[[object], int]):
    assert module(np.int64(4)) == 4
    for wrong in (True, 4.0, "4", None):
        with pytest.raises(ArgumentError, match="must be an integer, got"):
            module(wrong)


@pytest.mark.filterwarnings("ignore")
def test_a_precomputed_mask_exports_and_compiles_into_one_graph():
    layer = mw.nn.Attention(16, 4, precompute=(mw.causal() & mw.sliding_window(3), 32))
    x = torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(layer, (x,))
    wanted = layer(x, mask=mw.causal() & mw.sliding_window(3))
    torch.testing.assert_close(exported.module()(x), wanted)
    torch.testing.assert_close(layer(x), wanted)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), wanted)
    torch.testing.assert_close(layer(x[:, :7]), wanted[:, :7])  # another grid is not the stored one
