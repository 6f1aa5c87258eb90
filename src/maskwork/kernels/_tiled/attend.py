"""`TILED`: where a checked call becomes the operator, and when `auto` takes tiles."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ...lower import lowered
from ...masks import BoundMask
from .._bias import PositionBias
from .._call import Call, Implementation
from .._sdpa import SDPA, refusal, shortcut
from .._sinks import add_sinks
from . import native as _native
from .op import tiled_attention
from .schedule import count_cells, read_schedule, to_tiles

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class Limits(NamedTuple):
    """Limits within which tiles are faster than SDPA.

    Attributes:
        keys: fewest keys.
        share: largest share of all (query, key) pairs that lie in tiles.
    """

    keys: int
    share: float


#: Of compiled tiles, and of tiles in PyTorch's operators; measured on two AVX2 cores.
COMPILED, OPERATORS = Limits(256, 1.05), Limits(513, 0.7)

#: Fewest (B, H, Q, K) cells for which tiles pay. Cutting takes a millisecond or two, whatever the size, so sequences of
#: up to `SHORT_KEYS` keys need the larger batch of `SHORT_CELLS`.
CELLS, SHORT_KEYS, SHORT_CELLS = 1 << 18, 512, 1 << 22

#: Cutting tiles costs as much as dense attention over so many pairs for each run of each row, divided by the layers
#: and passes that a schedule usually serves. Each plane (batch row and head) costs as much as 512 runs besides.
AUTO_PAIRS_PER_RUN = 512
_RUNS_PER_PLANE = 512


def _cannot(call: Call) -> str | None:
    """Return why tiles cannot compute the call, or None."""
    if call.transforms:
        return refusal(call)
    if call.q.device.type != "cpu":
        return f"its tiles are for the CPU, q is on {call.q.device.type}"
    if call.q.dtype not in _DTYPES:
        return f"it takes float16, bfloat16, float32 and float64, not {call.q.dtype}"
    return None


def _not_worth_it(call: Call) -> str | None:
    """Return why `auto` takes SDPA although tiles could compute the call, or None."""
    if SDPA.cannot(call) is not None:
        return None
    if (arguments := shortcut(call)) is not None:
        # SDPA computes about half of the causal triangle's pairs too; compiled tiles are still faster.
        if arguments["is_causal"] and _slower_than_sdpa(call) is None and _compiled(call):
            return None
        return "SDPA needs no mask for this one"
    return _slower_than_sdpa(call) if SDPA.not_worth_it(call) is None else None


def _slower_than_sdpa(call: Call) -> str | None:
    """Return why tiles take longer than dense SDPA, or None."""
    keys, cells = call.k.shape[2], call.cells
    least = CELLS if keys > SHORT_KEYS else SHORT_CELLS
    # First of all: a call too small for either kind of tiles is not worth the two seconds of a compilation.
    if keys < COMPILED.keys or cells < least:
        return f"auto cuts tiles from {COMPILED.keys} keys and {least} cells, these are {keys} and {cells}"
    limits = COMPILED if _compiled(call) else OPERATORS
    if keys < limits.keys:
        return f"auto cuts tiles from {limits.keys} keys where they are not compiled, these are {keys}"
    # Before the tiles are cut: where every row is in shreds, cutting alone takes longer than dense attention.
    runs = lowered(call.mask, ("runs to cut",), lambda: _runs_to_cut(call.mask))
    if cells < AUTO_PAIRS_PER_RUN * runs:
        return f"to cut its tiles from {runs} runs takes longer than SDPA"
    share = lowered(call.mask, ("tiled share",), lambda: _tiled_share(call.mask))
    if share > limits.share:
        return f"its tiles hold {share:.0%} of all pairs, and SDPA is faster from {limits.share:.0%}"
    return None


def _compiled(call: Call) -> bool:
    """Return whether compiled tiles support the call."""
    plain = call.bias is None and not call.dropout_p and call.softcap is None
    return plain and _native.available(torch.promote_types(call.q.dtype, torch.float32))


def _runs_to_cut(mask: BoundMask) -> int:
    """Return the cost of cutting tiles, in runs of keys: the runs of all rows, and a constant for each plane."""
    spans = mask.spans
    planes = spans.shape[0] * spans.shape[1]
    # a mask that ignores the query has one row, which stands for all
    rows = spans.planes_starts.shape[-1]
    repeats = mask.grid.q_len / rows if rows else 0
    used = int((spans.planes_starts < spans.planes_ends).sum())
    return int(used * repeats) + _RUNS_PER_PLANE * (planes - 1)


def _tiled_share(mask: BoundMask) -> float:
    """Return the share of all (query, key) pairs that the mask's tiles compute."""
    return count_cells(read_schedule(to_tiles(mask))) / math.prod(mask.shape)


def _attend(call: Call) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the output `(B, Hq, Q, Dv)` and, on request, the log-sum-exp `(B, Hq, Q)`."""
    # The operator makes its randomness from this one number, so that the backward pass drops the same weights.
    seed = None
    if call.dropout_p:
        seed = torch.randint(2**62, (), generator=call.generator, device="cpu")
    by_distance = isinstance(call.bias, PositionBias) and call.has_consecutive_positions
    if by_distance and isinstance(call.bias, PositionBias):
        bias = call.bias.by_distance(call.mask.grid.q_start, call.q.shape[2], call.k.shape[2])
        bias = bias if bias.ndim == 3 else bias.unsqueeze(0)
    else:
        bias = call.dense_bias()
        if bias is not None:
            bias = bias.reshape((1,) * (4 - bias.ndim) + bias.shape)
    want_lse = call.return_lse or call.sinks is not None
    out, lse = tiled_attention(
        call.q, call.k, call.v, to_tiles(call.mask), bias, by_distance, call.scale, call.softcap or 0.0,
        call.dropout_p, seed, want_lse,
    )  # fmt: skip
    if call.sinks is not None:
        out, lse = add_sinks(out, lse, call.sinks)
    return out, lse if call.return_lse else None


TILED = Implementation("tiled", _attend, _cannot, _not_worth_it, "slower")
