"""A whole schedule run, forward and backward, over plain tensors.

Each way of computing is exact within limits that are checked afterwards; beyond them the next one runs:

| | compiled tiles (native.py) | PyTorch's operators | with `safe_softmax` | and `nan_safe` |
| --- | --- | --- | --- | --- |
| a bias, a softcap, dropout | no | yes | yes | yes |
| scores of any size | yes | no | yes | yes |
| NaN stays in the rows that see it | no | no | no | yes |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from . import native as _native
from . import segment as _segment
from . import tile as _tile
from .batches import batches
from .bias import TileBias
from .lanes import Lanes, key_lanes, query_lanes
from .masks import masks_of
from .schedule import Schedule, Tile, read_schedule, unrolled, without_segments


class TiledCall:
    """Inputs of the operator, prepared: in the dtype of the computation, which for half precision is float32.

    Attributes:
        inputs: q, k and v as the caller passed them.
        dtype: the dtype of the computation.
        tensors: q, k and v in `dtype`, their last dimension contiguous, which the fused and compiled kernels require.
        encoded: the schedule as a tensor.
        bias, dropout_p, scale, softcap: as in the operator.
        tile_bias: the bias as tiles read it.
        native: whether compiled tiles support the call.
    """

    def __init__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, bias: torch.Tensor | None,
        by_distance: bool, scale: float, softcap: float, dropout_p: float, seed: torch.Tensor | None,
    ) -> None:  # fmt: skip
        self.inputs = q, k, v
        self.encoded, self.bias, self.scale, self.dropout_p = schedule, bias, scale, dropout_p
        self.softcap = softcap
        self.dtype = torch.promote_types(q.dtype, torch.float32)
        q, k, v = (_contiguous_rows(x.detach().to(self.dtype)) for x in self.inputs)
        self.tensors = q, k, v
        self._seed = 0 if seed is None else int(seed)
        self.tile_bias: TileBias | None = None
        if bias is not None:
            (batch, heads, q_len, _), (_, kv_heads, kv_len, _) = q.shape, k.shape
            values = bias.detach().to(self.dtype)
            self.tile_bias = TileBias(values, by_distance, (batch, heads, q_len, kv_len), kv_heads)
        plain = bias is None and not dropout_p and not softcap
        self.native = plain and all((*q.shape, *k.shape, *v.shape)) and _native.available(self.dtype)

    def schedule(self) -> Schedule:
        """Return the decoded schedule; segments only where the fused kernel computes what the call needs."""
        schedule = read_schedule(self.encoded)
        q, _, v = self.inputs
        if self.bias is not None or self.dropout_p or self.softcap or q.shape[3] != v.shape[3]:
            schedule = without_segments(schedule)
        return schedule if self.bias is None else unrolled(schedule)

    def rules(self, schedule: Schedule, nan_safe: bool) -> _tile.Rules:
        """Return the settings of all tiles."""
        masks = masks_of(schedule)
        return _tile.Rules(self.scale, self.softcap, masks, self.tile_bias, self.dropout_p, self._seed, nan_safe)


def forward(call: TiledCall) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output in the caller's dtype, and the log-sum-exp in the dtype of the computation."""
    if call.native:
        *results, finite = _native.forward(*call.tensors, call.encoded, call.scale)
    else:
        schedule = call.schedule()
        results = _forward(call, schedule, safe_softmax=False, nan_safe=False)
        if results is None:
            results = _forward(call, schedule, safe_softmax=True, nan_safe=False)
        finite = results is not None and _finite(results[0])
    if not finite:
        # A number that is not finite may come from a forbidden cell. With `nan_safe` it cannot.
        results = _forward(call, without_segments(call.schedule()), safe_softmax=True, nan_safe=True)
    assert results is not None, "a safe softmax accepts scores of any size"
    return results[0].to(call.inputs[0].dtype), results[1]


def _forward(
    call: TiledCall, schedule: Schedule, safe_softmax: bool, nan_safe: bool
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return output and log-sum-exp, or None where scores are too large for tiles without a safe softmax."""
    q, _, v = call.tensors
    make = torch.empty if schedule.complete else torch.zeros
    out = make((*q.shape[:3], v.shape[3]), dtype=call.dtype)
    # The sum of each row's weights, or with a safe softmax its log-sum-exp. A sum is never negative: -1 marks a row
    # that no tile has.
    totals = torch.full(q.shape[:3], float("-inf") if safe_softmax else -1.0, dtype=call.dtype)
    rules, buffers = call.rules(schedule, nan_safe), _tile.Buffers(out)
    lane_views = _LaneViews(call, out, totals)
    checked = safe_softmax
    for number, tile in _numbered(schedule):
        lanes, out_lanes, total_lanes = lane_views.get(tile.batch, tile.head)
        groups = lanes.q.shape[1]
        for batch in batches(tile, number, lanes.q.shape[0], lanes.q.shape[1], q.itemsize):
            sums, total = _tile.forward(
                rules, batch, batch.rows(lanes.q), batch.few_keys(lanes.k), batch.few_keys(lanes.v), safe_softmax,
                buffers,
            )  # fmt: skip
            if not checked:  # where the first scores are too large, the others need not be tried
                checked = True
                if not _safe(total.log()):
                    return None
            by_head = (groups, tile.height)
            sums, total = sums.unflatten(1, by_head), total.unflatten(1, by_head)
            batch.put_rows(total_lanes, total)
            if safe_softmax:
                batch.put_rows(out_lanes, sums)
            elif isinstance(tile.rows, slice):
                torch.div(sums, total.unsqueeze(-1), out=batch.view_rows(out_lanes))
            else:
                batch.put_rows(out_lanes, sums.div_(total.unsqueeze(-1)))
    lse = totals
    if not safe_softmax:
        absent = totals < 0
        lse = totals.log_().masked_fill_(absent, 0.0)
        if not _safe(lse):
            return None
        lse.masked_fill_(absent, float("-inf"))
    for batch_row, head, segment in schedule.segments:
        lanes, *targets = lane_views.get(batch_row, head)
        results = _segment.forward(segment, lanes, call.scale)
        for target, result in zip(targets, results, strict=True):
            target[:, :, segment.q0 : segment.q1] = result
    return out, lse


#: Recomputed weights exp(score - lse) are exact for log-sum-exps up to this size. Beyond it, the rounding of either
#: number shows in all weights of a row.
_EXACT_LSE = 1024.0


def _safe(lse: torch.Tensor, most: float = _tile.SAFE_LSE) -> bool:
    """Return whether all log-sum-exps are smaller than `most`. NaN passes here; `_finite` finds it."""
    return not bool((lse.abs() >= most).any())


def backward(
    call: TiledCall, out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor, d_lse: torch.Tensor | None,
    want_bias: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return the gradients of q, k, v and, with `want_bias`, of the bias, in their own dtypes."""
    out, d_out = (_contiguous_rows(x.detach().to(call.dtype)) for x in (out, d_out))
    rows = _Rows(out, lse.detach(), d_out, None if d_lse is None else d_lse.detach())
    exact = _safe(rows.finite_lse, _EXACT_LSE)
    if call.native and exact:
        no_bias = call.inputs[0].new_zeros(0)
        gradients = (*_native.backward(*call.tensors, call.encoded, call.scale, *rows), no_bias)
    else:
        # The fused backward takes no gradient of the log-sum-exp, and recomputes weights as the compiled one does.
        schedule = call.schedule()
        schedule = schedule if d_lse is None and exact else without_segments(schedule)
        gradients = _backward(call, schedule, rows, want_bias, nan_safe=False)
    if not all(_finite(gradient) for gradient in gradients):
        gradients = _backward(call, without_segments(call.schedule()), rows, want_bias, nan_safe=True)
    leaves = (*call.inputs, call.bias if want_bias and call.bias is not None else gradients[3])
    d_q, d_k, d_v, d_bias = (gradient.to(x.dtype) for gradient, x in zip(gradients, leaves, strict=True))
    return d_q, d_k, d_v, d_bias


class _Rows(NamedTuple):
    """Results of the forward and their gradients, `(B, Hq, Q, ...)` each; `d_lse` None = zero."""

    out: torch.Tensor
    lse: torch.Tensor
    d_out: torch.Tensor
    d_lse: torch.Tensor | None

    @property
    def finite_lse(self) -> torch.Tensor:
        """Log-sum-exps, with 0 for the rows that see nothing."""
        return self.lse.masked_fill(self.lse == float("-inf"), 0.0)


def _backward(
    call: TiledCall, schedule: Schedule, rows: _Rows, want_bias: bool, nan_safe: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of q, k, v and, with `want_bias`, of the bias, in the dtype of the computation."""
    q, k, v = call.tensors
    d_q, d_k, d_v = (torch.zeros(x.shape, dtype=call.dtype) for x in (q, k, v))
    bias = call.tile_bias if want_bias else None
    d_bias = call.inputs[0].new_zeros(0) if bias is None else torch.zeros(bias.values.shape, dtype=call.dtype)
    rules, buffers = call.rules(schedule, nan_safe), _tile.Buffers(d_q)
    lane_views = _LaneViews(call, d_q, *rows, keys=(d_k, d_v))
    for batch, head, segment in schedule.segments:
        lanes, d_q_lanes, out, lse, d_out, _, *d_keys = lane_views.get(batch, head)
        segment_rows = slice(segment.q0, segment.q1)
        out, lse, d_out, d_q_rows = (x[:, :, segment_rows] for x in (out, lse, d_out, d_q_lanes))
        _segment.backward(segment, lanes, call.scale, out, lse, d_out, d_q_rows, *d_keys)
    safe_softmax = nan_safe or not _safe(rows.finite_lse)
    for number, tile in _numbered(schedule):
        lanes, d_q_lanes, out_lanes, lse_lanes, d_out_lanes, d_lse_lanes, d_k_lanes, d_v_lanes = lane_views.get(
            tile.batch, tile.head
        )
        for batch in batches(tile, number, lanes.q.shape[0], lanes.q.shape[1], q.itemsize):
            d_lse = None if d_lse_lanes is None else batch.rows(d_lse_lanes)
            d_rows, d_k_rows, d_v_rows, d_scores = _tile.backward(
                rules, batch, batch.rows(lanes.q), batch.keys(lanes.k), batch.keys(lanes.v),
                batch.rows(out_lanes), batch.rows(lse_lanes), batch.rows(d_out_lanes), d_lse, safe_softmax, buffers,
            )  # fmt: skip
            batch.put_rows(d_q_lanes, d_rows.unflatten(1, (lanes.q.shape[1], tile.height)))
            batch.add_keys(d_k_lanes, d_k_rows)
            batch.add_keys(d_v_lanes, d_v_rows)
            if bias is not None:
                bias.add_gradient(d_bias, batch.tile, slice(batch.first, batch.first + batch.n), d_scores)
    return d_q, d_k, d_v, d_bias


class _LaneViews:
    """The lanes of a call, of its results and of its gradients; each view is built once.

    Args:
        rows: `(B, Hq, Q, ...)`, or None.
        keys: `(B, Hkv, K, ...)`.
    """

    def __init__(self, call: TiledCall, *rows: torch.Tensor | None, keys: Sequence[torch.Tensor] = ()) -> None:
        self.call, self.rows, self.keys = call, rows, keys
        self._views: dict[tuple[int, int], list[Any]] = {}

    def get(self, batch: int, head: int) -> list[Any]:
        """Return the `Lanes` of q, k and v, followed by the lanes of the rows and of the keys; -1 = all."""
        if (batch, head) not in self._views:
            q, k, v = self.call.tensors
            heads, kv_heads = q.shape[1], k.shape[1]
            lanes = Lanes(
                query_lanes(q, kv_heads, batch, head),
                key_lanes(k, heads, batch, head),
                key_lanes(v, heads, batch, head),
            )
            rows = [x if x is None else query_lanes(x, kv_heads, batch, head) for x in self.rows]
            self._views[batch, head] = [lanes, *rows, *(key_lanes(x, heads, batch, head) for x in self.keys)]
        return self._views[batch, head]


def _numbered(schedule: Schedule) -> Iterator[tuple[int, Tile]]:
    """Yield (number of the tile's first repeat, tile)."""
    number = 0
    for tile in schedule.tiles:
        yield number, tile
        number += tile.repeats


def _contiguous_rows(x: torch.Tensor) -> torch.Tensor:
    """Return `x` with its last dimension contiguous, which the fused and compiled kernels require."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _finite(x: torch.Tensor) -> bool:
    """Return whether all numbers are finite, in one pass. A sum that overflows costs a `nan_safe` run, no more."""
    return bool(x.sum().isfinite())
