"""Calls into `native/tiles.c`: the whole schedule in one, forward and backward."""

from __future__ import annotations

import ctypes
import math

import torch

from ...errors import GridError
from ._build import library

_POINTERS = ["schedule", "q", "k", "v", "out", "lse", "d_out", "d_lse", "out_to", "lse_to", "d_q", "d_k", "d_v"]
_SIZES = ["batch", "heads", "kv_heads", "q_len", "kv_len", "dim", "v_dim"]
_STRIDES = ["q_by", "k_by", "v_by", "out_by", "d_out_by"]


class _Call(ctypes.Structure):
    """`Call` of native/schedule.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in _SIZES),
        *((name, ctypes.c_int64 * 3) for name in _STRIDES),
        ("threads", ctypes.c_int64),
        ("parts", ctypes.c_int64),
        ("scale", ctypes.c_double),
    )


def available(dtype: torch.dtype) -> bool:
    """Whether there is one that computes in `dtype`; asked first, it may compile it."""
    return dtype in (torch.float32, torch.float64) and library(dtype == torch.float64) is not None


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output `(B, Hq, Q, Dv)` and log-sum-exp `(B, Hq, Q)`; the last dimension of each tensor is contiguous."""
    complete = bool(schedule[0])
    out = (torch.empty if complete else torch.zeros)((*q.shape[:3], v.shape[3]), dtype=q.dtype)
    lse = torch.full(q.shape[:3], -math.inf, dtype=q.dtype)
    _run("maskwork_forward", _filled(q, k, v, schedule, scale, out_to=out, lse_to=lse), q.dtype)
    return out, lse


def backward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float,
    out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor, d_lse: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Gradients of q, k and v, contiguous."""
    lanes, threads = k.shape[0] * k.shape[1], torch.get_num_threads()
    # with few lanes, each thread takes a part of every lane's tiles and adds up gradients of keys of its own
    parts = 1 if lanes % threads == 0 or lanes > 4 * threads else threads
    d_q = torch.zeros(q.shape, dtype=q.dtype)
    d_k, d_v = (torch.zeros((parts, *x.shape), dtype=x.dtype) for x in (k, v))
    lse = lse.contiguous()
    d_lse = None if d_lse is None else d_lse.contiguous()
    given = {"out": out, "lse": lse, "d_out": d_out, "d_q": d_q, "d_k": d_k, "d_v": d_v}
    if d_lse is not None:
        given["d_lse"] = d_lse
    call = _filled(q, k, v, schedule, scale, **given)
    call.parts = parts
    _run("maskwork_backward", call, q.dtype)
    return d_q, *(x[0] if parts == 1 else x.sum(0) for x in (d_k, d_v))


def _filled(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor, scale: float, **tensors: torch.Tensor
) -> _Call:
    call = _Call(threads=torch.get_num_threads(), parts=1, scale=scale)
    for name, value in zip(_SIZES, (*q.shape[:2], *k.shape[1:2], q.shape[2], *k.shape[2:], v.shape[3]), strict=True):
        setattr(call, name, value)
    for name, tensor in {"schedule": schedule, "q": q, "k": k, "v": v, **tensors}.items():
        setattr(call, name, tensor.data_ptr())
        if f"{name}_by" in _STRIDES:
            getattr(call, f"{name}_by")[:] = tensor.stride()[:3]
    return call


def _run(name: str, call: _Call, dtype: torch.dtype) -> None:
    found = library(dtype == torch.float64)
    assert found is not None, "available() was asked first"
    if not getattr(found, name)(ctypes.byref(call)):
        raise GridError(
            f"a schedule belongs to one grid; found one that reaches beyond {call.q_len} queries, {call.kv_len} keys, "
            f"{call.batch} batch rows or {call.heads} heads; lower the mask for the tensors of this call"
        )
