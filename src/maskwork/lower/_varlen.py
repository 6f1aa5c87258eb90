"""Keyword arguments for variable-length kernels, where the geometry provably is what they mean by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch

from ..errors import CannotExpress
from ..masks import BoundMask
from ._memo import lowered

Ints = npt.NDArray[np.int64]


class VarlenArguments(TypedDict):
    """What flash-attention's `flash_attn_varlen_func` is told, under its own names."""

    cu_seqlens_q: torch.Tensor
    cu_seqlens_k: torch.Tensor
    max_seqlen_q: int
    max_seqlen_k: int
    causal: bool
    window_size: tuple[int, int]


@dataclass(frozen=True)
class _Sequences:
    """Half-open row and key ranges of consecutive sequences, int64 `(N,)` each, in the packed numbering."""

    q0: Ints
    q1: Ints
    k0: Ints
    k1: Ints


def to_varlen(b: BoundMask, device: torch.device | str = "cpu") -> VarlenArguments:
    """The arguments of a variable-length kernel that mean exactly `b`.

    Returns:
        `cu_seqlens_q`, `cu_seqlens_k`: int32 `(N + 1,)`, where each of N sequences begins and the last one ends, in
        `q` and `k` flattened over the grid's batch to `(B * Q, heads, D)` and `(B * K, heads, D)`;
        `max_seqlen_q`, `max_seqlen_k`: the longest; `causal`; `window_size = (left, right)`, -1 = unbounded.
        In a sequence of Lq queries and Lk keys, query i sees key j where
        `i + Lk - Lq - left <= j <= i + Lk - Lq + right`: aligned at its end, as flash-attention (Dao 2023) does from
        version 2.1. `causal` says that right is 0. A window that counts its own token, `sliding_window(W)`, has
        left = W - 1.

    Raises:
        CannotExpress: the geometry is not block-diagonal with one causal, full or windowed shape inside.

    Only the spans decide, never the expression: the sequences are read off them, painted again and compared.
    Queries that see nothing become sequences without keys and keys that nobody sees sequences without queries, whose
    output flash-attention defines as 0; its log-sum-exp there is +inf, where `mw.attention`'s is -inf. PyTorch's
    `varlen_attn` takes the same numbers as `(cu_seq_q, cu_seq_k, max_q, max_k, window_size=...)`.

    >>> import maskwork as mw
    >>> arguments = mw.lower.to_varlen(mw.within(mw.causal() & mw.sliding_window(3), [5, 3]).bind(8))
    >>> arguments["cu_seqlens_q"], arguments["causal"], arguments["window_size"]
    (tensor([0, 5, 8], dtype=torch.int32), True, (2, 0))
    """
    device = torch.device(device)
    return lowered(b, ("varlen", device), lambda: _lower(b, device))


def _lower(b: BoundMask, device: torch.device) -> VarlenArguments:
    spans = b.spans
    _, heads, rows = spans.shape
    if heads > 1:
        raise _cannot(b, "it differs between heads")
    if spans.runs > 1:
        raise _cannot(b, f"a row has {spans.runs} runs of keys, and may have one")
    total_rows, total_keys = b.grid.batch * rows, b.grid.batch * b.grid.kv_len
    if max(total_rows, total_keys) >= 2**31:
        raise _cannot(b, f"{max(total_rows, total_keys)} packed tokens do not fit int32 offsets")
    # one packed sequence of rows: batch row i's keys are shifted by i * kv_len
    shift = np.arange(b.grid.batch, dtype=np.int64)[:, None] * b.grid.kv_len
    starts = (np.broadcast_to(spans.planes_starts[0, :, 0], (b.grid.batch, rows)) + shift).reshape(-1)
    ends = (np.broadcast_to(spans.planes_ends[0, :, 0], (b.grid.batch, rows)) + shift).reshape(-1)
    row = np.arange(b.grid.batch * rows, dtype=np.int64) // max(rows, 1)
    found = _sequences(b, starts, ends, row, total_keys)
    left, right = _window(b, found, starts, ends)
    return {
        "cu_seqlens_q": torch.tensor([0, *found.q1], dtype=torch.int32, device=device),
        "cu_seqlens_k": torch.tensor([0, *found.k1], dtype=torch.int32, device=device),
        "max_seqlen_q": int((found.q1 - found.q0).max(initial=0)),
        "max_seqlen_k": int((found.k1 - found.k0).max(initial=0)),
        "causal": right == 0,
        "window_size": (left, right),
    }


def _sequences(b: BoundMask, starts: Ints, ends: Ints, batch_row: Ints, total_keys: int) -> _Sequences:
    """The finest cut into consecutive sequences; every key and every query belongs to one."""
    rows = len(starts)
    empty = starts >= ends
    reached = np.maximum.accumulate(np.where(empty, 0, ends)) if rows else ends
    before = np.concatenate([[0], reached[:-1]])
    # A row opens a sequence when it shares no key with the rows before it, when it turns empty or full again, and
    # where a batch row begins.
    opens = (
        (~empty & (starts >= before)) | np.diff(empty, prepend=~empty[:1]) | np.diff(batch_row, prepend=-1).astype(bool)
    )
    q0 = np.flatnonzero(opens)
    q1 = np.append(q0[1:], rows)[: len(q0)]
    blank = empty[q0]
    k1 = np.where(blank, 0, reached[q1 - 1])
    k0 = np.where(blank, 0, np.minimum.reduceat(starts, q0) if len(q0) else 0)
    # where no key is seen the sequence stands at the last key reached, so that the key ranges are consecutive
    done = np.maximum.accumulate(k1) if len(k1) else k1
    k0, k1 = np.where(blank, done, k0), np.where(blank, done, k1)
    if (k0 < np.concatenate([[0], k1[:-1]])).any():
        raise _cannot(b, "it is not block-diagonal: some queries see keys of an earlier block")
    # keys between two sequences, which nobody sees, are sequences without queries
    gap_from, gap_to = np.concatenate([[0], k1]), np.concatenate([k0, [total_keys]])
    gap_at = np.concatenate([q0, [rows]])
    gaps = gap_from < gap_to
    order = np.argsort(np.concatenate([2 * np.arange(len(gap_at))[gaps], 2 * np.arange(len(q0)) + 1]), kind="stable")
    return _Sequences(
        *(
            np.concatenate([gap[gaps], own])[order]
            for gap, own in ((gap_at, q0), (gap_at, q1), (gap_from, k0), (gap_to, k1))
        )
    )


def _window(b: BoundMask, found: _Sequences, starts: Ints, ends: Ints) -> tuple[int, int]:
    """The one (left, right) of all sequences, read off the rows that a window cuts and proved by painting it."""
    sizes = found.q1 - found.q0
    own = np.repeat(np.arange(len(sizes)), sizes)
    k0, k1 = found.k0[own], found.k1[own]
    # the key on which the window of each row is centred
    centre = np.arange(len(starts)) + k1 - found.q1[own]
    seeing = starts < ends
    cut_left, cut_right = seeing & (starts > k0), seeing & (ends < k1)
    left = int((centre - starts)[cut_left][0]) if cut_left.any() else -1
    right = int((ends - 1 - centre)[cut_right][0]) if cut_right.any() else -1
    painted_starts = np.maximum(k0, centre - left) if left >= 0 else k0
    painted_ends = np.minimum(k1, centre + right + 1) if right >= 0 else k1
    same = (painted_starts == starts) & (painted_ends == ends)
    if (cut_left.any() and left < 0) or (cut_right.any() and right < 0) or not (same | (~seeing & (k0 == k1))).all():
        raise _cannot(b, "its blocks are not all causal, all full or all of one window aligned at their ends")
    return left, right


def _cannot(b: BoundMask, why: str) -> CannotExpress:
    return CannotExpress(
        f"variable-length kernels take block-diagonal masks that are causal, full or windowed inside each block, "
        f"{b!r} is not: {why}; 'flex' can express it (mw.lower.to_block_mask)"
    )
