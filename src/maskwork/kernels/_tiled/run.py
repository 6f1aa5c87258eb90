"""A whole schedule run, forward and backward, over plain tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch

from . import native as _native
from . import segment as _segment
from . import tile as _tile
from .batches import batches
from .bias import TileBias
from .lanes import Lanes, key_lanes, query_lanes
from .masks import Masks
from .schedule import Schedule, Tile, read_schedule


@dataclass(frozen=True, eq=False)
class TiledCall:
    """The inputs of the operator; half precision is computed in float32."""

    q_given: torch.Tensor
    k_given: torch.Tensor
    v_given: torch.Tensor
    schedule_given: torch.Tensor
    bias: torch.Tensor | None
    by_distance: bool
    scale: float
    dropout_p: float
    seed: torch.Tensor | None

    @cached_property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return torch.promote_types(self.q_given.dtype, torch.float32)

    @cached_property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q, k and v as they are computed with, the numbers of a head side by side: the fused kernel assumes it."""
        q, k, v = (_side_by_side(x.detach().to(self.dtype)) for x in (self.q_given, self.k_given, self.v_given))
        return q, k, v

    @cached_property
    def native(self) -> bool:
        """Whether the compiled tiles can do it."""
        sizes = (*self.q_given.shape, *self.k_given.shape, *self.v_given.shape)
        return self.bias is None and not self.dropout_p and all(sizes) and _native.available(self.dtype)

    @cached_property
    def schedule(self) -> Schedule:
        """Fused segments only where the fused kernel does what is asked."""
        whole = read_schedule(self.schedule_given)
        fused = self.bias is None and not self.dropout_p and self.q_given.shape[3] == self.v_given.shape[3]
        schedule = whole if fused else whole.without_segments
        return schedule if self.bias is None else schedule.one_by_one

    @cached_property
    def tile_bias(self) -> TileBias | None:
        """The bias as tiles read it."""
        if self.bias is None:
            return None
        (batch, heads, q_len, _), (_, kv_heads, kv_len, _) = self.q_given.shape, self.k_given.shape
        values = self.bias.detach().to(self.dtype)
        return TileBias(values, self.by_distance, (batch, heads, q_len, kv_len), kv_heads)

    def rules(self, schedule: Schedule, careful: bool) -> _tile.Rules:
        """What every tile needs to know."""
        seed = 0 if self.seed is None else int(self.seed)
        return _tile.Rules(self.scale, Masks.of(schedule), self.tile_bias, self.dropout_p, seed, careful)


def forward(call: TiledCall) -> tuple[torch.Tensor, torch.Tensor]:
    """Output in the dtype given, log-sum-exp in the dtype computed in."""
    if call.native:
        *found, finite = _native.forward(*call.tensors, call.schedule_given, call.scale)
    else:
        found = _forward(call, call.schedule, steady=False, careful=False)
        if found is None:
            found = _forward(call, call.schedule, steady=True, careful=False)
        finite = found is not None and _finite(found[0])
    if not finite:
        # What is not finite may have come from a cell that is forbidden; done again, it cannot.
        found = _forward(call, call.schedule.without_segments, steady=True, careful=True)
    assert found is not None, "steady tiles always come to an end"
    return found[0].to(call.q_given.dtype), found[1]


def _forward(
    call: TiledCall, schedule: Schedule, steady: bool, careful: bool
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Output and log-sum-exp, or None where scores are too large for tiles that are not steady."""
    q, _, v = call.tensors
    make = torch.empty if schedule.complete else torch.zeros
    out = make((*q.shape[:3], v.shape[3]), dtype=call.dtype)
    # a sum of weights is not negative: -1 is a row that no tile has seen
    totals = torch.full(q.shape[:3], float("-inf") if steady else -1.0, dtype=call.dtype)
    rules, buffers = call.rules(schedule, careful), _tile.Buffers(out)
    places = _Places(call, out, totals)
    looked = steady
    for number, tile in _numbered(schedule):
        lanes, out_lanes, total_lanes = places.at(tile.batch, tile.head)
        groups = lanes.q.shape[1]
        for batch in batches(tile, number, *lanes.q.shape[:2], q.itemsize):
            sums, total = _tile.forward(
                rules, batch, batch.rows(lanes.q), batch.few_keys(lanes.k), batch.few_keys(lanes.v), steady, buffers
            )
            if not looked:  # where the first scores are too large, the others need not be tried
                looked = True
                if not _safe(total.log()):
                    return None
            by_head = (groups, tile.height)
            sums, total = sums.unflatten(1, by_head), total.unflatten(1, by_head)
            batch.put_rows(total_lanes, total)
            if steady:
                batch.put_rows(out_lanes, sums)
            elif isinstance(tile.rows, slice):
                torch.div(sums, total.unsqueeze(-1), out=batch.view_rows(out_lanes))
            else:
                batch.put_rows(out_lanes, sums.div_(total.unsqueeze(-1)))
    lse = totals
    if not steady:
        unseen = totals < 0
        lse = totals.log_().masked_fill_(unseen, 0.0)
        if not _safe(lse):
            return None
        lse.masked_fill_(unseen, float("-inf"))
    for batch_row, head, segment in schedule.segments:
        lanes, *targets = places.at(batch_row, head)
        results = _segment.forward(segment, lanes, call.scale)
        for target, result in zip(targets, results, strict=True):
            target[:, :, segment.q0 : segment.q1] = result
    return out, lse


#: Weights made of score - lse are exact within it; beyond, the rounding of either shows in all weights of a row.
_EXACT_LSE = 1024.0


def _safe(lse: torch.Tensor, most: float = _tile.SAFE_LSE) -> bool:
    """Whether no sum of weights came near an end of what numbers can hold; NaN is for a later look."""
    return not bool((lse.abs() >= most).any())


def backward(
    call: TiledCall, out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor, d_lse: torch.Tensor | None,
    want_bias: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Gradients of q, k, v and, where wanted, of the bias, in their own dtypes."""
    out, d_out = (_side_by_side(x.detach().to(call.dtype)) for x in (out, d_out))
    rows = _Rows(out, lse.detach(), d_out, None if d_lse is None else d_lse.detach())
    exact = _safe(rows.seen, _EXACT_LSE)
    if call.native and exact:
        grads = (*_native.backward(*call.tensors, call.schedule_given, call.scale, *rows), call.q_given.new_zeros(0))
    else:
        # the fused backward has no place for a gradient of the log-sum-exp, and makes weights as the compiled one does
        schedule = call.schedule if d_lse is None and exact else call.schedule.without_segments
        grads = _backward(call, schedule, rows, want_bias, careful=False)
    if not all(_finite(grad) for grad in grads):
        grads = _backward(call, call.schedule.without_segments, rows, want_bias, careful=True)
    given = (call.q_given, call.k_given, call.v_given, call.bias if want_bias else grads[3])
    d_q, d_k, d_v, d_bias = (grad.to(x.dtype) for grad, x in zip(grads, given, strict=True))
    return d_q, d_k, d_v, d_bias


class _Rows(NamedTuple):
    """Results and gradients that came back, `(B, Hq, Q, ...)`."""

    out: torch.Tensor
    lse: torch.Tensor
    d_out: torch.Tensor
    d_lse: torch.Tensor | None

    @property
    def seen(self) -> torch.Tensor:
        """The log-sum-exps, 0 for rows that see nothing."""
        return self.lse.masked_fill(self.lse == float("-inf"), 0.0)


def _backward(
    call: TiledCall, schedule: Schedule, rows: _Rows, want_bias: bool, careful: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v = call.tensors
    d_q, d_k, d_v = (torch.zeros(x.shape, dtype=call.dtype) for x in (q, k, v))
    bias = call.tile_bias if want_bias else None
    d_bias = call.q_given.new_zeros(0) if bias is None else torch.zeros(bias.values.shape, dtype=call.dtype)
    rules, buffers = call.rules(schedule, careful), _tile.Buffers(d_q)
    places = _Places(call, d_q, *rows, keys=(d_k, d_v))
    for batch, head, segment in schedule.segments:
        lanes, d_q_lanes, out, lse, d_out, _, *d_keys = places.at(batch, head)
        here = slice(segment.q0, segment.q1)
        out, lse, d_out, d_q_rows = (x[:, :, here] for x in (out, lse, d_out, d_q_lanes))
        _segment.backward(segment, lanes, call.scale, out, lse, d_out, d_q_rows, *d_keys)
    steady = careful or not _safe(rows.seen)
    for number, tile in _numbered(schedule):
        lanes, d_q_lanes, *results, d_k_lanes, d_v_lanes = places.at(tile.batch, tile.head)
        for batch in batches(tile, number, *lanes.q.shape[:2], q.itemsize):
            inputs = (batch.rows(lanes.q), batch.keys(lanes.k), batch.keys(lanes.v))
            given = (None if x is None else batch.rows(x) for x in results)
            d_rows, d_k_rows, d_v_rows, d_scores = _tile.backward(rules, batch, *inputs, *given, steady, buffers)
            batch.put_rows(d_q_lanes, d_rows.unflatten(1, (lanes.q.shape[1], tile.height)))
            batch.add_keys(d_k_lanes, d_k_rows)
            batch.add_keys(d_v_lanes, d_v_rows)
            if bias is not None:
                bias.add_gradient(d_bias, batch.tile, slice(batch.first, batch.first + batch.n), d_scores)
    return d_q, d_k, d_v, d_bias


class _Places:
    """The lanes of a call and of its results, each view made once.

    Args:
        rows: `(B, Hq, Q, ...)`, or None.
        keys: `(B, Hkv, K, ...)`.
    """

    def __init__(self, call: TiledCall, *rows: torch.Tensor | None, keys: Sequence[torch.Tensor] = ()) -> None:
        self.call, self.rows, self.keys = call, rows, keys
        self.made: dict[tuple[int, int], list[Any]] = {}

    def at(self, batch: int, head: int) -> list[Any]:
        """The lanes of q, k and v, then those of the rows and of the keys."""
        if (batch, head) not in self.made:
            q, k, v = self.call.tensors
            heads, kv_heads = q.shape[1], k.shape[1]
            lanes = Lanes(
                query_lanes(q, kv_heads, batch, head),
                key_lanes(k, heads, batch, head),
                key_lanes(v, heads, batch, head),
            )
            rows = [x if x is None else query_lanes(x, kv_heads, batch, head) for x in self.rows]
            self.made[batch, head] = [lanes, *rows, *(key_lanes(x, heads, batch, head) for x in self.keys)]
        return self.made[batch, head]


def _numbered(schedule: Schedule) -> Iterator[tuple[int, Tile]]:
    """The tiles, each with how many repeats of others came before it."""
    number = 0
    for tile in schedule.tiles:
        yield number, tile
        number += tile.repeats


def _side_by_side(x: torch.Tensor) -> torch.Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _finite(x: torch.Tensor) -> bool:
    """Whether all is finite, in one pass; a sum that overflows only costs the time of being careful."""
    return bool(x.sum().isfinite())
