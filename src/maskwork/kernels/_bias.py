"""Additive biases that depend on the head and on the distance k - q alone: ALiBi and T5's buckets."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ..errors import ArgumentError


class PositionBias(ABC):
    """A bias on the scores for `mw.attention(bias=…)`; made by `mw.alibi` and `mw.relative_bias`.

    Queries stand where the mask's grid says: at `q_start`, at 0 when a bound mask was made without one.

    >>> import maskwork as mw
    >>> mw.alibi(2).dense(q_start=1, q_len=1, kv_len=3)[0, :, 0]
    tensor([[-0.0625, -0.0000, -0.0625],
            [-0.0039, -0.0000, -0.0039]])
    """

    @property
    @abstractmethod
    def heads(self) -> int:
        """Query heads that it is made for."""

    @abstractmethod
    def at(self, distance: torch.Tensor) -> torch.Tensor:
        """The bias at these distances `k - q`, int64 `(N,)`, on their device: `(H, N)`."""

    def by_distance(self, q_start: int, q_len: int, kv_len: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """`(H, q_len + kv_len - 1)`: entry `[h, i]` is head h's bias at `k - q = i - (q_start + q_len - 1)`.

        It holds each distance between queries `[q_start, q_start + q_len)` and keys `[0, kv_len)` once.
        """
        nearest = 1 - q_start - q_len  # the last query and the first key
        return self.at(torch.arange(nearest, nearest + max(q_len + kv_len - 1, 0), device=device))

    def dense(self, q_start: int, q_len: int, kv_len: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """`(1, H, Q, K)`: one number for each cell."""
        values = self.by_distance(q_start, q_len, kv_len, device)
        if not q_len or not kv_len:
            return values.new_zeros(1, self.heads, q_len, kv_len)
        # Window i of kv_len distances belongs to the i-th query from the last.
        return values.unfold(-1, kv_len, 1).flip(1).unsqueeze(0)


@dataclass(frozen=True, eq=False)
class _Alibi(PositionBias):
    slopes: torch.Tensor

    @property
    def heads(self) -> int:
        return self.slopes.shape[0]

    def at(self, distance: torch.Tensor) -> torch.Tensor:
        # At least float32: bfloat16 cannot tell distance 257 from 256.
        slopes = self.slopes.to(distance.device, torch.promote_types(self.slopes.dtype, torch.float32))
        return torch.outer(slopes, -distance.abs().to(slopes.dtype))


def alibi(slopes: torch.Tensor | int) -> PositionBias:
    """Attention with linear biases (Press et al. 2022): `-slope * |k - q|`, symmetrical where keys may lie ahead.

    Args:
        slopes: floating point `(H,)`, one per query head; or a number of heads, for the paper's geometric slopes
            `2 ** (-8 / H), 2 ** (-16 / H), …`. Where H is no power of two, those of the power below come first and
            every other one of the power above fills up, as in the authors' code.

    Raises:
        ArgumentError: slopes are neither.

    >>> import torch, maskwork as mw
    >>> q = torch.zeros(1, 4, 3, 8)
    >>> v = torch.eye(3).expand(1, 4, 3, 3)
    >>> mw.attention(q, q, v, mw.causal(), bias=mw.alibi(4))[0, 0]      # nearer keys weigh more
    tensor([[1.0000, 0.0000, 0.0000],
            [0.4378, 0.5622, 0.0000],
            [0.2543, 0.3265, 0.4192]])
    """
    if isinstance(slopes, int) and not isinstance(slopes, bool) and slopes >= 1:
        return _Alibi(_geometric_slopes(slopes))
    if not isinstance(slopes, torch.Tensor) or slopes.ndim != 1 or not slopes.is_floating_point() or not len(slopes):
        raise ArgumentError(
            f"slopes must be a floating point tensor (H,) or a number of heads of at least 1, got {_found(slopes)}; "
            "pass one slope for each query head"
        )
    return _Alibi(slopes)


def _geometric_slopes(heads: int) -> torch.Tensor:
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * i / power) for i in range(1, power + 1)]
    between = [2.0 ** (-4.0 * i / power) for i in range(1, 2 * (heads - power), 2)]
    return torch.tensor(slopes + between, dtype=torch.float32)


@dataclass(frozen=True, eq=False)
class _RelativeBias(PositionBias):
    table: torch.Tensor
    bidirectional: bool
    max_distance: int

    @property
    def heads(self) -> int:
        return self.table.shape[1]

    def at(self, distance: torch.Tensor) -> torch.Tensor:
        buckets = _buckets(distance, self.table.shape[0], self.bidirectional, self.max_distance)
        return self.table.to(distance.device)[buckets].mT


def relative_bias(table: torch.Tensor, *, bidirectional: bool, max_distance: int = 128) -> PositionBias:
    """T5's learned bias (Raffel et al. 2020): one row of `table` for each bucket of distances.

    Near distances have a bucket each, farther ones share buckets that widen logarithmically up to `max_distance`, and
    all beyond share the last. T5 does not scale its scores: `mw.attention(…, scale=1.0)` where that is wanted.

    Args:
        table: floating point `(num_buckets, H)`, often a `Parameter`; gradients reach it.
        bidirectional: whether keys ahead of the query get half of the buckets, as in T5's encoder. If not, as in its
            decoder, all keys ahead share the bucket of distance 0.
        max_distance: from here on distances are told apart no more.

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
        raise ArgumentError(f"table must be a floating point tensor (num_buckets, H), got {_found(table)}; make one")
    one_side = table.shape[0] // 2 if bidirectional else table.shape[0]
    if one_side < 2 or max_distance <= one_side // 2:
        raise ArgumentError(
            "each direction must have at least 2 buckets, and max_distance lie beyond the half that hold one distance "
            f"each, got {one_side} buckets and max_distance={max_distance}; use a larger table or max_distance"
        )
    return _RelativeBias(table, bidirectional, max_distance)


def _buckets(distance: torch.Tensor, buckets: int, bidirectional: bool, max_distance: int) -> torch.Tensor:
    """The bucket of each distance, int64; computed in T5's own float32, so that its checkpoints keep their borders."""
    if bidirectional:
        buckets //= 2
        first = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        first = 0
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    ratio = torch.log(distance.clamp(min=exact).float() / exact) / math.log(max_distance / exact)
    shared = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, shared)


def _found(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
