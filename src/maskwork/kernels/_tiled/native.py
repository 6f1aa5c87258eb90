"""Calls into `csrc/tiles.c`: the schedule in one call, forward and backward."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch

from ...errors import GridError
from .build import library

#: `Call` of csrc/schedule.h, field by field: 13 addresses, 7 sizes, 5 times 3 strides, threads, parts, and the scale.
_CALL = struct.Struct("13Q7q15q2qd")
_MISFIT, _FINITE, _NOT_FINITE = range(3)


def available(dtype: torch.dtype) -> bool:
    """Return whether compiled tiles support `dtype`. The first call may compile them, which takes seconds."""
    return dtype in (torch.float32, torch.float64) and library(dtype == torch.float64) is not None


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Return output `(B, Hq, Q, Dv)`, log-sum-exp `(B, Hq, Q)`, and whether the output is finite.

    The last dimension of q, k and v must be contiguous, which the compiled tiles assume.
    """
    out, lse = q.new_empty((*q.shape[:3], v.shape[3])), q.new_empty(q.shape[:3])
    state = _run("maskwork_forward", q, k, v, schedule, scale, results=(out, lse))
    return out, lse, state == _FINITE


def backward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float,
    out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor, d_lse: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return the gradients of q, k and v, contiguous."""
    lanes, threads = k.shape[0] * k.shape[1], torch.get_num_threads()
    # Lanes are independent. With few lanes, each thread takes a part of every lane's tiles, and accumulates the
    # gradients of the keys in a buffer of its own; the buffers are added up afterwards.
    parts = 1 if lanes % threads == 0 or lanes > 4 * threads else -(-2 * threads // lanes)
    d_q = torch.zeros(q.shape, dtype=q.dtype)
    d_k, d_v = (torch.zeros((parts, *x.shape), dtype=x.dtype) for x in (k, v))
    rows = (out, lse.contiguous(), d_out, None if d_lse is None else d_lse.contiguous())
    _run("maskwork_backward", q, k, v, schedule, scale, rows, gradients=(d_q, d_k, d_v), parts=parts)
    return (d_q, d_k[0], d_v[0]) if parts == 1 else (d_q, d_k.sum(0), d_v.sum(0))


def _run(
    name: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float,
    rows: Sequence[torch.Tensor | None] = (None,) * 4, results: Sequence[torch.Tensor | None] = (None,) * 2,
    gradients: Sequence[torch.Tensor | None] = (None,) * 3, parts: int = 1,
) -> int:  # fmt: skip
    """Fill in the C struct `Call`, call the function `name`, and return its state.

    Args:
        name: a function of csrc/tiles.c.
        q, k, v, schedule, scale: as in `forward`.
        rows: out, lse, d_out and d_lse, which the backward reads.
        results: out and lse, which the forward writes.
        gradients: d_q, d_k and d_v, which the backward writes.
        parts: number of buffers for the gradients of the keys.
    """
    tensors = (schedule, q, k, v, *rows, *results, *gradients)
    strided = (q, k, v, rows[0], rows[2])
    batch, heads, q_len, dim = q.shape
    call = _CALL.pack(
        *(0 if x is None else x.data_ptr() for x in tensors),
        batch, heads, k.shape[1], q_len, k.shape[2], dim, v.shape[3],
        *(step for x in strided for step in ((0, 0, 0) if x is None else x.stride()[:3])),
        torch.get_num_threads(), parts, scale,
    )  # fmt: skip
    compiled = library(q.dtype == torch.float64)
    assert compiled is not None, "callers check available() first"
    # ctypes releases the GIL for the time of the call.
    state = getattr(compiled, name)(call)
    if state == _MISFIT:
        raise GridError(
            f"a schedule belongs to one grid, got one that reaches beyond {q_len} queries, {k.shape[2]} keys, "
            f"{batch} batch rows or {heads} heads; lower the mask for the tensors of this call"
        )
    return state
