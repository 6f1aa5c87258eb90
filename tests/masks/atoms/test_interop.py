"""PyTorch's masks, converted and attended with, give what PyTorch's own modules give."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import maskwork as mw
from maskwork.errors import GridError, MaskError

INF = float("inf")
BATCH, HEADS, WIDTH = 2, 2, 8


@st.composite
def marks(draw: st.DrawFn, *shape: int, numbers: bool = True) -> torch.Tensor:
    """A mask of PyTorch's: bool (True = ignore), 0 and -inf, or (`numbers`) any numbers and -inf."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    ignored = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.6]))
    kind = draw(st.sampled_from(["bool", "-inf", "lowest", *(["numbers"] * numbers)]))
    if kind == "bool":
        return ignored
    values = torch.randn(shape, generator=generator) if kind == "numbers" else torch.zeros(shape)
    return values.masked_fill(ignored, torch.finfo(torch.float32).min if kind == "lowest" else -INF)


def projected(layer: torch.nn.MultiheadAttention, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """The module's queries of x, keys and values of y, `(B, heads, length, width)`."""
    weights, offsets = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    sources = zip((x, y, y), weights, offsets, strict=True)
    return [F.linear(z, w, o).unflatten(-1, (HEADS, -1)).transpose(1, 2) for z, w, o in sources]


@given(st.data(), st.integers(1, 5), st.integers(1, 5), st.booleans(), st.booleans())
def test_multihead_attention(data: st.DataObject, q_len: int, kv_len: int, need_weights: bool, batch_first: bool):
    attn_mask = data.draw(st.none() | marks(q_len, kv_len) | marks(BATCH * HEADS, q_len, kv_len))
    padding = data.draw(st.none() | marks(BATCH, kv_len))
    torch.manual_seed(q_len)
    layer = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first).eval()
    x, y = torch.randn(BATCH, q_len, WIDTH), torch.randn(BATCH, kv_len, WIDTH)
    arguments = [z if batch_first else z.transpose(0, 1) for z in (x, y, y)]
    # The module wants both masks of one dtype: bool becomes 0 and -inf, as the module itself converts it.
    theirs = [None if m is None else torch.zeros(m.shape).masked_fill(m, -INF) if m.dtype == torch.bool else m
              for m in (attn_mask, padding)]  # fmt: skip
    want = layer(*arguments, attn_mask=theirs[0], key_padding_mask=theirs[1], need_weights=need_weights)[0]
    mask, bias = mw.from_mha(attn_mask, padding, num_heads=HEADS)
    bound = mask.bind(q_len, kv_len, q_start=0, batch=BATCH, heads=HEADS)
    for impl in ("reference", "sdpa", "tiled"):
        heads = mw.attention(*projected(layer, x, y), bound, bias=bias, impl=impl)
        got = layer.out_proj(heads.transpose(1, 2).flatten(2))
        shown = torch.from_numpy(~bound.empty_rows()).expand(BATCH, HEADS, q_len).all(dim=1)
        want_here = want if batch_first else want.transpose(0, 1)
        torch.testing.assert_close(got[shown], want_here[shown], rtol=1e-4, atol=1e-5)


@given(st.data(), st.booleans())
def test_transformer_encoder_layer(data: st.DataObject, training: bool):
    """The layer in training, and its fused path in inference, which reads any number but 0 as *ignore*."""
    n = 5
    src_mask = data.draw(st.none() | marks(n, n, numbers=training))
    padding = data.draw(st.none() | marks(BATCH, n, numbers=training))
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, 16, dropout=0.0, batch_first=True).train(training)
    x = torch.randn(BATCH, n, WIDTH)
    mask, bias = mw.from_mha(src_mask, padding)
    bound = mask.bind(n, batch=BATCH)
    heads = mw.attention(*projected(layer.self_attn, x, x), bound, bias=bias)
    ours = layer.norm1(x + layer.self_attn.out_proj(heads.transpose(1, 2).flatten(2)))
    ours = layer.norm2(ours + layer.linear2(layer.activation(layer.linear1(ours))))
    if src_mask is not None and padding is not None and src_mask.dtype != padding.dtype:
        src_mask, padding = (
            torch.zeros(m.shape).masked_fill(m, -INF) if m.dtype == torch.bool else m for m in (src_mask, padding)
        )
    with torch.no_grad() if not training else torch.enable_grad():
        want = layer(x, src_mask, padding)
    shown = torch.from_numpy(~bound.empty_rows()).expand(BATCH, 1, n)[:, 0]
    torch.testing.assert_close(ours[shown], want[shown], rtol=1e-4, atol=1e-5)


@given(st.data(), st.sampled_from([(3, 4), (BATCH, 3, 4), (BATCH, HEADS, 3, 4), (1, 1, 3, 4)]))
def test_the_mask_of_sdpa(data: st.DataObject, shape: tuple[int, ...]):
    attn_mask = data.draw(marks(*shape))
    q, k, v = torch.randn(BATCH, HEADS, 3, 4), torch.randn(BATCH, HEADS, 4, 4), torch.randn(BATCH, HEADS, 4, 4)
    if attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros(shape).masked_fill(attn_mask, -INF)
    mask, bias = mw.from_additive(attn_mask)
    theirs = attn_mask[:, None] if len(shape) == 3 else attn_mask
    want = F.scaled_dot_product_attention(q, k, v, attn_mask=theirs)
    bound = mask.bind(3, 4, q_start=0, batch=BATCH, heads=HEADS)
    got = mw.attention(q, k, v, bound, bias=bias)
    shown = torch.from_numpy(~bound.empty_rows()).expand(BATCH, HEADS, 3)
    torch.testing.assert_close(got[shown], want[shown], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_lowest_number_hides_in_each_dtype(dtype: torch.dtype):
    tensor = torch.tensor([[0.0, torch.finfo(dtype).min], [-INF, 0.0]], dtype=dtype)
    mask, bias = mw.from_additive(tensor)
    assert mask == mw.from_dense([[1, 0], [0, 1]])
    assert bias is None
    if dtype in (torch.float32, torch.bfloat16):
        assert mw.from_additive(tensor.to(torch.float64))[0] == mask


def test_numbers_are_a_bias_and_keep_their_gradient():
    table = torch.tensor([[1.0, -INF], [0.0, -1e4]], requires_grad=True)
    mask, bias = mw.from_additive(table)
    assert mask == mw.from_dense([[1, 0], [1, 1]])
    assert bias.tolist() == [[1.0, 0.0], [0.0, -1e4]]
    bias.sum().backward()
    assert table.grad.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    # A learned bias that is still 0 is a bias.
    assert mw.from_additive(torch.zeros(2, 2, requires_grad=True))[1].requires_grad
    assert mw.from_additive(np.ones((2, 3), dtype=np.float32))[1].shape == (2, 3)
    assert mw.from_additive([[0.5, 0.0]])[0] == mw.full()


def test_a_hint_of_causality_is_checked():
    causal = torch.nn.Transformer.generate_square_subsequent_mask(4)
    assert mw.from_mha(causal, is_causal=True) == (mw.causal(), None)
    assert mw.from_mha(causal == -INF, [0, 0, 0, 1], is_causal=True)[0] == mw.causal() & mw.real([1, 1, 1, 0])
    with pytest.raises(MaskError, match=r"another cell at \(0, 0, 0, 1\); leave is_causal out"):
        mw.from_mha(torch.zeros(4, 4), is_causal=True)
    with pytest.raises(MaskError, match="other numbers than 0 and -inf"):
        mw.from_mha(causal + torch.eye(4), is_causal=True)


def test_nothing_masked_is_the_full_mask():
    for mask in (None, torch.zeros(3, 3), torch.zeros(3, 3, dtype=torch.bool)):
        assert mw.from_mha(mask) == (mw.full(), None)


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda: mw.from_mha(torch.ones(4, 3, 3, dtype=torch.bool)), "without num_heads"),
        (lambda: mw.from_mha(torch.ones(3, 3, 3, dtype=torch.bool), num_heads=2), "for 2 heads"),
        (lambda: mw.from_mha(torch.ones(3, 3, dtype=torch.int64)), "is bool"),
        (lambda: mw.from_mha(torch.ones(1, 1, 3, 3)), "must be 2-D or 3-D"),
        (lambda: mw.from_mha(key_padding_mask=torch.ones(1, 1, 3)), "must be 1-D or 2-D"),
        (lambda: mw.from_additive([[True]]), "mw.from_dense"),
        (lambda: mw.from_additive([[1, 0]]), "mw.from_dense"),
        (lambda: mw.from_additive([[float("nan")]]), "finite numbers and -inf, got nan"),
        (lambda: mw.from_additive([[INF]]), "finite numbers and -inf, got inf"),
        (lambda: mw.from_key_padding_mask([0.0, 1.0]), r"mw.from_mha\(key_padding_mask=m\)"),
        (lambda: mw.from_key_padding_mask(torch.tensor([2, 0])), "array != 0"),
    ],
)
def test_what_is_not_such_a_mask_is_refused(convert, message: str):
    with pytest.raises(MaskError, match=message):
        convert()


def test_a_row_for_all_queries_is_refused_with_more_queries():
    mask, _ = mw.from_additive(torch.tensor([0.0, -INF]).view(1, 1, 1, 2))
    with pytest.raises(GridError):
        mask.bind(2)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_padding_in_floating_point(shape: tuple[int, ...]):
    padding = torch.zeros(shape)
    padding[..., 1] = -INF
    marks = torch.ones(shape, dtype=torch.bool)
    marks[..., 1] = False
    assert mw.from_key_padding_mask(padding) == mw.real(marks)
    assert mw.from_mha(key_padding_mask=padding) == (mw.real(marks), None)
    padding[..., 2] = 0.5
    mask, bias = mw.from_mha(key_padding_mask=padding)
    assert mask == mw.real(marks)
    assert bias.shape == (shape[0] if len(shape) == 2 else 1, 1, 1, 3)
