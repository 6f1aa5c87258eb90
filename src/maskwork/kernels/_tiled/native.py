"""Calls into `native/tiles.c`: the whole schedule in one, forward and backward."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch

from ...errors import GridError
from .build import library

#: `Call` of native/schedule.h: 13 addresses, 7 sizes, 5 times 3 strides, threads, parts, and the scale.
_CALL = struct.Struct("13Q7q15q2qd")
_MISFIT, _FINITE, _NOT_FINITE = range(3)


def available(dtype: torch.dtype) -> bool:
    """Whether there is one that computes in `dtype`; asked first, it may compile it."""
    return dtype in (torch.float32, torch.float64) and library(dtype == torch.float64) is not None


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Output `(B, Hq, Q, Dv)`, log-sum-exp `(B, Hq, Q)`, and whether the output is finite.

    The last dimension of each tensor that goes in is contiguous.
    """
    out, lse = q.new_empty((*q.shape[:3], v.shape[3])), q.new_empty(q.shape[:3])
    state = _run("maskwork_forward", q, k, v, schedule, scale, results=(out, lse))
    return out, lse, state == _FINITE


def backward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float,
    out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor, d_lse: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Gradients of q, k and v, contiguous."""
    lanes, threads = k.shape[0] * k.shape[1], torch.get_num_threads()
    # with few lanes, each thread takes a part of every lane's tiles and adds up gradients of keys of its own
    parts = 1 if lanes % threads == 0 or lanes > 4 * threads else -(-2 * threads // lanes)
    d_q = torch.zeros(q.shape, dtype=q.dtype)
    d_k, d_v = (torch.zeros((parts, *x.shape), dtype=x.dtype) for x in (k, v))
    given = (out, lse.contiguous(), d_out, None if d_lse is None else d_lse.contiguous())
    _run("maskwork_backward", q, k, v, schedule, scale, given, gradients=(d_q, d_k, d_v), parts=parts)
    return d_q, *(x[0] if parts == 1 else x.sum(0) for x in (d_k, d_v))


_NONE = (None, None, None, None)


def _run(
    name: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float,
    given: Sequence[torch.Tensor | None] = _NONE, results: Sequence[torch.Tensor | None] = _NONE[:2],
    gradients: Sequence[torch.Tensor | None] = _NONE[:3], parts: int = 1,
) -> int:  # fmt: skip
    """Fill in a `Call`, make it, and return what it says."""
    tensors = (schedule, q, k, v, *given, *results, *gradients)
    strided = (q, k, v, given[0], given[2])
    batch, heads, q_len, dim = q.shape
    call = _CALL.pack(
        *(0 if x is None else x.data_ptr() for x in tensors),
        batch, heads, k.shape[1], q_len, k.shape[2], dim, v.shape[3],
        *(step for x in strided for step in ((0, 0, 0) if x is None else x.stride()[:3])),
        torch.get_num_threads(), parts, scale,
    )  # fmt: skip
    found = library(q.dtype == torch.float64)
    assert found is not None, "available() was asked first"
    state = getattr(found, name)(call)
    if state == _MISFIT:
        raise GridError(
            f"a schedule belongs to one grid; found one that reaches beyond {q_len} queries, {k.shape[2]} keys, "
            f"{batch} batch rows or {heads} heads; lower the mask for the tensors of this call"
        )
    return state
