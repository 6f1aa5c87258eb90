"""Where a checked call becomes the operator."""

from __future__ import annotations

import math

import torch

from ...lower import read_schedule, to_tiles
from .._bias import PositionBias
from .._call import Call
from ._op import tiled_attention

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

#: Up to as many keys, or fewer (B, H, Q, K) cells than that, no geometry pays for itself.
AUTO_KEYS, AUTO_CELLS = 512, 1 << 18

#: Above this part of all pairs, computed in tiles, dense SDPA is faster.
AUTO_SHARE = 0.7


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
    if keys <= AUTO_KEYS or cells < AUTO_CELLS:
        return f"auto cuts tiles above {AUTO_KEYS} keys and {AUTO_CELLS} cells, these are {keys} and {cells}"
    share = call.mask.memo(
        ("tiled share",), lambda: read_schedule(to_tiles(call.mask)).cells / math.prod(call.mask.shape)
    )
    if share > AUTO_SHARE:
        return f"its tiles hold {share:.0%} of all pairs, and SDPA is faster from {AUTO_SHARE:.0%}"
    return None


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
