"""A whole schedule run, forward and backward, over plain tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ...lower import Schedule, Tile, read_schedule
from . import _segment, _tile
from ._bias import TileBias
from ._lanes import Lanes, Masks, key_lanes, query_lanes, steps, take_rows


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
        """q, k and v as they are computed with."""
        q, k, v = (x.detach().to(self.dtype) for x in (self.q_given, self.k_given, self.v_given))
        return q, k, v

    @cached_property
    def schedule(self) -> Schedule:
        """Fused segments only where the fused kernel does what is asked."""
        whole = read_schedule(self.schedule_given)
        fused = self.bias is None and not self.dropout_p and self.q_given.shape[3] == self.v_given.shape[3]
        return whole if fused else _segment.as_tiles(whole)

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
        return _tile.Rules(self.scale, _masks(schedule), self.tile_bias, self.dropout_p, seed, careful)

    def lanes(self, batch: int, head: int) -> Lanes:
        """q, k and v of these lanes."""
        q, k, v = self.tensors
        heads = q.shape[1]
        return Lanes(
            query_lanes(q, k.shape[1], batch, head), key_lanes(k, heads, batch, head), key_lanes(v, heads, batch, head)
        )


def forward(call: TiledCall, want_lse: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Output in the dtype given, log-sum-exp in the dtype computed in."""
    out, lse = _forward(call, call.schedule, want_lse, careful=False)
    if not _finite(out):
        # What is not finite may have come from a cell that is forbidden; done again, it cannot.
        out, lse = _forward(call, _segment.as_tiles(call.schedule), True, careful=True)
    return out.to(call.q_given.dtype), lse


def _forward(call: TiledCall, schedule: Schedule, want_lse: bool, careful: bool) -> tuple[torch.Tensor, torch.Tensor]:
    q, k, v = call.tensors
    make = torch.empty if schedule.complete else torch.zeros
    out = make((*q.shape[:3], v.shape[3]), dtype=call.dtype)
    lse = torch.full(q.shape[:3], float("-inf"), dtype=call.dtype)
    rules, buffers = call.rules(schedule, careful), _tile.Buffers(out)
    for batch, head, segment in schedule.segments:
        rows = slice(segment.q0, segment.q1)
        target, target_lse = (query_lanes(x, k.shape[1], batch, head)[:, :, rows] for x in (out, lse))
        result, result_lse = _segment.forward(segment, call.lanes(batch, head), call.scale)
        target.copy_(result)
        target_lse.copy_(result_lse)
    lanes_of: dict[tuple[int, int], tuple[Lanes, torch.Tensor, torch.Tensor]] = {}
    for number, tile in enumerate(schedule.tiles):
        place = (tile.batch, tile.head)
        if place not in lanes_of:
            lanes_of[place] = (call.lanes(*place), *(query_lanes(x, k.shape[1], *place) for x in (out, lse)))
        lanes, out_lanes, lse_lanes = lanes_of[place]
        n, groups = lanes.q.shape[:2]
        height = groups * tile.height
        for part in steps(n, height * tile.width, q.itemsize):
            here = Lanes(*(x[part] for x in lanes))
            p = buffers.get("scores", len(here.q), height, tile.width)
            row_lse = buffers.get("lse", len(here.q), height) if want_lse else None
            _tile.weights(rules, tile, part, take_rows(here.q, tile.rows), _tile.read(here.k, tile), p, row_lse)
            kept = _tile.keep(rules, number, part, p)
            if kept is not None:
                p *= kept
            sums = buffers.get("out", len(here.q), height, v.shape[3])
            _tile.weighted_sum(rules, tile, p, _tile.read(here.v, tile), sums)
            _put_rows(out_lanes[part], tile, sums)
            if row_lse is not None:
                _put_rows(lse_lanes[part], tile, row_lse)
    return out, lse


def backward(
    call: TiledCall,
    out: torch.Tensor,
    lse: torch.Tensor,
    d_out: torch.Tensor,
    d_lse: torch.Tensor | None,
    want_bias: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of q, k, v and, where wanted, of the bias, in their own dtypes."""
    d_out = d_out.detach().to(call.dtype)
    # the fused backward has no place for a gradient of the log-sum-exp
    schedule = call.schedule if d_lse is None else _segment.as_tiles(call.schedule)
    grads = _backward(call, schedule, out, lse, d_out, d_lse, want_bias, careful=False)
    if not all(_finite(grad) for grad in grads):
        grads = _backward(call, _segment.as_tiles(schedule), out, lse, d_out, d_lse, want_bias, careful=True)
    given = (call.q_given, call.k_given, call.v_given, call.bias if want_bias else grads[3])
    d_q, d_k, d_v, d_bias = (grad.to(x.dtype) for grad, x in zip(grads, given, strict=True))
    return d_q, d_k, d_v, d_bias


def _backward(
    call: TiledCall, schedule: Schedule, out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor,
    d_lse: torch.Tensor | None, want_bias: bool, careful: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    q, k, v = call.tensors
    kv_heads = k.shape[1]
    d_q, d_k, d_v = (
        torch.zeros(q.shape, dtype=call.dtype),
        torch.zeros(k.shape, dtype=call.dtype),
        torch.zeros(v.shape, dtype=call.dtype),
    )
    bias = call.tile_bias if want_bias else None
    d_bias = q.new_zeros(0) if bias is None else torch.zeros(bias.values.shape, dtype=call.dtype)
    rules, buffers = call.rules(schedule, careful), _tile.Buffers(d_q)
    for batch, head, segment in schedule.segments:
        rows = slice(segment.q0, segment.q1)
        out_rows, lse_rows, d_out_rows, d_q_rows = (
            query_lanes(x, kv_heads, batch, head)[:, :, rows] for x in (out.to(call.dtype), lse, d_out, d_q)
        )
        d_keys = (key_lanes(x, q.shape[1], batch, head) for x in (d_k, d_v))
        lanes = call.lanes(batch, head)
        _segment.backward(segment, lanes, call.scale, out_rows, lse_rows, d_out_rows, d_q_rows, *d_keys)
    for number, tile in enumerate(schedule.tiles):
        lanes = call.lanes(tile.batch, tile.head)
        d_out_lanes, d_q_lanes = (query_lanes(x, kv_heads, tile.batch, tile.head) for x in (d_out, d_q))
        d_lse_lanes = None if d_lse is None else query_lanes(d_lse.to(call.dtype), kv_heads, tile.batch, tile.head)
        d_k_lanes, d_v_lanes = (key_lanes(x, q.shape[1], tile.batch, tile.head) for x in (d_k, d_v))
        n, groups = lanes.q.shape[:2]
        height = groups * tile.height
        for part in steps(n, height * tile.width, q.itemsize):
            here = Lanes(*(x[part] for x in lanes))
            q_rows, k_rows, v_rows = (
                take_rows(here.q, tile.rows), _tile.read(here.k, tile), _tile.read(here.v, tile)
            )  # fmt: skip
            p = buffers.get("scores", len(here.q), height, tile.width)
            _tile.weights(rules, tile, part, q_rows, k_rows, p, None)
            kept = _tile.keep(rules, number, part, p)
            d_out_rows = take_rows(d_out_lanes[part], tile.rows)
            d_lse_rows = None if d_lse_lanes is None else take_rows(d_lse_lanes[part], tile.rows)
            d_q_rows, d_k_rows, d_v_rows, d_scores = _tile.backward(
                rules, tile, q_rows, k_rows, v_rows, p, kept, d_out_rows, d_lse_rows, buffers
            )
            _put_rows(d_q_lanes[part], tile, d_q_rows)
            _tile.add_to_keys(d_k_lanes[part], tile, d_k_rows)
            _tile.add_to_keys(d_v_lanes[part], tile, d_v_rows)
            if bias is not None:
                bias.add_gradient(d_bias, tile, part, d_scores)
    return d_q, d_k, d_v, d_bias


def _put_rows(target: torch.Tensor, tile: Tile, values: torch.Tensor) -> None:
    """`(n, g * height, ...)` to the tile's rows of `(n, g, Q, ...)`."""
    target[:, :, tile.rows] = values.unflatten(1, (target.shape[1], tile.height))


def _finite(x: torch.Tensor) -> bool:
    """Whether all is finite, in one pass; a sum that overflows only costs the time of being careful."""
    return bool(x.sum().isfinite())


def _masks(schedule: Schedule) -> Masks:
    """The masks kept with a schedule, which is kept itself."""
    if "masks" not in schedule.__dict__:
        object.__setattr__(schedule, "masks", Masks(schedule))
    return schedule.__dict__["masks"]
