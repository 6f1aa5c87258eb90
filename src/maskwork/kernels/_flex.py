"""PyTorch's FlexAttention over the spans' `BlockMask`: empty blocks are skipped, and a new mask compiles nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from .. import spans as sp
from ..lower import lowered, to_block_mask
from ..masks import BoundMask
from ._call import Call, Implementation
from ._reference import REFERENCE
from ._sdpa import SDPA, empty_rows, hide_unseen, refusal, shortcut
from ._sinks import add_sinks

#: Fewest (Q x K) pairs for which `auto` compiles: below, dense SDPA is done before a compiler has started.
AUTO_PAIRS = 1 << 22

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _cannot(call: Call) -> str | None:
    """Return why FlexAttention cannot compute the call, or None."""
    device = call.q.device.type
    if call.transforms:
        return refusal(call)
    if call.bias is not None:
        return "it takes no bias"
    if call.dropout_p:
        return "it has no dropout"
    if call.q.dtype not in _DTYPES:
        return f"its kernels take float32, float16 and bfloat16, not {call.q.dtype}"
    if device == "cuda":
        small = min(call.q.shape[-1], call.v.shape[-1])
        return f"its CUDA kernels want head dimensions of at least 16, got {small}" if small < 16 else None
    if device != "cpu":
        return f"it is not tried on {device}"
    if call.return_lse:
        return "on CPU it does not return the log-sum-exp"
    if call.needs_gradients:
        return "on CPU it has no backward pass; call it under torch.no_grad()"
    return _no_cpu_kernel()


def _not_worth_it(call: Call) -> str | None:
    """Return why `auto` skips FlexAttention although it could compute the call, or None.

    On CPU a compilation takes 10 to 20 seconds and there is no backward pass, so callers choose it by name.
    """
    if call.q.device.type != "cuda":
        return "auto compiles it on CUDA only; ask for it by name"
    pairs = call.q.shape[2] * call.k.shape[2]
    if pairs < AUTO_PAIRS:
        return f"auto compiles it from {AUTO_PAIRS} (query, key) pairs, this is {pairs}"
    # Without a mask, SDPA's own kernels are as fast and need no compilation.
    return "SDPA needs no mask for this one" if SDPA.cannot(call) is None and shortcut(call) is not None else None


def _attend(call: Call) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return output `(B, Hq, Q, Dv)` and, on request, the log-sum-exp `(B, Hq, Q)` in float32.

    Each class of shapes is compiled once: the shapes and dtype of q, k and v, whether the mask differs along batch
    or heads, its runs a row rounded up to a power of two, and, for sequences of more than 64 blocks, its widest row
    of blocks likewise; and each softcap. The uncompiled form, which holds all scores, never runs.
    """
    if not call.q.numel() or not call.k.numel() or not call.v.numel():
        return REFERENCE.attend(call)  # no cell to compute, and no kernel for empty tensors
    device = call.q.device
    # Dynamo guards strides like shapes. Contiguous tensors are one class, however the caller cut q, k and v out of a
    # projection, and whether or not hiding keys copied them.
    q, k, v = (x.contiguous() for x in (call.q, *hide_unseen(call)))
    # On CUDA sinks follow from the log-sum-exp; the CPU's kernel has none, and gets a key more.
    sinks = call.sinks.detach().float() if call.sinks is not None and device.type == "cpu" else None
    if sinks is None:
        mask = call.mask
    else:
        mask = lowered(call.mask, ("with sink key",), lambda: _with_sink_key(call.mask))
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
    block_mask = to_block_mask(mask, device=device)
    with _any_number_of_classes():
        if device.type == "cpu":
            # one guard fewer: with and without gradients are the same class
            with torch.no_grad():
                out, lse = _compiled()(
                    q.detach(), k.detach(), v.detach(), block_mask, call.scale, call.softcap, sinks, call.return_lse
                )
        else:
            want_lse = call.return_lse or call.sinks is not None
            out, lse = _compiled()(q, k, v, block_mask, call.scale, call.softcap, None, want_lse)
    empty = empty_rows(call)
    if empty is not None:
        out = out.masked_fill(empty.unsqueeze(-1), 0.0)
        lse = lse if lse is None else lse.masked_fill(empty, float("-inf"))
    return (out, lse) if call.sinks is None or lse is None else add_sinks(out, lse, call.sinks)


FLEX = Implementation("flex", _attend, _cannot, _not_worth_it, "slower")


def _flex(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    block_mask: BlockMask,
    scale: float,
    softcap: float | None,
    sinks: torch.Tensor | None,
    return_lse: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Call FlexAttention: the function that is compiled. With `sinks`, the last key is theirs."""
    gqa, last = q.shape[1] != k.shape[1], k.shape[2] - 1

    def modify(score: torch.Tensor, b: torch.Tensor, h: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        if softcap is not None:
            score = softcap * torch.tanh(score / softcap)
        return score if sinks is None else torch.where(j == last, sinks[h], score)

    score_mod = None if softcap is None and sinks is None else modify
    if not return_lse:
        return flex_attention(q, k, v, score_mod, block_mask=block_mask, scale=scale, enable_gqa=gqa), None
    out, aux = flex_attention(
        q, k, v, score_mod, block_mask=block_mask, scale=scale, enable_gqa=gqa, return_aux=AuxRequest(lse=True)
    )
    return out, aux.lse


def _with_sink_key(mask: BoundMask) -> BoundMask:
    """Return the mask with one key more behind the last, which every query sees."""
    spans, keys = mask.spans, mask.grid.kv_len
    used = spans.planes_starts < spans.planes_ends
    starts, ends = (
        np.where(used, plane, keys + 1).astype(np.int32) for plane in (spans.planes_starts, spans.planes_ends)
    )
    every = sp.single(np.full(spans.shape, keys), np.full(spans.shape, keys + 1), keys + 1)
    wider = sp.union(sp.Spans(starts, ends, keys + 1), every)
    return BoundMask(mask.mask, replace(mask.grid, kv_len=keys + 1), wider)


@cache
def _compiled() -> Callable[..., tuple[torch.Tensor, torch.Tensor | None]]:
    # Static shapes, so that the kernels are those that FlexAttention is tuned for. Without a full graph, PyTorch would
    # fall back to the uncompiled form, which holds all scores, with no more than a warning.
    return torch.compile(_flex, fullgraph=True, dynamic=False)


def _any_number_of_classes() -> AbstractContextManager[Any]:
    # Dynamo gives up after 8 compilations of one function, and a full graph then raises: the ninth length of a batch.
    return torch._dynamo.config.patch(recompile_limit=1 << 20, accumulated_recompile_limit=1 << 20)


@cache
def _no_cpu_kernel() -> str | None:
    """Return why FlexAttention has no kernel on this CPU, or None."""
    if sys.platform == "darwin" or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        return "on CPU its kernel needs Linux or Windows and AVX2"
    compiler = os.environ.get("CXX", "cl" if sys.platform == "win32" else "g++")
    if shutil.which(compiler) is None:
        return f"on CPU it is compiled when first used, and there is no C++ compiler {compiler!r} (CXX names another)"
    return None
