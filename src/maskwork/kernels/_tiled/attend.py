"""Where a checked call becomes the operator."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ...masks import BoundMask
from .._bias import PositionBias
from .._call import Call
from . import native as _native
from .op import tiled_attention
from .schedule import read_schedule, to_tiles

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class Limits(NamedTuple):
    """Where tiles pay: from how many keys on, and up to which share of all pairs in tiles."""

    keys: int
    share: float


#: Of compiled tiles, and of those made of PyTorch's operators; measured on two AVX2 cores.
COMPILED, OPERATORS = Limits(256, 1.05), Limits(513, 0.7)

#: From how many (B, H, Q, K) cells tiles pay: cutting takes a millisecond or two, whatever the size, so that sequences
#: of up to `SHORT_KEYS` need a large batch.
CELLS, SHORT_KEYS, SHORT_CELLS = 1 << 18, 512, 1 << 22

#: Cutting tiles costs as much as dense attention over so many pairs for each run of each row, divided by the layers
#: and passes that a schedule usually serves. A plane (one batch row and head) of its own costs as much as 512 runs.
AUTO_PAIRS_PER_RUN = 512
_RUNS_PER_PLANE = 512


def cannot(call: Call) -> str | None:
    """Why tiles cannot express the call, or None."""
    if call.q.device.type != "cpu":
        return f"its tiles are for the CPU, q is on {call.q.device.type}"
    if call.q.dtype not in _DTYPES:
        return f"it takes float16, bfloat16, float32 and float64, not {call.q.dtype}"
    return None


def not_worth_it(call: Call) -> str | None:
    """Why `auto` leaves it alone although it could, or None."""
    keys, cells = call.k.shape[2], math.prod(call.q.shape[:3]) * call.k.shape[2]
    least = CELLS if keys > SHORT_KEYS else SHORT_CELLS
    # First of all: what is too small for both is not worth the two seconds that compiling may take.
    if keys < COMPILED.keys or cells < least:
        return f"auto cuts tiles from {COMPILED.keys} keys and {least} cells, these are {keys} and {cells}"
    limits = COMPILED if _compiled(call) else OPERATORS
    if keys < limits.keys:
        return f"auto cuts tiles from {limits.keys} keys where they are not compiled, these are {keys}"
    # Asked before the tiles are cut: where every row is in shreds, cutting alone takes longer than dense attention.
    runs = call.mask._lowerings.get(("runs to cut",), lambda: _runs_to_cut(call.mask))
    if cells < AUTO_PAIRS_PER_RUN * runs:
        return f"to cut its tiles from {runs} runs takes longer than SDPA"
    share = call.mask._lowerings.get(
        ("tiled share",), lambda: read_schedule(to_tiles(call.mask)).cells / math.prod(call.mask.shape)
    )
    if share > limits.share:
        return f"its tiles hold {share:.0%} of all pairs, and SDPA is faster from {limits.share:.0%}"
    return None


def beats_is_causal(call: Call) -> bool:
    """Whether it is faster than SDPA where that needs no mask: for the causal triangle, which SDPA computes by half."""
    return not_worth_it(call) is None and _compiled(call)


def _compiled(call: Call) -> bool:
    plain = call.bias is None and not call.dropout_p
    return plain and _native.available(torch.promote_types(call.q.dtype, torch.float32))


def _runs_to_cut(mask: BoundMask) -> int:
    """Runs of keys over all rows, and what each plane costs in such."""
    spans = mask.spans
    planes = spans.shape[0] * spans.shape[1]
    # one row of a plane that is the same for all rows is stored once
    rows = spans.planes_starts.shape[-1]
    repeats = mask.grid.q_len / rows if rows else 0
    used = int((spans.planes_starts < spans.planes_ends).sum())
    return int(used * repeats) + _RUNS_PER_PLANE * (planes - 1)


def attend(call: Call) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Output `(B, Hq, Q, Dv)` and, on request, the log-sum-exp `(B, Hq, Q)`."""
    seed = None
    if call.dropout_p:
        seed = torch.randint(2**62, (), generator=call.generator)
    bias, by_distance = call.bias, isinstance(call.bias, PositionBias)
    if isinstance(bias, PositionBias):
        bias = bias.by_distance(call.mask.grid.q_start or 0, call.q.shape[2], call.k.shape[2])
    elif bias is not None:
        bias = bias.reshape((1,) * (4 - bias.ndim) + bias.shape)
    out, lse = tiled_attention(
        call.q, call.k, call.v, to_tiles(call.mask), bias, by_distance, call.scale, call.dropout_p, seed,
        call.return_lse,
    )  # fmt: skip
    return out, lse if call.return_lse else None
