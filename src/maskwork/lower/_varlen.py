"""Keyword arguments for variable-length kernels, where the geometry provably is what they mean by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch

from ..errors import CannotExpress
from ..masks import BoundMask
from ..spans import Ints
from ._memo import lowered


class VarlenArguments(TypedDict):
    """Keyword arguments of flash-attention's `flash_attn_varlen_func` that mean one mask."""

    cu_seqlens_q: torch.Tensor
    cu_seqlens_k: torch.Tensor
    max_seqlen_q: int
    max_seqlen_k: int
    causal: bool
    window_size: tuple[int, int]


@dataclass(frozen=True)
class _Sequences:
    """Ranges of rows `[q0, q1)` and keys `[k0, k1)` of consecutive sequences, int64 `(N,)`, packed positions."""

    q0: Ints
    q1: Ints
    k0: Ints
    k1: Ints


def to_varlen(b: BoundMask, device: torch.device | str = "cpu") -> VarlenArguments:
    """Return the arguments of a variable-length kernel that mean exactly `b`.

    Returns:
        `cu_seqlens_q`, `cu_seqlens_k`: int32 `(N + 1,)`, the start of each of N sequences and the end of the last, in
        `q` and `k` flattened over the grid's batch to `(B * Q, heads, D)` and `(B * K, heads, D)`;
        `max_seqlen_q`, `max_seqlen_k`: the greatest lengths; `causal`; `window_size = (left, right)`, -1 = unbounded.
        In a sequence of Lq queries and Lk keys, query i sees key j where
        `i + Lk - Lq - left <= j <= i + Lk - Lq + right`: aligned at the end, as in flash-attention (Dao 2023) from
        version 2.1. `causal` is True when right is 0. A window that counts its own token, `sliding_window(W)`, has
        left = W - 1.

    Raises:
        CannotExpress: the geometry is not block-diagonal with one causal, full or windowed shape inside.

    Only the spans decide, never the expression: the sequences are read from the spans, painted and compared. Queries
    without keys become sequences without keys, and keys without queries become sequences without queries. There
    flash-attention's output is 0, and its log-sum-exp is +inf, where that of `mw.attention` is -inf. PyTorch's
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
        raise _cannot(b, f"a row has {spans.runs} runs of keys, at most 1 is possible")
    total_rows, total_keys = b.grid.batch * rows, b.grid.batch * b.grid.kv_len
    if max(total_rows, total_keys) >= 2**31:
        raise _cannot(b, f"{max(total_rows, total_keys)} packed tokens do not fit int32 offsets")
    # Rows and keys of the batch in one packed numbering: the keys of batch row i are shifted by i * kv_len.
    shift = np.arange(b.grid.batch, dtype=np.int64)[:, None] * b.grid.kv_len
    starts = (np.broadcast_to(spans.planes_starts[0, :, 0], (b.grid.batch, rows)) + shift).reshape(-1)
    ends = (np.broadcast_to(spans.planes_ends[0, :, 0], (b.grid.batch, rows)) + shift).reshape(-1)
    row = np.arange(b.grid.batch * rows, dtype=np.int64) // max(rows, 1)
    sequences = _sequences(b, starts, ends, row, total_keys)
    left, right = _window(b, sequences, starts, ends)
    return {
        "cu_seqlens_q": torch.tensor([0, *sequences.q1], dtype=torch.int32, device=device),
        "cu_seqlens_k": torch.tensor([0, *sequences.k1], dtype=torch.int32, device=device),
        "max_seqlen_q": int((sequences.q1 - sequences.q0).max(initial=0)),
        "max_seqlen_k": int((sequences.k1 - sequences.k0).max(initial=0)),
        "causal": right == 0,
        "window_size": (left, right),
    }


def _sequences(b: BoundMask, starts: Ints, ends: Ints, batch_row: Ints, total_keys: int) -> _Sequences:
    """Cut rows and keys into the shortest consecutive sequences; every query and every key belongs to one sequence."""
    rows = len(starts)
    empty = starts >= ends
    reached = np.maximum.accumulate(np.where(empty, 0, ends)) if rows else ends
    before = np.concatenate([[0], reached[:-1]])
    # A row opens a sequence when it shares no key with the rows before, when it is empty and the row before is not or
    # the reverse, and where a batch row starts.
    #
    #    row 0  █ █ · · · ·   opens sequence 0: rows [0, 2), keys [0, 2)
    #        1  █ █ · · · ·
    #        2  · · · · · ·   empty, opens sequence 1: rows [2, 3), no keys
    #        3  · · · █ █ ·   opens a sequence: rows [3, 4), keys [3, 5); keys 2 and 5 are sequences without rows
    opens = (
        (~empty & (starts >= before)) | np.diff(empty, prepend=~empty[:1]) | np.diff(batch_row, prepend=-1).astype(bool)
    )
    q0 = np.flatnonzero(opens)
    q1 = np.append(q0[1:], rows)[: len(q0)]
    blank = empty[q0]
    k1 = np.where(blank, 0, reached[q1 - 1])
    k0 = np.where(blank, 0, np.minimum.reduceat(starts, q0) if len(q0) else 0)
    # A sequence without keys is placed at the last key reached, so that the key ranges are consecutive.
    furthest = np.maximum.accumulate(k1) if len(k1) else k1
    k0, k1 = np.where(blank, furthest, k0), np.where(blank, furthest, k1)
    if (k0 < np.concatenate([[0], k1[:-1]])).any():
        raise _cannot(b, "it is not block-diagonal: some queries see keys of an earlier block")
    # Keys between two sequences, which no query sees, are sequences without queries.
    gap_start, gap_end = np.concatenate([[0], k1]), np.concatenate([k0, [total_keys]])
    gap_row = np.concatenate([q0, [rows]])
    gaps = gap_start < gap_end
    # gap i comes before sequence i
    order = np.argsort(np.concatenate([2 * np.arange(len(gap_row))[gaps], 2 * np.arange(len(q0)) + 1]), kind="stable")
    return _Sequences(
        *(
            np.concatenate([gap[gaps], sequence])[order]
            for gap, sequence in ((gap_row, q0), (gap_row, q1), (gap_start, k0), (gap_end, k1))
        )
    )


def _window(b: BoundMask, sequences: _Sequences, starts: Ints, ends: Ints) -> tuple[int, int]:
    """Return the one (left, right) of all sequences: read from the rows that a window cuts, and checked on all rows."""
    sizes = sequences.q1 - sequences.q0
    sequence = np.repeat(np.arange(len(sizes)), sizes)  # of each row
    k0, k1 = sequences.k0[sequence], sequences.k1[sequence]
    # The centre of a row's window: query and key lie equally far from the end of their sequence.
    centre = np.arange(len(starts)) + k1 - sequences.q1[sequence]
    seeing = starts < ends
    cut_left, cut_right = seeing & (starts > k0), seeing & (ends < k1)
    left = int((centre - starts)[cut_left][0]) if cut_left.any() else -1
    right = int((ends - 1 - centre)[cut_right][0]) if cut_right.any() else -1
    painted_starts = np.maximum(k0, centre - left) if left >= 0 else k0
    painted_ends = np.minimum(k1, centre + right + 1) if right >= 0 else k1
    equal = (painted_starts == starts) & (painted_ends == ends)
    if (cut_left.any() and left < 0) or (cut_right.any() and right < 0) or not (equal | (~seeing & (k0 == k1))).all():
        raise _cannot(b, "its blocks are not all causal, all full or all of one window aligned at their ends")
    return left, right


def _cannot(b: BoundMask, why: str) -> CannotExpress:
    return CannotExpress(
        f"variable-length kernels take block-diagonal masks that are causal, full or windowed inside each block, got "
        f"{b!r}: {why}; 'flex' can express it (mw.lower.to_block_mask)"
    )
