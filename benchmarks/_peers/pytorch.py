"""PyTorch itself: `scaled_dot_product_attention`, its causal biases, and the modules that take inverted masks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

import maskwork as mw

from .table import GRIDS, Case, Peer, qkv

PEER = Peer("PyTorch", f"itself, {torch.__version__.partition('+')[0]}")

BATCH, HEADS, WIDTH = 2, 2, 8
INF = float("inf")


@PEER.row("SDPA `is_causal=True`", "mw.attention(q, k, v, causal(), q_start=0)", note="SDPA aligns at the start")
def is_causal() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        q, k, v = qkv(q_len, kv_len)
        yield {"theirs": F.scaled_dot_product_attention(q, k, v, is_causal=True), "q": q, "k": k, "v": v}


@PEER.row("`causal_upper_left(q_len, kv_len)`", "causal().bind(q_len, kv_len, q_start=0)")
def upper_left() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        yield {"theirs": causal_upper_left(q_len, kv_len)._materialize(), "q_len": q_len, "kv_len": kv_len}


@PEER.row("`causal_lower_right(q_len, kv_len)`", "causal().bind(q_len, kv_len, q_start=kv_len - q_len)")
def lower_right() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # more queries than keys: rows that see nothing, which are NaN in SDPA
            bias = causal_lower_right(q_len, kv_len)
        yield {"theirs": bias._materialize(), "q_len": q_len, "kv_len": kv_len}


def _random(shape: tuple[int, ...], kind: str, seed: int) -> torch.Tensor:
    """Return a mask of which no row is empty: bool (True = hidden), or numbers of which -inf hide."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.rand(shape, generator=generator) < 0.4
    hidden[..., 0] = False
    if kind == "bool":
        return hidden
    numbers = torch.randn(shape, generator=generator) if kind == "numbers" else torch.zeros(shape)
    return numbers.masked_fill(hidden, torch.finfo(torch.float32).min if kind == "lowest" else -INF)


@PEER.row("SDPA `attn_mask`, bool", "mw.attention(q, k, v, from_dense(attn_mask), q_start=0)", note="True = may attend")
def bool_mask() -> Iterator[Case]:
    for i, ((q_len, kv_len), lead) in enumerate(product(GRIDS, [(), (BATCH, 1), (BATCH, HEADS)])):
        q, k, v = qkv(q_len, kv_len)
        attn_mask = ~_random((*lead, q_len, kv_len), "bool", i)
        theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        yield {"theirs": theirs, "q": q, "k": k, "v": v, "attn_mask": attn_mask}


@PEER.row(
    "SDPA `attn_mask`, floating point",
    "mw.attention(q, k, v, (both := from_additive(attn_mask))[0], q_start=0, bias=both[1])",
    note="a mask and a bias. Three dimensions are (heads, queries, keys) there: pass `attn_mask[None]`",
)
def float_mask() -> Iterator[Case]:
    leads = [(), (BATCH, 1), (BATCH, HEADS)]
    for i, ((q_len, kv_len), lead, kind) in enumerate(product(GRIDS, leads, ["-inf", "lowest", "numbers"])):
        q, k, v = qkv(q_len, kv_len)
        attn_mask = _random((*lead, q_len, kv_len), kind, i)
        theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        yield {"theirs": theirs, "q": q, "k": k, "v": v, "attn_mask": attn_mask}


def _mha(q_len: int, kv_len: int, masks: dict[str, Any], need_weights: bool) -> Case:
    """Return the output of `nn.MultiheadAttention` before its last projection, and what its heads attend with."""
    torch.manual_seed(q_len)
    layer = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    with torch.no_grad():
        layer.out_proj.weight.copy_(torch.eye(WIDTH))
        layer.out_proj.bias.zero_()
        x, y = torch.randn(BATCH, q_len, WIDTH), torch.randn(BATCH, kv_len, WIDTH)
        sources = zip((x, y, y), layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3), strict=True)
        q, k, v = (F.linear(z, w, b).unflatten(-1, (HEADS, -1)).transpose(1, 2) for z, w, b in sources)
        out, _ = layer(x, y, y, need_weights=need_weights, **masks)
    return {"theirs": out.unflatten(-1, (HEADS, -1)).transpose(1, 2), "q": q, "k": k, "v": v, "num_heads": HEADS,
            "attn_mask": None, "key_padding_mask": None, **masks}  # fmt: skip


_FROM_MHA = (
    "mw.attention(q, k, v, (both := from_mha(attn_mask, key_padding_mask, num_heads=num_heads))[0], q_start=0, "
    "bias=both[1])"
)


@PEER.row(
    "`nn.MultiheadAttention` `attn_mask`",
    _FROM_MHA,
    note="in bool masks True means *ignore*; floating point masks are added. A mask and a bias",
)
def mha_attn_mask() -> Iterator[Case]:
    for i, ((q_len, kv_len), many, kind, need_weights) in enumerate(
        product(GRIDS, [False, True], ["bool", "-inf", "numbers"], [False, True])
    ):
        attn_mask = _random((*([BATCH * HEADS] if many else []), q_len, kv_len), kind, i)
        yield _mha(q_len, kv_len, {"attn_mask": attn_mask}, need_weights)


@PEER.row("`nn.MultiheadAttention` `key_padding_mask`, bool", "mw.attention(q, k, v, from_key_padding_mask(m))")
def mha_key_padding_mask() -> Iterator[Case]:
    for i, ((q_len, kv_len), kind) in enumerate(product(GRIDS, ["bool", "-inf"])):
        m = _random((BATCH, kv_len), kind, i)
        yield {**_mha(q_len, kv_len, {"key_padding_mask": m}, False), "m": m}


@PEER.row("both masks", _FROM_MHA, shown=False)
def mha_both_masks() -> Iterator[Case]:
    for i, ((q_len, kv_len), kind, need_weights) in enumerate(
        product(GRIDS, ["bool", "-inf", "numbers"], [False, True])
    ):
        attn_mask = _random((q_len, kv_len), kind, i)
        key_padding_mask = _random((BATCH, kv_len), kind, i + 1000)
        key_padding_mask[:, 0] = False if kind == "bool" else 0.0
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask}
        yield _mha(q_len, kv_len, masks, need_weights)


@PEER.row("`generate_square_subsequent_mask(n)`", "from_mha(attn_mask, is_causal=True)[0].bind(n)")
def square_subsequent() -> Iterator[Case]:
    for n in range(1, 9):
        attn_mask = torch.nn.Transformer.generate_square_subsequent_mask(n)
        yield {"theirs": attn_mask == 0, "attn_mask": attn_mask, "n": n}


@PEER.row(
    "`nn.TransformerEncoderLayer` in inference, numbers in `src_key_padding_mask`",
    "encoder(*from_mha(key_padding_mask=m), x)",
    why="its fused path reads every number but 0 as *ignore*, while the module in training adds it, as ours does",
    shown=False,
)
def fused_encoder() -> Iterator[Case]:
    for seed, training in product(range(4), [True, False]):
        torch.manual_seed(seed)
        layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, 16, dropout=0.0, batch_first=True).train(training)
        x = torch.randn(BATCH, 5, WIDTH)
        m = torch.randn(BATCH, 5)
        m[:, 0] = 0.0
        with torch.no_grad():
            theirs = layer(x, src_key_padding_mask=m)

        def encoder(mask: Any, bias: Any, x: torch.Tensor, layer: Any = layer) -> torch.Tensor:
            attention = layer.self_attn
            q, k, v = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
            heads = [z.unflatten(-1, (HEADS, -1)).transpose(1, 2) for z in (q, k, v)]
            out = attention.out_proj(mw.attention(*heads, mask, bias=bias).transpose(1, 2).flatten(2))
            x = layer.norm1(x + out)
            return layer.norm2(x + layer.linear2(layer.activation(layer.linear1(x))))

        yield {"theirs": theirs, "m": m, "x": x, "encoder": encoder}
