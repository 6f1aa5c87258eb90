"""`relative_bias`: T5's learned bias (Raffel et al. 2020), one row of a table for each bucket of distances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .._shared.numbers import integer
from ..errors import ArgumentError
from ._bias import PositionBias, describe


def relative_bias(table: torch.Tensor, *, bidirectional: bool, max_distance: int = 128) -> PositionBias:
    """Return T5's learned bias (Raffel et al. 2020): one row of `table` for each bucket of distances.

    Each near distance has its own bucket; farther distances share buckets that widen logarithmically up to
    `max_distance`, and all distances beyond share the last bucket. T5 does not scale its scores: pass `scale=1.0` to
    `mw.attention` for that.

    Args:
        table: floating point `(num_buckets, H)`, often a `Parameter`; gradients reach the table.
        bidirectional: True: half of the buckets are for keys ahead of the query, as in T5's encoder. False: all keys
            ahead share the bucket of distance 0, as in T5's decoder.
        max_distance: the distance from which all keys share one bucket.

    Raises:
        ArgumentError: the table has another shape, or too few buckets.

    >>> import torch, maskwork as mw
    >>> table = torch.nn.Parameter(torch.zeros(32, 4))
    >>> q = torch.randn(1, 4, 6, 8)
    >>> mw.attention(q, q, q, bias=mw.relative_bias(table, bidirectional=True)).sum().backward()
    >>> table.grad.shape
    torch.Size([32, 4])
    """
    if not isinstance(table, torch.Tensor) or table.ndim != 2 or not table.is_floating_point() or not table.shape[1]:
        raise ArgumentError(f"table must be a floating point tensor (num_buckets, H), got {describe(table)}")
    max_distance = integer(max_distance, "max_distance")
    buckets = table.shape[0] // 2 if bidirectional else table.shape[0]
    if buckets < 2 or max_distance <= buckets // 2:
        raise ArgumentError(
            "each direction must have at least 2 buckets, and max_distance lie beyond the half that hold one distance "
            f"each, got {buckets} buckets and max_distance={max_distance}; use a larger table or max_distance"
        )
    return _RelativeBias(table, bidirectional, max_distance)


@dataclass(frozen=True, eq=False)
class _RelativeBias(PositionBias):
    table: torch.Tensor
    bidirectional: bool
    max_distance: int

    @property
    def heads(self) -> int:
        return self.table.shape[1]

    def of_distances(self, distances: torch.Tensor) -> torch.Tensor:
        buckets = _buckets(distances, self.table.shape[0], self.bidirectional, self.max_distance)
        return self.table.to(distances.device)[buckets].mT


def _buckets(distances: torch.Tensor, buckets: int, bidirectional: bool, max_distance: int) -> torch.Tensor:
    """Return the bucket of each distance, int64.

    With 8 buckets, max_distance 16 and one direction:

        distance back   0  1  2  3 | 4 5 | 6 7 | 8 .. 11 | 12 ..
        bucket          0  1  2  3 |  4  |  5  |    6    |   7
                        one each   | logarithmically wider

    The borders are computed in T5's float32, so that T5's checkpoints get the same buckets.
    """
    if bidirectional:
        buckets //= 2
        first = (distances > 0).long() * buckets
        distances = distances.abs()
    else:
        first = 0
        distances = (-distances).clamp(min=0)
    exact = buckets // 2
    ratio = torch.log(distances.clamp(min=exact).float() / exact) / math.log(max_distance / exact)
    shared = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
    return first + torch.where(distances < exact, distances, shared)
